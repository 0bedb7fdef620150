package wire

import (
	"iter"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Parameter is one esmtp-param (RFC 5321 §4.1.2).
type Parameter struct {
	Key   string // in capitals
	Value string
	Given bool // there was a "="
}

// Parameters yields those of s. ok is false for one that is not well-formed:
// keyword, and a value of visible ASCII and UTF-8 (RFC 6531 §3.3) without "=".
func Parameters(s string) iter.Seq2[Parameter, bool] {
	return func(yield func(p Parameter, ok bool) bool) {
		for {
			s = strings.TrimLeft(s, " ")
			if s == "" {
				return
			}
			var word string
			word, s, _ = strings.Cut(s, " ")
			key, value, has := strings.Cut(word, "=")
			p := Parameter{strings.ToUpper(key), value, has}
			if !yield(p, IsKeyword(key) && (!has || isValue(value))) {
				return
			}
		}
	}
}

// IsKeyword checks s against esmtp-keyword (RFC 5321 §4.1.2): letters, digits
// and, behind the first of them, hyphens.
func IsKeyword(s string) bool { return s != "" && s[0] != '-' && isWord(s, '-') }

// isWord reports whether s is letters, digits, hyphens and other.
func isWord(s string, other byte) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == other:
		default:
			return false
		}
	}
	return true
}

// isValue: esmtp-value = 1*(%d33-60 / %d62-126), and UTF-8 (RFC 6531 §3.3).
func isValue(s string) bool {
	return s != "" && FitsParameter(s) && strings.IndexByte(s, '=') < 0 && utf8.ValidString(s)
}

// IsDigits reports whether s is decimal digits, one at least.
func IsDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// ForeignProtocol names what a line belongs to that is no command of SMTP: HTTP
// or a header field; empty: nothing is known of it. A browser can be made to
// POST to an SMTP port, and would have its lines read one by one until some
// look like SMTP.
func ForeignProtocol(line string) string {
	verb, _, _ := strings.Cut(line, " ")
	switch verb {
	case "GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "CONNECT", "TRACE", "PATCH", "PRI":
		return "HTTP"
	}
	name, _, ok := strings.Cut(verb, ":")
	if ok && name != "" && isWord(name, '_') {
		return "a header field"
	}
	return ""
}

// HasControl reports whether s has an ASCII control character.
func HasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// maxReply bounds the text of a reply line, in octets: with its codes and its
// end a line has at most 512 (RFC 5321 §4.5.3.1.5).
const maxReply = 480

// AppendReply adds one line of a reply (RFC 5321 §4.2), with the enhanced
// status code (RFC 2034 §4) if its class isn't 0 and the reply is not a 3xx one.
// more: other lines of the reply follow. Control bytes of text become "?".
func AppendReply(b []byte, code int, enhanced [3]int, text string, more bool) []byte {
	b = strconv.AppendInt(b, int64(code), 10)
	if more {
		b = append(b, '-')
	} else {
		b = append(b, ' ')
	}
	if enhanced[0] > 0 && code/100 != 3 {
		b = append(strconv.AppendInt(b, int64(enhanced[0]), 10), '.')
		b = append(strconv.AppendInt(b, int64(enhanced[1]), 10), '.')
		b = append(strconv.AppendInt(b, int64(enhanced[2]), 10), ' ')
	}
	start := len(b)
	b = append(b, text[:min(len(text), maxReply)]...)
	for i := start; i < len(b); i++ {
		if c := b[i]; c < ' ' || c == 0x7f {
			b[i] = '?'
		}
	}
	return append(b, '\r', '\n')
}
