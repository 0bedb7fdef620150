package main

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"postern/cmd/definition"
	"postern/config"
)

// secrets reads those that flags name files of, and asks on a terminal for the
// one that is needed.
func (d *define) secrets(def *definition.Definition, edit bool) error {
	keys := slices.Sorted(maps.Keys(d.files))
	if typed := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return *d.files[key] != "-" }); len(typed) > 1 {
		return usage("standard input has one line, and is to be %s and %s", wordsOf(typed[0]), wordsOf(typed[1]))
	}
	for _, key := range keys {
		if path := *d.files[key]; path != "" {
			if err := d.readSecret(def, key, path); err != nil {
				return err
			}
		}
	}
	if edit || d.terminal() == 0 || len(def.Secrets) > 0 {
		return nil
	}
	return d.askSecret(def)
}

// readSecret takes the first line of a file as a secret.
func (d *define) readSecret(def *definition.Definition, key, path string) error {
	if path == "-" {
		secret, err := d.readPassword()
		if err != nil {
			return err
		}
		return d.keepSecret(def, key, secret)
	}
	content, err := config.ReadFile(path)
	if err != nil {
		return &failure{code: exitData, text: err.Error(), err: err}
	}
	secret, _, _ := strings.Cut(string(content), "\n")
	return d.keepSecret(def, key, strings.TrimSuffix(secret, "\r"))
}

func (d *define) keepSecret(def *definition.Definition, key, secret string) error {
	if secret == "" {
		return &failure{code: exitData, text: wordsOf(key) + " is empty"}
	}
	def.Secrets[key] = secret
	return nil
}

// askSecret asks for a password where there is a user who needs one, and for the
// URL of a service that is told.
func (d *define) askSecret(def *definition.Definition) error {
	_, user := def.Values["username"]
	switch {
	case d.kind == definition.Alert && !d.given(def, "url_env", "url_credential", "alertmanager", "mail.to"):
		url, err := d.hidden(d.terminal()-1, "Its URL, such as ntfy://ntfy.sh/topic (it is not shown): ")
		if err != nil {
			return err
		}
		return d.keepSecret(def, "url", strings.TrimSpace(url))
	case user && !d.otherSignIn(def):
		password, err := d.askPassword(d.terminal() - 1)
		if err != nil {
			return err
		}
		return d.keepSecret(def, "password", password)
	}
	return nil
}

// absolute makes a path that was typed count from the folder that it was typed
// in: the file counts from its own.
func (d *define) absolute(def *definition.Definition, key string) error {
	path, typed := def.Values[key].(string)
	if !typed {
		return nil
	}
	path, err := filepath.Abs(path)
	def.Values[key] = path
	return err
}
