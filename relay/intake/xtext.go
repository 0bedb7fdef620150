package intake

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

const hexDigits = "0123456789ABCDEF"

// decodeXtext decodes xtext (RFC 3461 §4). It fails on anything that is not
// xtext, and on what decodes to other than printable ASCII (§4.4, §5.2.1): a
// decoded CR LF would end a header line further on. Where lenient, hex digits
// may be small.
func decodeXtext(s string, lenient bool) (string, bool) {
	if strings.IndexByte(s, '+') < 0 {
		return s, isGraphic(s)
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			if i+2 >= len(s) {
				return "", false
			}
			hi, lo := hexDigit(s[i+1], lenient), hexDigit(s[i+2], lenient)
			if hi < 0 || lo < 0 {
				return "", false
			}
			i += 2
			if c = byte(hi<<4 | lo); c < ' ' || c > '~' {
				return "", false
			}
		} else if c <= ' ' || c > '~' || c == '=' {
			return "", false
		}
		b = append(b, c)
	}
	return string(b), true
}

// hexDigit is the value of c, or -1.
func hexDigit(c byte, lenient bool) int {
	if lenient && 'a' <= c && c <= 'f' {
		c -= 'a' - 'A'
	}
	return strings.IndexByte(hexDigits, c)
}

// encodeXtext is the inverse of decodeXtext.
func encodeXtext(s string) string {
	plain := func(c byte) bool { return c > ' ' && c <= '~' && c != '+' && c != '=' }
	i := 0
	for i < len(s) && plain(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	b := make([]byte, 0, len(s)+8)
	for i := 0; i < len(s); i++ {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '+', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b)
}

// decodeUTF8Xtext decodes utf-8-addr-xtext and utf-8-addr-unitext (RFC 6533
// §3): QCHAR, UTF-8, and \x{HEX}. Controls are refused in either form.
func decodeUTF8Xtext(s string, lenient bool) (string, bool) {
	if !utf8.ValidString(s) {
		return "", false
	}
	var b strings.Builder
	for s != "" {
		if s[0] == '\\' {
			rest, ok := strings.CutPrefix(s, `\x{`)
			hex, after, closed := strings.Cut(rest, "}")
			if lenient {
				hex = strings.ToUpper(hex)
			}
			if !ok || !closed || len(hex) < 2 || len(hex) > 6 || strings.Trim(hex, hexDigits) != "" {
				return "", false
			}
			v, err := strconv.ParseUint(hex, 16, 32)
			r := rune(v)
			if err != nil || !utf8.ValidRune(r) || isControl(r) {
				return "", false
			}
			b.WriteRune(r)
			s = after
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		if isControl(r) || r == ' ' || r == '+' || r == '=' {
			return "", false
		}
		b.WriteRune(r)
		s = s[n:]
	}
	return b.String(), true
}

// encodeUTF8Xtext makes utf-8-addr-xtext, which is ASCII and so may be handed
// to any server with DSN.
func encodeUTF8Xtext(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r > ' ' && r <= '~' && r != '+' && r != '=' && r != '\\' {
			b.WriteRune(r)
			continue
		}
		b.WriteString(`\x{`)
		hex := strings.ToUpper(strconv.FormatInt(int64(r), 16))
		if len(hex) < 2 {
			hex = "0" + hex
		}
		b.WriteString(hex)
		b.WriteByte('}')
	}
	return b.String()
}

func isControl(r rune) bool { return r < ' ' || r >= 0x7F && r < 0xA0 }

// isGraphic tells whether s is all %d33-126 without + and =.
func isGraphic(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c > '~' || c == '+' || c == '=' {
			return false
		}
	}
	return true
}
