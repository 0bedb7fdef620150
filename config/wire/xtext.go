package wire

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const hexDigits = "0123456789ABCDEF"

// isXchar: xchar of RFC 3461 §4: %d33-126 without + and =.
func isXchar(c byte) bool { return c > ' ' && c <= '~' && c != '+' && c != '=' }

// DecodeXtext decodes xtext (RFC 3461 §4). It fails on anything that is not
// xtext, and on what decodes to other than printable ASCII (§4.4, §5.2.1): a
// decoded CR LF would end a header line further on. Where lenient, hex digits
// may be small.
func DecodeXtext(s string, lenient bool) (string, bool) {
	text, ok := decodeXtext(s, lenient)
	if !ok {
		return "", false
	}
	return text, true
}

// XtextShown is what xtext stands for; what is malformed stays as it is. It is
// for what people read, and still has to be made harmless.
func XtextShown(s string) string {
	text, _ := decodeXtext(s, true)
	return text
}

// decodeXtext decodes what can be decoded. ok: that is all of s, and gave
// nothing but printable ASCII.
func decodeXtext(s string, lenient bool) (text string, ok bool) {
	ok = true
	if strings.IndexByte(s, '+') < 0 {
		for i := 0; i < len(s) && ok; i++ {
			ok = isXchar(s[i])
		}
		return s, ok
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '+' {
			ok = ok && isXchar(c)
		} else if v := hexByte(s[i+1:], lenient); v >= 0 {
			c = byte(v)
			ok = ok && c >= ' ' && c <= '~'
			i += 2
		} else {
			ok = false
		}
		b = append(b, c)
	}
	return string(b), ok
}

// hexByte is the value of the two hex digits at the front of s, or -1.
func hexByte(s string, lenient bool) int {
	if len(s) < 2 {
		return -1
	}
	hi, lo := hexDigit(s[0], lenient), hexDigit(s[1], lenient)
	if hi < 0 || lo < 0 {
		return -1
	}
	return hi<<4 | lo
}

// hexDigit is the value of c, or -1.
func hexDigit(c byte, lenient bool) int {
	if lenient && 'a' <= c && c <= 'f' {
		c -= 'a' - 'A'
	}
	return strings.IndexByte(hexDigits, c)
}

// EncodeXtext is the inverse of DecodeXtext.
func EncodeXtext(s string) string {
	i := 0
	for i < len(s) && isXchar(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	b := make([]byte, 0, len(s)+8)
	for i := 0; i < len(s); i++ {
		if c := s[i]; isXchar(c) {
			b = append(b, c)
		} else {
			b = append(b, '+', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b)
}

// DecodeUTF8Xtext decodes utf-8-addr-xtext and utf-8-addr-unitext (RFC 6533
// §3): QCHAR, UTF-8, and \x{HEX}. Control characters, and whatever is beyond
// ASCII and may stand in no address, are refused in either form.
func DecodeUTF8Xtext(s string, lenient bool) (string, bool) {
	if !utf8.ValidString(s) {
		return "", false
	}
	var b strings.Builder
	for s != "" {
		r, n := utf8.DecodeRuneInString(s)
		if r == '\\' {
			if r, n = hexPoint(s, lenient); n == 0 {
				return "", false
			}
		} else if r == ' ' || r == '+' || r == '=' {
			return "", false
		}
		if r < ' ' || r == 0x7f || Unaddressable(r) {
			return "", false
		}
		b.WriteRune(r)
		s = s[n:]
	}
	return b.String(), true
}

// hexPoint is the character that \x{HEX} at the front of s stands for, and the
// length of that; 0: it is malformed.
func hexPoint(s string, lenient bool) (rune, int) {
	rest, ok := strings.CutPrefix(s, `\x{`)
	hex, _, closed := strings.Cut(rest, "}")
	n := len(`\x{}`) + len(hex)
	if lenient {
		hex = strings.ToUpper(hex)
	}
	if !ok || !closed || len(hex) < 2 || len(hex) > 6 || strings.Trim(hex, hexDigits) != "" {
		return 0, 0
	}
	v, err := strconv.ParseUint(hex, 16, 32)
	if err != nil || !utf8.ValidRune(rune(v)) {
		return 0, 0
	}
	return rune(v), n
}

// EncodeUTF8Xtext makes utf-8-addr-xtext, which is ASCII and so may be handed
// to any server with DSN.
func EncodeUTF8Xtext(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r <= '~' && isXchar(byte(r)) && r != '\\' {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\x{%02X}`, r)
		}
	}
	return b.String()
}
