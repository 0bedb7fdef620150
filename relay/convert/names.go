package convert

import (
	"strings"

	"postern/config/wire"
)

// token is a piece of a list of addresses.
type token struct {
	word
	kind   byte // wire.LexWord: one of a name, '<': an address with its brackets, '(': a comment, '[': a domain; else the sign that it is
	spaced bool // a blank stands before it
}

// tokens parts a list of addresses, or a list of phrases. It fails where
// something does not end.
func tokens(text string) (all []token, ok bool) {
	spaced := false
	for len(text) > 0 {
		kind, n := wire.NextLexeme(text)
		t := token{kind: kind}
		switch {
		case kind == wire.LexBlank:
			spaced, text = true, text[1:]
			continue
		case kind == '<':
			n = angleLength(text)
		case kind == '>', kind == ']', kind == ')':
			return nil, false
		case kind == wire.LexWord && text[0] == '[':
			t.kind = '['
		}
		if n <= 0 {
			return nil, false
		}
		t.written, t.spaced = text[:n], spaced
		if t.says = t.written; t.written[0] == '"' {
			t.says = unquoted(t.written)
		}
		all, text, spaced = append(all, t), text[n:], false
	}
	return all, true
}

// quotedLength is the length of the quoted-string at the front of s, 0 where it
// does not end.
func quotedLength(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

func angleLength(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			n := quotedLength(s[i:])
			if n == 0 {
				return 0
			}
			i += n - 1
		case '>':
			return i + 1
		}
	}
	return 0
}

func unquoted(s string) string {
	s = s[1 : len(s)-1]
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// encodeNames encodes names before addresses and groups, and comments. bare: the
// names stand alone, as keywords do.
func encodeNames(text string, bare bool) (string, bool) {
	all, ok := tokens(text)
	if !ok {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(all); {
		if all[i].spaced {
			b.WriteByte(' ')
		}
		n := 0
		for i+n < len(all) && all[i+n].kind == wire.LexWord {
			n++
		}
		s, ok := "", true
		if n > 0 {
			s, ok = encodeName(all[i:i+n], all[i+n:], bare)
			ok = ok && (i == 0 || all[i-1].kind != '@' || wire.IsASCII(all[i].written))
		} else {
			n = 1
			s, ok = encodeComment(all[i].written)
		}
		if !ok {
			return "", false
		}
		b.WriteString(s)
		i += n
	}
	return b.String(), true
}

// encodeName encodes a name that stands before rest.
func encodeName(name, rest []token, bare bool) (string, bool) {
	ws, ascii := make([]word, len(name)), true
	var as strings.Builder
	for i, t := range name {
		ws[i] = t.word
		ascii = ascii && wire.IsASCII(t.written)
		if i > 0 && t.spaced {
			as.WriteByte(' ')
		}
		as.WriteString(t.written)
	}
	if ascii {
		return as.String(), true
	}
	for len(rest) > 0 && rest[0].kind == '(' {
		rest[0].spaced = true // RFC 2047 §5: a blank stands behind an encoded word
		rest = rest[1:]
	}
	switch {
	case bare:
	case len(rest) > 0 && rest[0].kind == '<':
		rest[0].spaced = true
	case len(rest) > 0 && rest[0].kind == ':':
	default:
		return "", false
	}
	return encodeWords(ws)
}

// encodeComment encodes a comment. What else is not ASCII can't be encoded.
func encodeComment(s string) (string, bool) {
	if wire.IsASCII(s) {
		return s, true
	}
	if s[0] != '(' || strings.ContainsAny(s[1:len(s)-1], "()\\") || strings.Contains(s, "=?") {
		return "", false
	}
	return "(" + encoded(s[1:len(s)-1]) + ")", true
}
