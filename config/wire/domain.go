package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// CanonicalDomain is the form in which two domains are compared: lower case,
// with international labels as A-labels (RFC 5890 §2.3.2.1), so that
// "BÜCHER.example" and "xn--bcher-kva.example" are one.
//
// It is false for a domain that no pattern can name: one with an empty label,
// with a label beyond ASCII whose A-label is longer than 63 octets, of more
// than 255 octets, or with a character that only becomes ASCII when it is normalised or
// lower-cased (the Kelvin sign, a dotted capital I). Such a look-alike must
// not pass for the name that it looks like. Compatibility forms (full-width
// letters) are never mapped either. A domain literal is only lower-cased.
func CanonicalDomain(domain string) (string, bool) {
	if strings.HasPrefix(domain, "[") {
		return strings.ToLower(domain), IsASCII(domain) && strings.HasSuffix(domain, "]")
	}
	if len(domain) > 1024 {
		return "", false
	}
	labels := strings.Split(domain, ".")
	for i, label := range labels {
		canonical, ok := canonicalLabel(label)
		if !ok {
			return "", false
		}
		labels[i] = canonical
	}
	canonical := strings.Join(labels, ".")
	return canonical, len(canonical) <= maxDomain
}

func canonicalLabel(label string) (string, bool) {
	if label == "" {
		return "", false
	}
	if IsASCII(label) {
		return strings.ToLower(label), true
	}
	if !utf8.ValidString(label) {
		return "", false
	}
	for _, r := range label {
		// Each character by itself first: what one turns into must not be
		// hidden by what stands around it.
		if r >= utf8.RuneSelf && IsASCII(lowered(norm.NFC.String(string(r)))) {
			return "", false
		}
	}
	low := norm.NFC.String(lowered(label))
	if utf8.RuneCountInString(low) > maxLabel {
		return "", false // The A-label has at least an octet for each; this bounds the work.
	}
	// The profile maps nothing. A label that is an A-label in part is refused.
	encoded, err := idna.Punycode.ToASCII(low)
	return encoded, err == nil && len(encoded) <= maxLabel
}

func lowered(s string) string { return strings.Map(unicode.ToLower, s) }

// CanonicalHost is the canonical form of what a host calls itself in EHLO
// (RFC 5321 §4.1.1.1): a domain of letters, digits and hyphens (RFC 952), or
// an address literal. It is false for anything else.
func CanonicalHost(name string) (string, bool) {
	canonical, ok := CanonicalDomain(name)
	switch {
	case !ok:
		return "", false
	case strings.HasPrefix(canonical, "["):
		return canonical, IsLiteral(canonical)
	case !IsDomain(canonical, false) || strings.Contains(canonical, "_"):
		return "", false
	}
	return canonical, true
}
