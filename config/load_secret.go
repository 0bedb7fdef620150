package config

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

var secretKinds = []secretKind{secretLiteral, secretFile, secretCommand, secretEnv, secretCredential}

// commandEnvSuffix makes the key of a command the key of the variables that it
// gets.
const commandEnvSuffix = "_env"

// anySecret reports whether any of the keys of a secret is given.
func anySecret(t *table, name string) bool {
	for _, kind := range secretKinds {
		if t.has(name + string(kind)) {
			return true
		}
	}
	return false
}

// readSecret reads the one key that gives a secret, out of those that begin
// with name.
func (d *document) readSecret(t *table, name string, kinds ...secretKind) Secret {
	var first Secret
	for _, kind := range kinds {
		source := d.readSource(t, name, kind)
		switch {
		case source == nil:
		case first.IsSet():
			t.problem(source.key(), "is a second "+words(name)+" beside "+first.source.key(), "keep one of them")
		default:
			first = Secret{source}
		}
	}
	return first
}

// readSource reads one of the keys; nil where it is missing or wrong.
func (d *document) readSource(t *table, name string, kind secretKind) *secretSource {
	s := &secretSource{name: name, kind: kind}
	key := s.key()
	if kind == secretCommand {
		env := t.has(key+commandEnvSuffix) && t.list(key+commandEnvSuffix, &s.env)
		if !readCommand(t, key, s) {
			if env && !t.has(key) {
				t.problem(key+commandEnvSuffix, "needs "+key, "remove it, or set "+key)
			}
			return nil
		}
		for _, name := range s.env {
			if strings.ContainsAny(name, "=\x00") {
				t.problem(key+commandEnvSuffix, "holds "+strconv.QuoteToASCII(name)+", which is not the name of a variable", `names alone, such as ["GNUPGHOME"]`)
			}
		}
		return s
	}
	if !t.text(key, &s.value) {
		return nil
	}
	switch kind {
	case secretLiteral:
		if s.expanded = d.expanded[t.key(key)]; !s.expanded {
			d.warnReadable(t, key)
		}
		if unseen := unseenIn(s.value); unseen != "" {
			t.warn(key, "holds "+unseen, "type it anew")
		}
	case secretFile:
		s.value = d.path(s.value)
		if checkReadable(t, key, s.value) && checkPrivate(t, key, s.value) {
			checkSecretText(t, key, name, s.value)
		}
	case secretEnv:
		if value, ok := os.LookupEnv(s.value); ok {
			judgeSecretText(t, key, name, s.value, value)
		} else {
			t.warn(key, s.value+" is not set in the environment of this process", "signing in fails until it is set where the daemon starts")
		}
	case secretCredential:
		if strings.ContainsAny(s.value, `/\`) || s.value == "." || s.value == ".." {
			t.problem(key, "is a path, not the name of a credential", "the NAME of LoadCredential=NAME:PATH in the systemd unit")
		} else if os.Getenv("CREDENTIALS_DIRECTORY") == "" {
			t.warn(key, "this process was not started by systemd with credentials", "signing in fails until the unit has LoadCredential="+s.value)
		} else {
			checkSecretText(t, key, name, filepath.Join(os.Getenv("CREDENTIALS_DIRECTORY"), s.value))
		}
	}
	return s
}

// readCommand reads a program with its arguments: a list is run as it is, a
// string by the shell.
func readCommand(t *table, key string, s *secretSource) bool {
	if _, isString := t.values[key].(string); !isString {
		return t.list(key, &s.args)
	}
	if !t.text(key, &s.value) {
		return false
	}
	if runtime.GOOS == "windows" {
		t.problem(key, "needs a shell, which Windows does not have", `write a list: ["program", "argument"]`)
		return false
	}
	s.args = []string{"/bin/sh", "-c", s.value}
	return true
}

// words is the name of a secret for people.
func words(name string) string { return strings.ReplaceAll(name, "_", " ") }

// checkSecretFile looks at a file of keys that is more than one line.
func checkSecretFile(t *table, key, name, path string) {
	if !checkReadable(t, key, path) || !checkPrivate(t, key, path) {
		return
	}
	if value, err := readSecretFile(path); err == nil && strings.TrimSpace(value) == "" {
		t.problem(key, path+" is empty", "write the "+words(name)+" into it")
	}
}

// checkSecretText looks at what a file gives as a secret.
func checkSecretText(t *table, key, name, path string) {
	value, err := readSecretFile(path)
	if err != nil {
		t.problem(key, path+" "+err.Error(), "")
		return
	}
	judgeSecretText(t, key, name, path, value)
}

// judgeSecretText says what reading a secret will refuse, or leave away.
// place is a file or a variable.
func judgeSecretText(t *table, key, name, place, value string) {
	tidy, err := tidySecret(value)
	switch {
	case err != nil:
		t.problem(key, place+" "+err.Error(), "it has to give the "+words(name)+" and nothing else, on one line")
	case strings.HasPrefix(value, "\ufeff"):
		t.warn(key, place+" begins with a byte order mark, which does not count", "save it as UTF-8 without one")
	case strings.Trim(value, "\r\n") != tidy:
		t.warn(key, place+" has blanks around the "+words(name)+", which do not count", "remove them; a "+words(name)+" that ends in a blank can only stand in quotes, as "+name)
	}
}

// checkPrivate refuses a file that somebody else can read or change who has
// nothing to do with this relay, and reports whether it did not.
func checkPrivate(t *table, key, path string) bool {
	if err := checkSecretMode(path); err != nil {
		t.problem(key, path+" "+err.Error(), "chmod o-rwx "+path)
		return false
	}
	if err := checkSecretOwner(path, t.doc.file, t.doc.spool); err != nil {
		hint := "give it to the user that runs postern with chown"
		if strings.Contains(err.Error(), "can be exchanged") {
			hint = "only root and the user that runs postern may write there"
		}
		t.problem(key, path+" "+err.Error(), hint)
		return false
	}
	return true
}

// warnReadable warns about a password in a file that others can read.
func (d *document) warnReadable(t *table, key string) {
	info, err := os.Stat(d.file)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o004 == 0 {
		return
	}
	t.warn(key, "stands in a file that everybody on this machine can read", "chmod o-rwx "+d.file+", or use "+key+"_file")
}
