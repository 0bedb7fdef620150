package wire

import (
	"unicode"

	"golang.org/x/text/width"
)

// Columns is how many columns of a terminal or a page of letters of one width s
// takes (UAX #11). Terminals differ in some signs.
func Columns(s string) (n int) {
	if Printable(s) {
		return len(s)
	}
	for _, r := range s {
		n += columns(r)
	}
	return n
}

func columns(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
		return 2
	}
	return 1
}

// Within is the beginning of s that takes n columns at most.
func Within(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i, r := range s {
		if n -= columns(r); n < 0 {
			return s[:i]
		}
	}
	return s
}
