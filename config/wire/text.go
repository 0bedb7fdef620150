// Package wire has the text and the grammar of mail: it makes text that others
// wrote harmless, reads and writes addresses, paths, xtext and header fields,
// and follows line ends. There is one implementation of each.
//
// It faces nobody: it has functions from values to values, and no state but
// that of Lines. It stands below config, so that config, relay, queue and cmd
// can use it, and imports nothing of ours.
package wire

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Visible reports whether a reader sees r, and nothing but r: no control
// character, no invisible one (zero width, tags, variation selectors,
// fillers), none that turns text around, no line separator, none that Unicode
// has not assigned, not U+FFFD.
func Visible(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= ' ' && r <= '~'
	}
	return r != utf8.RuneError && unicode.IsGraphic(r) && r != blankBraille &&
		!unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// blankBraille is a symbol for Unicode, and an empty place for a reader.
const blankBraille = '\u2800'

func invisible(r rune) bool { return !Visible(r) }

// Printable reports whether s is printable ASCII, as nearly everything is.
func Printable[T string | []byte](s T) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Text is s on one line and harmless: line feeds and tabs are spaces, and
// everything else that isn't Visible, invalid UTF-8 too, is "?". What is more
// than limit bytes is cut without a word: for what programs read, and for
// values that are cut again where they are shown.
func Text(s string, limit int) string {
	if len(s) <= limit && Printable(s) {
		return s
	}
	return replaced(s, limit, Visible)
}

// replaced is at most limit bytes of s, in which line feeds and tabs are
// spaces, and whatever pass doesn't let through is "?".
func replaced(s string, limit int, pass func(rune) bool) string {
	var b strings.Builder
	for _, r := range s {
		if r == '\n' || r == '\t' {
			r = ' '
		}
		if !pass(r) {
			r = '?'
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Abridged is Text with mark behind it where something was cut: for what
// people read. mark is "..." where ASCII has to stay ASCII.
func Abridged(s string, limit int, mark string) string {
	shown := Text(s, limit)
	if len(s) > limit && len(shown) > limit-utf8.UTFMax {
		shown += mark
	}
	return shown
}

// maxShown is the number of bytes after which Line cuts.
const maxShown = 1000

// Line is s for a line of a log, a line of a terminal and the label of a
// metric: Text, of which 1,000 bytes are shown, and "…" for the rest.
func Line(s string) string { return Abridged(s, maxShown, "…") }

// EachLine is each line of s as Line shows it: for our own text of several lines
// with words of others in it, on a terminal.
func EachLine(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = Line(lines[i])
	}
	return strings.Join(lines, "\n")
}

// Quote is s between double quotes, as Go writes it. Whatever is not Visible
// is escaped and not replaced: for those who have to see what exactly a
// pattern is compared with.
func Quote(s string) string {
	return escaped(strconv.Quote(s), func(r rune) string {
		if r > 0xffff {
			return fmt.Sprintf(`\U%08x`, r)
		}
		return fmt.Sprintf(`\u%04x`, r)
	})
}

// Exact is s itself where all of it is visible, else Quote.
func Exact(s string) string {
	if strings.ContainsFunc(s, invisible) || !utf8.ValidString(s) {
		return Quote(s)
	}
	return s
}

// JSON is a document in which whatever JSON allows in its strings and a
// terminal would obey is escaped: DEL, C1 controls, bidi overrides. A program
// that reads it sees no difference. Line feeds, which indent it, stay.
func JSON(doc []byte) string {
	return escaped(string(doc), func(r rune) string {
		switch hi, lo := utf16.EncodeRune(r); {
		case r == '\n':
			return "\n"
		case r > 0xffff:
			return fmt.Sprintf(`\u%04x\u%04x`, hi, lo)
		}
		return fmt.Sprintf(`\u%04x`, r)
	})
}

// escaped is s with escape of whatever is not visible.
func escaped(s string, escape func(rune) string) string {
	if Printable(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		if Visible(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(escape(r))
		}
	}
	return b.String()
}

// Comment is a word for a comment of a header field (RFC 5322 §3.2.2): nothing
// in it can end the comment or the word.
func Comment(s string) string {
	return replaced(s, maxShown, func(r rune) bool {
		return r > ' ' && r <= '~' && r != '(' && r != ')' && r != '\\'
	})
}
