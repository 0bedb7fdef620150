package config

import (
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// TestNotTOML: what people write who don't know TOML, each told in plain words,
// on its line, without a word of what they wrote.
func TestNotTOML(t *testing.T) {
	for text, want := range map[string]string{
		"a = Hello":                notValue,
		"a = yes":                  notValue,
		"a = 010":                  notValue,
		"a = 1.x":                  notValue,
		"a = .5":                   notValue,
		"a = 99999999999999999999": notValue,
		"a =":                      notValue,
		"a == \"b\"":               notValue,
		"a = “b”":                  notValue,
		"a = [x@y.example]":        notValue,
		"a = 'it's'":               "there is something behind the value",
		`a = "b" "c"`:              "there is something behind the value",
		`a = "b"; c = "d"`:         "there is something behind the value",
		`a = "C:\dir"`:             `a \ between " and " is the beginning of an escape, and this is none`,
		`a = "C:\Users"`:           `a \ between " and " is the beginning of an escape, and this is none`,
		`a = "b`:                   "this text has no closing quote",
		"a = 'b\nc'":               "this text has no closing quote",
		"a = \"\"\"b\n":            "a text of several lines has no end",
		"a = '''b":                 "a text of several lines has no end",
		`a = ["b"`:                 "a list has no comma or end before this",
		`a = ["b" "c"]`:            "a list has no comma or end before this",
		`a = ["b",, "c"]`:          "a list has no comma or end before this",
		`a: "b"`:                   "there is no = behind the key",
		"a":                        "there is no = behind the key",
		"// b":                     "there is no = behind the key",
		`= "b"`:                    "there is no name of a key here",
		"[a":                       "this is not the name of a table",
		"[[a]":                     "this is not the name of a table",
		"[]":                       "this is not the name of a table",
		"[a..b]":                   "this is not the name of a table",
		"a = 1\na = 2":             givenTwice,
		"[a]\n[a]":                 givenTwice,
		"a = 1\n[a.b]":             givenTwice,
		"a = 1e":                   notValue,
		"a = {b = 1, b = 2}":       givenTwice,
		"a = {b = 1 c = 2}":        "a list has no comma or end before this",
		"a = 2026-99-99":           notValue,
		"a = 0xZ":                  notValue,
		"a = +":                    notValue,
		"a = \"b\x01\"":            "",
		"ä = 1":                    "",
	} {
		var root map[string]any
		_, err := toml.Decode(text, &root)
		if err == nil {
			t.Errorf("%q is TOML", text)
			continue
		}
		p := NotTOML(err)
		if want != "" && (p.Text != want || p.Hint == "") || p.Line < 1 || p.Line > 1+strings.Count(text, "\n") {
			t.Errorf("%q: %d: %s (%s); want %s\n%v", text, p.Line, p.Text, p.Hint, want, err)
		}
	}
}
