package wire

import (
	"strings"
	"testing"
)

func TestCanonicalDomain(t *testing.T) {
	for domain, want := range map[string]string{
		"example.com":           "example.com",
		"EXAMPLE.Com":           "example.com",
		"bücher.example":        "xn--bcher-kva.example",
		"BÜCHER.example":        "xn--bcher-kva.example",
		"bu\u0308cher.example":  "xn--bcher-kva.example", // decomposed
		"XN--BCHER-KVA.example": "xn--bcher-kva.example",
		"straße.example":        "xn--strae-oqa.example", // IDNA 2008 keeps it
		"münchen.例え.テスト":        "xn--mnchen-3ya.xn--r8jz45g.xn--zckzah",
		"пример.испытание":      "xn--e1afmkfd.xn--80akhbyknj4f",
		"他们为什么不说中文":             "xn--ihqwcrb4cv8a8dqg056pqjye", // RFC 3492 §7.1 (B)
		"почемужеонинеговорятпорусски": "xn--b1abfaaepdrnnbgefbadotcwatmq2g4l",       // (J), without its capital D
		"ليهمابتكلموشعربي؟":            "xn--egbpdaj6bu4bxfgehfvwxn",                 // (A)
		"他們爲什麽不說中文":                    "xn--ihqwctvzc91f659drss3x8bo0yb",            // (C)
		"למההםפשוטלאמדבריםעברית":       "xn--4dbcagdahymbxekheh6e0a7fei0b",           // (E)
		"なぜみんな日本語を話してくれないのか":           "xn--n8jok5ay5dzabd5bym9f0cm5685rrjetr6pdxa", // (G)
		"ü.😀💩.x":                "xn--tda.xn--ls8hnv.x",
		strings.Repeat("ü", 57): "xn--tda" + strings.Repeat("a", 56), // of 63 octets
		"xn--invalid!.example":  "xn--invalid!.example",              // ASCII stays as it is
		"[192.0.2.1]":           "[192.0.2.1]",
		"[IPv6:2001:DB8::1]":    "[ipv6:2001:db8::1]",
	} {
		if got, ok := CanonicalDomain(domain); got != want || !ok {
			t.Errorf("CanonicalDomain(%q) = %q, %v; want %q", domain, got, ok, want)
		}
	}
	for _, domain := range []string{
		"", ".", "a..b", "a.", ".a", "\u212aelvin.example", "\u0130stanbul.example", "ex\u212aample.example",
		"\xff.example", "[192.0.2.1", "[ü]", strings.Repeat("ü", 2000) + ".example", strings.Repeat("ü", 300) + ".example",
		strings.Repeat("ü", 58), "xn--ü.example", // an A-label in part
		strings.Repeat("p", 45) + "\u054e" + strings.Repeat("p", 10) + ".example", // 57 octets, with an A-label of 64
		strings.Repeat("ü.", 32) + "example", strings.Repeat("ppp.", 64) + "ü",
	} {
		if got, ok := CanonicalDomain(domain); ok {
			t.Errorf("CanonicalDomain(%q) = %q, want it refused", domain, got)
		}
	}
}

// Characters that look like ASCII, or that some mappings turn into ASCII,
// never make another domain equal to one in ASCII.
func TestCanonicalDomainLookAlikes(t *testing.T) {
	for _, domain := range []string{
		"ехample.com",              // Cyrillic e and ha
		"ｅｘａｍｐｌｅ.com",              // full width
		"example。com",              // ideographic full stop
		"exam\u00adple.com",        // soft hyphen
		"example\u200b.com",        // zero-width space
		"e\u0301xample.com",        // combining accent
		"exampl\u212f.com",         // script small e
		"ex\u0430mple.com",         // Cyrillic a
		"\u2121.com",               // TEL sign
		"ſexample.com",             // long s
		"ex\uff41mple.com",         // full-width a
		"\u202eelpmaxe.com",        // right-to-left override
		"example.c\u043em",         // Cyrillic o
		"example.com\u2024evil",    // one dot leader
		"\U0001d41example.com"[1:], // invalid bytes
	} {
		if got, ok := CanonicalDomain(domain); ok && (got == "example.com" || IsASCII(domain) || !strings.Contains(got, "xn--")) {
			t.Errorf("CanonicalDomain(%q) = %q, which passes for ASCII", domain, got)
		}
	}
}
