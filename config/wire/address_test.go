package wire

import (
	"strings"
	"testing"
)

// TestLookAlikesAreNotAddressable: what other servers may map to ASCII can
// stand in no address; letters of other scripts can.
func TestLookAlikesAreNotAddressable(t *testing.T) {
	for _, r := range "ａＡ１．＠。｡Ｋſ𝐜ℯ①²ﬁ℡\u200b\u3000" {
		if Addressable(r) {
			t.Errorf("%q may stand in an address", r)
		}
	}
	for _, r := range "äßéøİёя例えテ한ขक\u0301❤" {
		if !Addressable(r) {
			t.Errorf("%q may not stand in an address", r)
		}
	}
}

func TestCheckMailbox(t *testing.T) {
	long := strings.Repeat("a", 64)
	for s, want := range map[string]Fault{
		"a@b": NoFault, `"a b"@example.com`: NoFault, `"a\"@"@example.com`: NoFault, "a.b+c@x_y.example": NoFault,
		"a@[192.0.2.1]": NoFault, "a@[IPv6:::1]": NoFault, "a@[ipv6:2001:db8::1]": NoFault,
		"postmaster": NoDomain, `"a b"`: NoDomain, "ü@example.com": NeedsUTF8, "a@bücher.example": NeedsUTF8,
		"": BadSyntax, "@": BadSyntax, "@b": BadSyntax, "a@": BadSyntax, "a@b@c": BadSyntax, ".a@b": BadSyntax, "a.@b": BadSyntax,
		"a..b@c": BadSyntax, "a b@c": BadSyntax, `"a@b`: BadSyntax, `"a"b@c`: BadSyntax, "\"\x1b\"@b": BadSyntax, "a@-b": BadSyntax,
		"a@b-": BadSyntax, "a@b..c": BadSyntax, "a@b.": BadSyntax, "a@[1.2.3]": BadSyntax, "a@[::1]": BadSyntax, "a@[IPv6:fe80::1%1]": BadSyntax,
		"a@" + long: BadSyntax, "a@" + strings.Repeat(long[1:]+".", 4) + "x": TooLong, "\xff@b": BadSyntax, "\u200b@b": BadSyntax, "ａ@b": BadSyntax,
	} {
		if got := CheckMailbox(s, false); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
	for s, want := range map[string]Fault{"ü@bücher.example": NoFault, "a\u202e@b": BadSyntax, "a@b\u3002c": BadSyntax, "\u212a@b": BadSyntax, "a\u00a0@b": BadSyntax} {
		if got := CheckMailbox(s, true); got != want {
			t.Errorf("%q with SMTPUTF8: %d, want %d", s, got, want)
		}
	}
}

func TestIsHelo(t *testing.T) {
	for s, want := range map[string]bool{"a": true, "host_1.example.": true, "[192.0.2.1]": true, "": false, ".": false, "a b": false, "(a)": false, "ü": false, "[a": false, "a..": false} {
		if got := IsHelo(s); got != want {
			t.Errorf("%q: %t", s, got)
		}
	}
}

func TestMendHelo(t *testing.T) {
	for s, want := range map[string]string{
		"192.0.2.1": "[192.0.2.1]", "[2001:DB8::1]": "[IPv6:2001:db8::1]", "::1": "[IPv6:::1]", "[ 10.0.0.1 ]": "[10.0.0.1]",
		"": "", "fe80::1%eth0": "", "host name": "", "[IPv6:::1]": "", "1.2.3": "",
	} {
		got := MendHelo(s)
		if got != want || got != "" && !IsHelo(got) {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

// What goes out between < and >, and as the value of a parameter.
func TestFits(t *testing.T) {
	for s, want := range map[string]bool{
		"": true, "a@b": true, `"a> x <b"@c`: true, `"a\"b"@c`: true, "ü@b": true,
		"a>@b": false, "<a@b": false, "a b@c": false, `"a@b`: false, `"a\`: false, "a@b\r\nRCPT TO:<c@d>": false, "\"\n\"@b": false, "a\x7f@b": false,
	} {
		if got := FitsPath(s); got != want {
			t.Errorf("%q: %t", s, got)
		}
	}
	for s, want := range map[string]bool{"": true, "a+2Bb": true, "é": true, "a b": false, "a\r\n": false, "\x00": false, "\x7f": false} {
		if got := FitsParameter(s); got != want {
			t.Errorf("parameter %q: %t", s, got)
		}
	}
}

// An address is cut and quoted as whoever wrote it meant.
func TestLocalParts(t *testing.T) {
	for local, want := range map[string]string{
		"a": "a", "a.b+c": "a.b+c", "": `""`, "a b": `"a b"`, `a"\`: `"a\"\\"`, "a..b": `"a..b"`, ".a": `".a"`, "a*b": "a*b", "ü": "ü", "x@y": `"x@y"`,
	} {
		got := QuoteLocal(local)
		if got != want {
			t.Errorf("%q is written as %s, want %s", local, got, want)
		}
		back, ok := CanonicalLocal(got)
		if back != local || ok != (got != "") {
			t.Errorf("%s is read as %q", got, back)
		}
		if l, d := SplitAddress(got + "@example.com"); l != got || d != "example.com" {
			t.Errorf("%s is cut to %q and %q", got, l, d)
		}
	}
}

// FuzzPath: what is accepted as an address can be written to the next hop
// between < and >, and is read there as the same address.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"<>", "<a@b>", `<"a> x <"@b>`, "<@r:a@b> SIZE=1", `<"\"a"@[IPv6:::1]>`, "<ü@ü>", "<a@b", "<a@[1.2.3.4]>", "<postmaster>", "a@b.", "<a..b@c>", "< .a@b >", "a@b SIZE=1"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, utf8ok bool) {
		for _, lenient := range []bool{false, true} {
			addr, params, fault := CutPath(s, lenient)
			if fault == NoFault {
				addr, fault = CheckPath(addr, utf8ok, lenient)
			}
			if fault != NoFault {
				continue
			}
			if !strings.HasSuffix(s, params) {
				t.Fatalf("%q: parameters %q", s, params)
			}
			again, rest, fault := CutPath("<"+addr+">", false)
			if fault == NoFault {
				again, fault = CheckPath(again, utf8ok, false)
			}
			if again != addr || rest != "" || fault != NoFault {
				t.Fatalf("%q became %q, which reads as %q %q %d", s, addr, again, rest, fault)
			}
			for i := range len(addr) {
				if c := addr[i]; c < ' ' || c == 0x7F || !utf8ok && c > 0x7F {
					t.Fatalf("%q: byte %#x in %q", s, c, addr)
				}
			}
			if !FitsPath(addr) {
				t.Fatalf("%q became %q, which could not be sent", s, addr)
			}
			if len(addr) > MaxPath-2 {
				t.Fatalf("%d octets", len(addr))
			}
		}
	})
}

// FuzzAddress: what CheckMailbox takes is in two parts that say the same when
// they are written again, and goes out between < and >; the form in which
// domains are compared is its own, and never looks like ASCII that wasn't.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"a@b", `"a b\"@"@example.com`, "ü@BÜCHER.example", "a@[IPv6:::1]", "\u212a@\u212aelvin.example", "a@b@c", "@", "\xff@\xfe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		local, domain := SplitAddress(s)
		if canonical, ok := CanonicalDomain(domain); ok {
			if again, ok := CanonicalDomain(canonical); again != canonical || !ok {
				t.Fatalf("%q becomes %q, which becomes %q", domain, canonical, again)
			}
			if host, ok := CanonicalHost(domain); ok && (host != canonical || !IsHelo(host)) {
				t.Fatalf("%q is the host %q", domain, host)
			}
			if !IsASCII(canonical) || !IsASCII(domain) && !strings.Contains(canonical, "xn--") {
				t.Fatalf("%q passes for %q", domain, canonical)
			}
		}
		if canonical, ok := CanonicalLocal(local); ok {
			if again, _ := CanonicalLocal(QuoteLocal(canonical)); again != canonical {
				t.Fatalf("%q becomes %q, which becomes %q", local, canonical, again)
			}
		}
		if helo := MendHelo(s); helo != "" && !IsHelo(helo) {
			t.Fatalf("%q becomes %q", s, helo)
		}
		if CheckMailbox(s, true) != NoFault {
			return
		}
		if local+"@"+domain != s || domain == "" || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || Unaddressable(r) }) || !FitsPath(s) {
			t.Fatalf("%q: %q and %q", s, local, domain)
		}
	})
}
