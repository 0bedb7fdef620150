package config

import (
	"os"
	"runtime"
	"strings"
)

var secretKinds = []secretKind{secretLiteral, secretFile, secretCommand, secretEnv, secretCredential}

// anySecret reports whether any of the keys of a secret is given.
func anySecret(t *table) bool {
	for _, kind := range secretKinds {
		if t.has(string(kind)) {
			return true
		}
	}
	return false
}

// readSecret reads the one key that gives a password.
func (d *document) readSecret(t *table) Secret {
	var first Secret
	for _, kind := range secretKinds {
		source := d.readSource(t, kind)
		switch {
		case source == nil:
		case first.IsSet():
			t.problem(string(kind), "is a second password beside "+string(first.source.kind), "keep one of them")
		default:
			first = Secret{source}
		}
	}
	return first
}

// readSource reads one of the keys; nil where it is missing or wrong.
func (d *document) readSource(t *table, kind secretKind) *secretSource {
	s := &secretSource{kind: kind}
	key := string(kind)
	if kind == secretCommand {
		if !readCommand(t, key, s) {
			return nil
		}
		return s
	}
	if !t.text(key, &s.value) {
		return nil
	}
	switch kind {
	case secretLiteral:
		d.warnReadable(t, key)
	case secretFile:
		s.value = d.path(s.value)
		checkSecretFile(t, key, s.value)
	case secretEnv:
		if _, ok := os.LookupEnv(s.value); !ok {
			t.warn(key, s.value+" is not set in the environment of this process", "signing in fails until it is set where the daemon starts")
		}
	case secretCredential:
		if strings.ContainsAny(s.value, `/\`) || s.value == "." || s.value == ".." {
			t.problem(key, "is a path, not the name of a credential", "the NAME of LoadCredential=NAME:PATH in the systemd unit")
		} else if os.Getenv("CREDENTIALS_DIRECTORY") == "" {
			t.warn(key, "this process was not started by systemd with credentials", "signing in fails until the unit has LoadCredential="+s.value)
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

func checkSecretFile(t *table, key, path string) {
	if !checkReadable(t, key, path) {
		return
	}
	if err := checkSecretMode(path); err != nil {
		t.problem(key, path+" "+err.Error(), "chmod o-rwx "+path)
		return
	}
	if value, err := readSecretFile(path); err == nil && value == "" {
		t.problem(key, path+" is empty", "write the password into it")
	}
}

// warnReadable warns about a password in a file that others can read.
func (d *document) warnReadable(t *table, key string) {
	info, err := os.Stat(d.file)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o004 == 0 {
		return
	}
	t.warn(key, "stands in a file that everybody on this machine can read", "chmod o-rwx "+d.file+", or use password_file")
}
