package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// CanonicalDomain is the form in which two domains are compared: lower case,
// with international labels as A-labels (RFC 5890 §2.3.2.1), so that
// "BÜCHER.example" and "xn--bcher-kva.example" are one.
//
// It is false for a domain that no pattern can name: one with an empty label,
// or with a character that only becomes ASCII when it is normalised or
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
	return strings.Join(labels, "."), true
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
	var runes []rune
	for _, r := range label {
		// Each character by itself first: what one turns into must not be
		// hidden by what stands around it.
		if r >= utf8.RuneSelf {
			if low := lowered(norm.NFC.String(string(r))); IsASCII(low) {
				return "", false
			}
		}
		runes = append(runes, unicode.ToLower(r))
	}
	encoded, ok := punycode([]rune(norm.NFC.String(string(runes))))
	return "xn--" + encoded, ok
}

func lowered(s string) string { return strings.Map(unicode.ToLower, s) }

// The parameters of Punycode (RFC 3492 §5).
const (
	punyBase        = 36
	punyTMin        = 1
	punyTMax        = 26
	punySkew        = 38
	punyDamp        = 700
	punyInitialBias = 72
	punyInitialN    = 128
)

// punycode encodes a label (RFC 3492 §6.3). It is false for a label that is
// too long to be one.
func punycode(label []rune) (string, bool) {
	if len(label) > 256 {
		return "", false
	}
	var out []byte
	for _, r := range label {
		if r < punyInitialN {
			out = append(out, byte(r))
		}
	}
	basic := len(out)
	done := basic
	if basic > 0 {
		out = append(out, '-')
	}
	n, delta, bias := rune(punyInitialN), 0, punyInitialBias
	for done < len(label) {
		next := rune(unicode.MaxRune)
		for _, r := range label {
			if r >= n && r < next {
				next = r
			}
		}
		delta += int(next-n) * (done + 1)
		n = next
		for _, r := range label {
			if r < n {
				delta++
			}
			if r == n {
				out = appendPunyDelta(out, delta, bias)
				bias = punyAdapt(delta, done+1, done == basic)
				delta = 0
				done++
			}
		}
		delta++
		n++
	}
	return string(out), true
}

// appendPunyDelta writes one variable-length integer.
func appendPunyDelta(out []byte, delta, bias int) []byte {
	for k := punyBase; ; k += punyBase {
		t := min(max(k-bias, punyTMin), punyTMax)
		if delta < t {
			return append(out, punyDigit(delta))
		}
		out = append(out, punyDigit(t+(delta-t)%(punyBase-t)))
		delta = (delta - t) / (punyBase - t)
	}
}

func punyDigit(d int) byte {
	if d < 26 {
		return byte('a' + d)
	}
	return byte('0' + d - 26)
}

// punyAdapt is the bias adaptation of RFC 3492 §6.1.
func punyAdapt(delta, points int, first bool) int {
	if first {
		delta /= punyDamp
	} else {
		delta /= 2
	}
	delta += delta / points
	k := 0
	for delta > (punyBase-punyTMin)*punyTMax/2 {
		delta /= punyBase - punyTMin
		k += punyBase
	}
	return k + (punyBase-punyTMin+1)*delta/(delta+punySkew)
}
