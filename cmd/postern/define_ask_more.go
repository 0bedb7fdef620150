package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"postern/cmd/definition"
	"postern/config"
)

// several asks for a key that is a list, whose values stand between blanks or
// commas.
func (d *define) several(def *definition.Definition, key, text string) error {
	if d.given(def, key) {
		return nil
	}
	if err := d.question(def, key, text); err != nil || def.Values[key] == nil {
		return err
	}
	def.Values[key] = strings.FieldsFunc(def.Values[key].(string), func(r rune) bool { return r == ' ' || r == ',' })
	return nil
}

// upstreams are the names of those that there are, "a, b", where they can be
// read.
func (d *define) upstreams() string {
	cfg, err := config.Find(d.config)
	if err != nil {
		return ""
	}
	return strings.Join(slices.Sorted(maps.Keys(cfg.Upstreams)), ", ")
}

func (d *define) askRoute(def *definition.Definition) error {
	if !d.given(def, "from", "to", "user", "unix_user", "listener") {
		if err := d.several(def, "from", "Mail from whom, such as *@example.com: "); err != nil {
			return err
		}
	}
	if d.given(def, "reject") {
		return nil
	}
	return d.several(def, "upstream", fmt.Sprintf("Over which upstream (%s): ", safe(d.upstreams())))
}

func (d *define) askBook(def *definition.Definition) error {
	if !d.given(def, "provider") {
		if err := d.question(def, "provider", "What is it (vcards, a folder; vcard, csv or ldif, a file; ldap, carddav, graph): "); err != nil {
			return err
		}
	}
	ask := func(key, text string) error {
		if d.given(def, key) {
			return nil
		}
		return d.question(def, key, text)
	}
	switch provider := def.Values["provider"]; provider {
	case config.BookVCard, config.BookCSV, config.BookLDIF:
		if err := ask("file", "File: "); err != nil {
			return err
		}
		return d.absolute(def, "file")
	case config.BookLDAP, config.BookCardDAV:
		example := "ldaps://dc1.example.com"
		if provider == config.BookCardDAV {
			example = "https://cloud.example.com"
		}
		if err := ask("url", "Its URL, such as "+example+": "); err != nil || d.otherSignIn(def) {
			return err
		}
		err := ask("username", "User (empty: no sign-in): ")
		if provider == config.BookLDAP && !d.given(def, "username", "auth") {
			def.Values["auth"] = string(config.MechanismAnonymous)
		}
		return err
	}
	return nil
}

// askAlert asks who is told. A URL of a service is a secret, which d.secrets asks
// for.
func (d *define) askAlert(def *definition.Definition) error {
	if d.given(def, "url", "url_env", "url_credential", "alertmanager", "mail.to") {
		return nil
	}
	way := definition.Definition{Values: map[string]any{}}
	if err := d.question(&way, "way", "Told by what (mail, service, alertmanager): "); err != nil {
		return err
	}
	switch way.Values["way"] {
	case "mail":
		if err := d.several(def, "mail.to", "Addresses: "); err != nil {
			return err
		}
		return d.several(def, "mail.upstream", fmt.Sprintf("Over which upstreams, in their order (%s): ", safe(d.upstreams())))
	case "alertmanager":
		if err := d.question(def, "alertmanager", "Its URL, such as http://127.0.0.1:9093: "); err != nil || d.given(def, "username") {
			return err
		}
		return d.question(def, "username", "User (empty: no sign-in): ")
	case "service":
		return nil
	}
	return &failure{code: exitData, text: "that is none of mail, service and alertmanager"}
}
