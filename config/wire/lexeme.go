package wire

import "strings"

// The kinds of what stands in a field with addresses (RFC 5322 §3.2). What is
// none of them is its own kind: , ; : < > @ and ) or ] where they begin nothing.
const (
	LexBlank   = ' ' // one space, tab, CR or LF
	LexComment = '(' // with the comments in it
	LexWord    = 'a' // atoms with the dots around them, a quoted-string or a domain-literal
)

// NextLexeme is what stands at the front of b, which is not empty, and its
// length; -1: it does not end.
func NextLexeme[T ~string | ~[]byte](b T) (kind byte, length int) {
	switch c := b[0]; c {
	case ' ', '\t', '\r', '\n':
		return LexBlank, 1
	case '(':
		return LexComment, commentLength(b)
	case '"':
		return LexWord, enclosed(b, '"')
	case '[':
		return LexWord, enclosed(b, ']')
	case ')', '<', '>', ']', ':', ';', '@', ',':
		return c, 1
	}
	for i := 1; i < len(b); i++ {
		if strings.IndexByte(" \t\r\n()<>[]:;@,\"", b[i]) >= 0 {
			return LexWord, i
		}
	}
	return LexWord, len(b)
}

// commentLength is that of a comment, which may hold others (RFC 5322 §3.2.2).
func commentLength[T ~string | ~[]byte](b T) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// enclosed is the length of what begins with b[0] and ends with end. Quoted
// pairs in it stand for themselves.
func enclosed[T ~string | ~[]byte](b T, end byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case end:
			return i + 1
		}
	}
	return -1
}
