package compose

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/config/wire"
)

const (
	maxName  = 1024     // octets of the name of a person or a file
	maxValue = 16 << 10 // octets of the value of a field
	maxShown = 80       // octets of a value in a problem
)

// textFault says why s can't be the value of a field, a name or a file name; ""
// where it can. What would end a line or hide from a reader is never encoded
// away: it is a mistake in the data or an attempt.
func textFault(s string, limit int) string {
	if len(s) > limit {
		return fmt.Sprintf("has %d bytes, more than %d", len(s), limit)
	}
	if wire.Printable(s) {
		return ""
	}
	if !utf8.ValidString(s) {
		return "is not UTF-8: " + show(s)
	}
	flag := false // a flag of a region goes on in tags (Unicode, UTS 51 §1.4.6)
	for _, r := range s {
		tag := r >= 0xE0020 && r <= 0xE007F
		if what := runeFault(r); what != "" && !(flag && tag) {
			return fmt.Sprintf("holds %s: %s", what, show(s))
		}
		flag = r == '\U0001F3F4' || flag && tag
	}
	return ""
}

func runeFault(r rune) string {
	switch {
	case r == '\r' || r == '\n' || r == '\u0085' || r == '\u2028' || r == '\u2029':
		return "a line break"
	case r == 0:
		return "a NUL"
	case unicode.Is(unicode.Cc, r):
		return "a control character"
	case r < utf8.RuneSelf:
		return ""
	case r >= '\u202A' && r <= '\u202E', r >= '\u2066' && r <= '\u2069':
		return "a character that turns text around"
	case joins(r):
		return ""
	case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r), unicode.Is(unicode.Noncharacter_Code_Point, r):
		return "an invisible character"
	}
	return ""
}

// joins tells of signs that no reader sees by themselves, and that scripts and
// emoji need: joiners, direction marks, soft hyphen, signs before numbers.
func joins(r rune) bool {
	switch r {
	case '\u00AD', '\u034F', '\u061C', '\u200C', '\u200D', '\u200E', '\u200F', '\u06DD', '\u070F':
		return true
	}
	return unicode.Is(unicode.Variation_Selector, r)
}

// show is s for a sentence: harmless, between quotes, and not long.
func show(s string) string {
	end := ""
	if len(s) > maxShown {
		n := maxShown
		for n > maxShown-utf8.UTFMax && !utf8.RuneStart(s[n]) {
			n--
		}
		s, end = s[:n], "…"
	}
	q := wire.Quote(s)
	return q[:len(q)-1] + end + `"`
}

// fileNameFault says why s can't be the name of a file.
func fileNameFault(s string) string {
	switch {
	case s == "." || s == "..":
		return "is the name of a folder: " + show(s)
	case strings.ContainsAny(s, `/\`):
		return "holds a / or \\, which would be a path: " + show(s)
	case s != strings.TrimSpace(s):
		return "begins or ends with a blank: " + show(s)
	}
	return textFault(s, maxName)
}

// bodyFault says why s can't be the text of a message.
func bodyFault(s string) string {
	switch {
	case strings.IndexByte(s, 0) >= 0:
		return "holds a NUL"
	case !utf8.ValidString(s):
		return "is not UTF-8"
	}
	return ""
}
