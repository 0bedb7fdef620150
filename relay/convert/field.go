package convert

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"postern/config/wire"
)

// encodeField is a field with 8 bits as a field of 7: by RFC 2047 in text and
// names, by RFC 2231 in parameters. In fields of other grammars nothing of the
// kind is known, and addresses have no such form (ErrLeft).
func encodeField(name, lower string, value []byte) ([]byte, error) {
	text := strings.TrimSpace(strings.ReplaceAll(wire.Unfold(value), "\t", " "))
	out, ok := "", false
	if !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		switch fieldGrammar(lower) {
		case freeText:
			out, ok = encodeText(text)
		case names:
			out, ok = encodeNames(text, lower == "keywords")
		case parameters:
			out, ok = encodeParameters(text)
		}
	}
	field := wire.FoldLong([]byte(name + ": " + out + "\r\n"))
	for line := range bytes.SplitSeq(field, crlf) {
		ok = ok && len(line) <= wire.MaxTextLine && wire.IsASCII(line)
	}
	if !ok {
		return nil, left("a field of a header has 8 bits that no encoding is for")
	}
	return field, nil
}

// grammar is what the value of a field is made of.
type grammar uint8

const (
	freeText grammar = iota
	names            // addresses, each with a name
	parameters
	other
)

func fieldGrammar(lower string) grammar {
	switch lower {
	case "from", "sender", "reply-to", "to", "cc", "bcc", "resent-from", "resent-sender", "resent-reply-to", "resent-to", "resent-cc",
		"resent-bcc", "keywords", "list-id", "mail-reply-to", "mail-followup-to", "disposition-notification-to", "return-receipt-to",
		"errors-to", "x-original-from":
		return names
	case "content-type", "content-disposition":
		return parameters
	case "subject", "comments", "content-description", "thread-topic", "organization", "user-agent":
		return freeText
	}
	if strings.HasPrefix(lower, "x-") {
		return freeText
	}
	return other
}

// maxEncoded is how many bytes one encoded word takes, so that a line has one
// of them and at most 76 characters (RFC 2047 §2).
const maxEncoded = 30

// encoded is text as encoded words, each on a line of its own. All are base64, as
// that is fit for every place (RFC 2047 §5).
func encoded(text string) string {
	charset := charsetOf(text)
	var b strings.Builder
	for len(text) > 0 {
		n := min(len(text), maxEncoded)
		for charset == "utf-8" && n < len(text) && !utf8.RuneStart(text[n]) {
			n--
		}
		if b.Len() > 0 {
			b.WriteString("\r\n ")
		}
		b.WriteString("=?" + charset + "?B?" + base64.StdEncoding.EncodeToString([]byte(text[:n])) + "?=")
		text = text[n:]
	}
	return b.String()
}

func charsetOf(text string) string {
	if utf8.ValidString(text) {
		return "utf-8"
	}
	return unknownCharset
}

// word is one of a text or a name.
type word struct {
	written string
	says    string // without quotes
}

func (w word) encoded() bool {
	return strings.HasPrefix(w.written, "=?") && strings.HasSuffix(w.written, "?=")
}

// encodeWords encodes words from the first to the last that is not ASCII, and
// joins all by blanks. Readers drop the blank between two encoded words: where
// another one stands beside, it is encoded, too.
func encodeWords(all []word) (string, bool) {
	first, last := len(all), -1
	for i, w := range all {
		if !wire.IsASCII(w.says) {
			first, last = min(first, i), i
		}
	}
	var before, inside, after []string
	beside := [2]bool{}
	for i, w := range all {
		switch {
		case i < first && w.written != "":
			beside[0] = w.encoded()
			before = append(before, w.written)
		case i < first:
			before = append(before, "")
		case i <= last:
			inside = append(inside, w.says)
		default:
			if w.written != "" && strings.Join(after, "") == "" {
				beside[1] = w.encoded()
			}
			after = append(after, w.written)
		}
	}
	if last < 0 {
		return strings.Join(before, " "), true
	}
	text := strings.Join(inside, " ")
	if strings.Contains(text, "=?") { // which readers decode now
		return "", false
	}
	if beside[0] {
		text = " " + text
	}
	if beside[1] {
		text += " "
	}
	return strings.Join(append(append(before, encoded(text)), after...), " "), true
}

func encodeText(text string) (string, bool) {
	var all []word
	for w := range strings.SplitSeq(text, " ") {
		all = append(all, word{w, w})
	}
	return encodeWords(all)
}

// encodeParameters encodes values of parameters by RFC 2231 §4. Where the same
// name stands there in that form already, the plain one is for readers that
// don't know it, and "_" is what they get.
func encodeParameters(text string) (string, bool) {
	all, ok := splitParameters(text)
	if !ok {
		return "", false
	}
	starred := func(name string) bool {
		for _, p := range all {
			n, _, _ := strings.Cut(p, "=")
			if n = strings.TrimSpace(n); strings.EqualFold(n, name+"*") || strings.EqualFold(n, name+"*0*") {
				return true
			}
		}
		return false
	}
	for i, p := range all {
		if wire.IsASCII(p) {
			continue
		}
		name, value, ok := strings.Cut(p, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case i == 0 || !ok || !isToken(name) || strings.Contains(name, "*") || strings.EqualFold(name, "boundary") || value == "":
			return "", false
		case starred(name):
			all[i] = strings.Map(func(r rune) rune {
				if r >= 0x80 {
					return '_'
				}
				return r
			}, p)
		default:
			if value[0] == '"' {
				value = unquoted(value)
			}
			all[i] = "\r\n " + name + "*=" + charsetOf(value) + "''" + percent(value)
		}
	}
	return strings.Join(all, ";"), true
}

// splitParameters parts a value at its semicolons.
func splitParameters(text string) (all []string, ok bool) {
	start := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			n := quotedLength(text[i:])
			if n == 0 {
				return nil, false
			}
			i += n - 1
			if rest := strings.TrimLeft(text[i+1:], " "); rest != "" && rest[0] != ';' {
				return nil, false
			}
		case '(', '\\':
			return nil, false
		case ';':
			all = append(all, text[start:i])
			start = i + 1
		}
	}
	return append(all, text[start:]), true
}

// percent writes all but letters, digits and three signs as %XX (RFC 2231 §7).
func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
