package route

import (
	"strings"
	"testing"
	"unicode/utf8"

	"postern/config"
	"postern/config/wire"
)

// Whatever a client and an administrator write: deciding never panics, the
// index agrees with trying each route, MAIL and RCPT agree, an explanation
// holds no control character, and an address with only ASCII in its pattern
// is matched by nothing but ASCII.
func FuzzMatch(f *testing.F) {
	for _, p := range []string{"*", "<>", "a@example.com", "*@example.com", "*@*.example.com", "a@*", `"a b"@x`, "*@bücher.example", "a@[192.0.2.1]"} {
		for _, a := range []string{"", "a@example.com", `"a b"@x`, "a@sub.example.com", "a@BÜCHER.example", "a@[192.0.2.1]", "Postmaster", "a@\u212aelvin", `"a@b`, "@", "a@b@c", "\xff@\xfe"} {
			f.Add(p, a, a)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, from, to string) {
		p, err := config.ParsePattern(pattern)
		if err != nil {
			return
		}
		tab, err := New([]config.Route{
			{From: []string{pattern}, Upstream: []string{"1"}},
			{To: []string{pattern}, Upstream: []string{"2"}},
			{User: []string{"u"}, Upstream: []string{"3"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		q := Query{From: from, To: to}
		d := tab.Recipient(q)
		want := Decision{}
		for i := range tab.rules {
			if trial := tab.Explain(q); len(trial.Tried) > i && trial.Tried[i].Result == Matches {
				want = Decision{Route: tab.rules[i].name, Matched: true}
				break
			}
		}
		if d.Route != want.Route || d.Matched != want.Matched {
			t.Fatalf("%q %+v: %+v, want %+v", pattern, q, d, want)
		}
		if d.Matched && !tab.Sender(q) {
			t.Fatalf("%q %+v is refused at MAIL", pattern, q)
		}
		text := tab.Explain(q).String()
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xa0 }) {
			t.Fatalf("the explanation has a control character: %q", text)
		}
		narrow := p.Kind == config.PatternAddress || p.Kind == config.PatternDomain
		if narrow && plain(pattern) && !strings.Contains(pattern, "xn--") && d.Route == "route 1" && !domainPlain(from) {
			t.Fatalf("%q matches the look-alike %q", pattern, from)
		}
	})
}

func plain(s string) bool { return wire.IsASCII(s) }

// domainPlain reports whether what follows the last @ is ASCII.
func domainPlain(address string) bool {
	return wire.IsASCII(address[strings.LastIndexByte(address, '@')+1:])
}
