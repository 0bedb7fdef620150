package compose

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/idna"
)

func TestParseList(t *testing.T) {
	for s, want := range map[string]string{
		"a@b.example":                           `[{|a@b.example}]`,
		"a@b.example, c@d.example;e@f.example;": `[{|a@b.example} {|c@d.example} {|e@f.example}]`,
		"":                                      `[]`,
		" ;, ":                                  `[]`,
		"<a@b.example>":                         `[{|a@b.example}]`,
		"Bob <a@b.example>":                     `[{Bob|a@b.example}]`,
		`"Brown, Bob \"B\" \\" <a@b.example>,x@y.example`: `[{Brown, Bob "B" \|a@b.example} {|x@y.example}]`,
		"Jörg Größe <j@bücher.example>":                   `[{Jörg Größe|j@bücher.example}]`,
		"John Q. Public <j@b.example>":                    `[{John Q. Public|j@b.example}]`,
		`"a b"@c.example`:                                 `[{|"a b"@c.example}]`,
		`x <"a,;<>b"@c.example>`:                          `[{x|"a,;<>b"@c.example}]`,
		"root":                                            `[{|root}]`,
		"a@[192.0.2.1]":                                   `[{|a@[192.0.2.1]}]`,
		"bob@":                                            `"bob@" is not an address`,
		"@b.example":                                      `"@b.example" is not an address`,
		"Müller, Hans <h@x.example>":                      `"Müller" is not an address (a name with a comma or semicolon goes between double quotes)`,
		"a@b.example, nobody at all":                      `"nobody at all" is not an address`,
		"a@b.example> <c@d.example>":                      `"a@b.example> <c@d.example>" is not an address`,
		"<a@b.example":                                    `"<a@b.example" is not an address`,
		`"open <a@b.example>`:                             `"\"open <a@b.example>" is not an address`,
		"a b@c.example":                                   `"a b@c.example" is not an address`,
		"Team: a@b.example, c@d.example;":                 `"Team: a@b.example" is not an address`,
		"a@b.example\r\nBcc: c@d.example":                 `"a@b.example\r\nBcc: c@d.example" is not an address`,
		"a\u202e <a@b.example>":                           `the name holds a character that turns text around: "a\u202e"`,
		strings.Repeat("x", 300) + " y":                   `"` + strings.Repeat("x", 80) + `…" is not an address`,
	} {
		list, err := ParseList(s)
		var all []string
		for _, a := range list {
			all = append(all, fmt.Sprintf("{%s|%s}", a.Name, a.Addr))
		}
		got := fmt.Sprint(all)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q\n is   %s\n want %s", s, got, want)
		}
	}
}

// TestDomains: what becomes ASCII does so as x/net/idna says, which has more
// rules and tables than are needed here.
func TestDomains(t *testing.T) {
	for _, domain := range []string{"bücher.example", "Bücher.EXAMPLE", "straße.example", "παράδειγμα.δοκιμή", "例え.テスト", "пример.испытание", "مثال.إختبار", "xn--bcher-kva.example", "plain.example", "e\u0301.example"} {
		got, ok := wireAddress("x@" + domain)
		want, err := idna.Lookup.ToASCII(domain)
		if !ok || err != nil || !strings.EqualFold(got, "x@"+want) {
			t.Errorf("%s is %s, and by idna %s, %v", domain, got, want, err)
		}
	}
}
