package config

import "testing"

func TestParsePattern(t *testing.T) {
	for s, want := range map[string]Pattern{
		"*":                     {Kind: PatternAny},
		"<>":                    {Kind: PatternNull},
		"a@example.com":         {PatternAddress, "a", "example.com"},
		"A@Example.COM":         {PatternAddress, "a", "example.com"},
		`"a"@example.com`:       {PatternAddress, "a", "example.com"},
		`"a\@b c"@example.com`:  {PatternAddress, "a@b c", "example.com"},
		`"*"@example.com`:       {PatternAddress, "*", "example.com"},
		"a+b@example.com":       {PatternAddress, "a+b", "example.com"},
		"Ü@bücher.example":      {PatternAddress, "Ü", "xn--bcher-kva.example"},
		"*@example.com":         {PatternDomain, "", "example.com"},
		"*@*.example.com":       {PatternSubdomains, "", "example.com"},
		"root@*":                {PatternLocal, "root", ""},
		"*@[192.0.2.1]":         {PatternDomain, "", "[192.0.2.1]"},
		"*@[IPv6:2001:DB8::1]":  {PatternDomain, "", "[ipv6:2001:db8::1]"},
		"a@[tag:x@y]":           {PatternAddress, "a", "[tag:x@y]"},
		`"x@[y]"@example.com`:   {PatternAddress, "x@[y]", "example.com"},
		"app_1@host_2.internal": {PatternAddress, "app_1", "host_2.internal"},
	} {
		got, err := ParsePattern(s)
		if got != want || err != nil {
			t.Errorf("ParsePattern(%q) = %+v, %v; want %+v", s, got, err, want)
			continue
		}
		if again, err := ParsePattern(got.String()); again != got || err != nil {
			t.Errorf("%q is written as %q, which is read as %+v, %v", s, got.String(), again, err)
		}
	}
	for _, s := range []string{
		"", "@", "a", "a@", "@b", "**", "*@", "*@*", "**@b", "a*@b", "a@*.b", "a@b.*", "*@*.*", "*@*b", "<a@b>", "<a>@b",
		"a b@c", `"a@b`, `a"@b`, `"a\"@b`, `a\b@c`, "a@b c", "a@b..c", "a@.b", "a@b.", "a@[1", "a@(b)", "a@b,c@d", `"a@b"`,
		"a@b=c", "*@b=c", "*@*.b_=c", "a@-b", "a\x0e@b", "\"a\x1b\"@b", "a@b\u200b", "a\u202eb@c", "\xff@b",
	} {
		if got, err := ParsePattern(s); err == nil {
			t.Errorf("ParsePattern(%q) = %+v, want an error", s, got)
		}
	}
}
