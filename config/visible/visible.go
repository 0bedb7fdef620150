// Package visible faces text that strangers wrote: replies of upstreams,
// answers of providers, names of clients. It makes that text fit for a log, a
// terminal, JSON, a bounce. It is the one place that knows what hides.
//
// It stands below config, so that relay, queue and cmd can all use it.
package visible

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Rune reports whether a reader sees r, and nothing but r: no control
// character, no invisible one (zero width, tags, variation selectors,
// fillers), none that turns text around, no line separator, none that Unicode
// has not assigned, not U+FFFD.
func Rune(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= ' ' && r <= '~'
	}
	return r != utf8.RuneError && unicode.IsGraphic(r) && r != blankBraille &&
		!unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// Addressable reports whether r, which is not ASCII, may stand in an address, a
// domain or the name of a user: a reader sees it, it isn't a space, and it
// isn't one of the signs that PRECIS and RFC 6532 leave out. (RFC 8264 §9)
// Nor is it one that servers further on may take for ASCII, such as full-width
// letters (RFC 5892 §2.2, RFC 8264 §9.17): what is refused to a sender by name
// would go on to them under another one.
func Addressable(r rune) bool {
	return r >= utf8.RuneSelf && Rune(r) && !unicode.Is(unicode.Zs, r) && !becomesASCII(r)
}

// ideographicStop separates labels for those who map domains (RFC 3490 §3.1).
const ideographicStop = '\u3002'

// becomesASCII reports whether r, which is not ASCII, has some of it in its
// compatibility form.
func becomesASCII(r rune) bool {
	form := norm.NFKC.String(string(r))
	return strings.ContainsFunc(form, func(r rune) bool { return r < utf8.RuneSelf || r == ideographicStop })
}

// blankBraille is a symbol for Unicode, and an empty place for a reader.
const blankBraille = '\u2800'

// Text is s with line feeds and tabs as spaces, everything else that Rune does
// not let pass and invalid UTF-8 as "?", and at most limit bytes.
func Text(s string, limit int) string {
	if len(s) <= limit && ASCII(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\t':
			r = ' '
		case !Rune(r):
			r = '?'
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			return b.String()
		}
		b.WriteRune(r)
	}
	return b.String()
}

// ASCII reports whether s is printable ASCII, as nearly everything is.
func ASCII[T string | []byte](s T) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
