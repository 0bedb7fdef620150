package wire

import (
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	for list, want := range map[string]string{
		"":                                     "",
		"root":                                 "root",
		"root, alice;bob":                      "root alice bob",
		"a@example.com":                        "a@example.com",
		"Ann <a@example.com>, b@example.com":   "a@example.com b@example.com",
		`"Brown, Bob" <b@example.com>`:         "b@example.com",
		"b@example.com (Bob, the (real) one)":  "b@example.com",
		"undisclosed-recipients:;":             "",
		"team: a@example.com, B <b@x.org>; c":  "a@example.com b@x.org c",
		"Müller <m@example.com>":               "m@example.com",
		"M\xfcller <m@example.com>":            "m@example.com",
		`"a b"@example.com`:                    `"a b"@example.com`,
		"u@[192.0.2.1]":                        "u@[192.0.2.1]",
		"u@[IPv6:2001:db8::1]":                 "u@[IPv6:2001:db8::1]",
		"<@a.example,@b.example:u@c.example>":  "u@c.example",
		"u @ example.com":                      "u@example.com",
		"ü@example.com":                        "ü@example.com",
		"a@example.com,,\r\n b@example.com , ": "a@example.com b@example.com",
		"<a@example.com":                       "a@example.com",
		`x <"a>b"@example.com>`:                `"a>b"@example.com`,
	} {
		got, err := Addresses(list)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %q, %v; want %q", list, got, err, want)
		}
	}
	for _, list := range []string{"Ann Example", "<>", "a@example.com b@example.com", "<a@x> <b@y>", "<a b@x>", `"open`, "a@x\x00", "<a@x\r\nRCPT>"} {
		if got, err := Addresses(list); err == nil {
			t.Errorf("%q is taken for %q", list, got)
		}
	}
}
