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

// secretKeys are the keys that give a secret, in different ways, of which the
// file has one. what begins the sentence of help.
func secretKeys(place *Secret, name, what string, kinds ...secretKind) (keys []key) {
	for _, kind := range kinds {
		keys = append(keys, key{name: name + string(kind), value: secretAt{place, name, kind}, unset: "none", help: what + secretHelp[kind]})
		if kind == secretCommand {
			keys = append(keys, key{name: name + string(kind) + commandEnvSuffix, value: commandEnvAt{place, name + string(kind)}, unset: "none",
				help: "Names of further variables that the command gets."})
		}
	}
	return keys
}

// secretHelp says where a secret stands.
var secretHelp = map[secretKind]string{
	secretLiteral: " itself.", secretFile: ", as the one line of a file.", secretCommand: ", as a command prints it.",
	secretEnv: ", in a variable of the environment.", secretCredential: ", as a credential of systemd.",
}

// secretAt is one of the keys of a secret.
type secretAt struct {
	place *Secret
	name  string
	kind  secretKind
}

func (s secretAt) keep(running value) { *s.place = *running.(secretAt).place }

func (s secretAt) describe() description {
	return description{kind: map[secretKind]string{secretLiteral: "text", secretFile: "path", secretCommand: "command", secretEnv: "text", secretCredential: "text"}[s.kind],
		secret: s.kind == secretLiteral || s.kind == secretCommand}
}

func (s secretAt) read(f field, v any) bool {
	source := readSource(f, v, s.name, s.kind)
	switch {
	case source == nil:
		return false
	case s.place.IsSet():
		return f.problem("is a second "+words(s.name)+" beside "+s.place.source.key(), "keep one of them")
	}
	*s.place = Secret{source}
	return true
}

// show tells where the secret comes from.
func (s secretAt) show() any {
	source := s.place.source
	switch {
	case source == nil || source.kind != s.kind || source.name != s.name:
		return nil
	case s.describe().secret:
		return redacted
	}
	return source.value
}

// commandEnvAt is the list of variables that the command of a secret gets.
type commandEnvAt struct {
	place   *Secret
	command string // the key of the command
}

func (e commandEnvAt) show() any             { return nil }
func (e commandEnvAt) keep(value)            {} // with the secret
func (e commandEnvAt) describe() description { return description{kind: "list"} }

func (e commandEnvAt) read(f field, v any) bool {
	names, ok := readList(f, v)
	switch {
	case !ok:
		return false
	case !f.t.has(e.command):
		return f.problem("needs "+e.command, "remove it, or set "+e.command)
	case !f.t.got[e.command]:
		return false
	}
	for _, variable := range names {
		if strings.ContainsAny(variable, "=\x00") {
			f.problem("holds "+strconv.QuoteToASCII(variable)+", which is not the name of a variable", `names alone, such as ["GNUPGHOME"]`)
		}
	}
	e.place.source.env = names
	return true
}

// readSource reads one of the keys; nil where it is wrong.
func readSource(f field, v any, name string, kind secretKind) *secretSource {
	s, t, key, ok := &secretSource{name: name, kind: kind}, f.t, f.name, false
	if kind == secretCommand {
		if !readCommand(f, v, s) {
			return nil
		}
		return s
	}
	if s.value, ok = readText(f, v); !ok {
		return nil
	}
	switch kind {
	case secretLiteral:
		if s.expanded = t.doc.expanded[f.key]; !s.expanded {
			warnReadable(t, key)
		}
		if unseen := unseenIn(s.value); unseen != "" {
			t.warn(key, "holds "+unseen, "type it anew")
		}
	case secretFile:
		s.value = t.doc.path(s.value)
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
func readCommand(f field, v any, s *secretSource) (ok bool) {
	if _, isString := v.(string); !isString {
		s.args, ok = readList(f, v)
		return ok
	}
	if s.value, ok = readText(f, v); !ok {
		return false
	}
	if runtime.GOOS == "windows" {
		return f.problem("needs a shell, which Windows does not have", `write a list: ["program", "argument"]`)
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
	if err := checkSecretOwner(path, t.doc.file, t.doc.spool()); err != nil {
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
func warnReadable(t *table, key string) {
	in, _ := t.doc.where(t.key(key))
	info, err := os.Stat(in.file)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o004 == 0 {
		return
	}
	t.warn(key, "stands in a file that everybody on this machine can read", "chmod o-rwx "+in.file+", or use "+key+"_file")
}
