package wire

import (
	"bytes"
	"net/textproto"
	"strings"
)

// HeaderEnd looks on from the line that begins at from. found: the header is
// b[:end], and the body begins at body. Otherwise end is where to go on with
// more bytes.
//
// What is not a field ends the header, as if an empty line stood before it:
// programs that hand over bare text are many, and the text must not become a
// broken header. Postfix does the same.
func HeaderEnd(b []byte, from int) (end, body int, found bool) {
	for i := from; ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return i, 0, false
		}
		line := b[i : i+n+1]
		switch {
		case len(line) == 2 && line[0] == '\r':
			return i, i + 2, true
		case IsContinuation(line) && i > 0, FieldName(line) > 0:
			i += len(line)
		default:
			return i, i, true
		}
	}
}

// EachField calls visit for each field. value still has its folds and ends
// before the last CRLF.
func EachField(h []byte, visit func(name, value []byte, start, end int)) {
	for i := 0; i < len(h); {
		end := i
		for {
			n := bytes.IndexByte(h[end:], '\n')
			if n < 0 {
				end = len(h)
				break
			}
			end += n + 1
			if end == len(h) || h[end] != ' ' && h[end] != '\t' {
				break
			}
		}
		field := h[i:end]
		if n := FieldName(field); n > 0 {
			colon := n + bytes.IndexByte(field[n:], ':')
			visit(field[:n], bytes.TrimSuffix(field[colon+1:], crlf), i, end)
		}
		i = end
	}
}

// Values is a header as routes and rules look at it: unfolded values of the
// fields that they ask for, under the names that are wanted.
func Values(h []byte, wanted []string) textproto.MIMEHeader {
	m := textproto.MIMEHeader{}
	EachField(h, func(name, value []byte, _, _ int) {
		for _, w := range wanted {
			if len(name) == len(w) && strings.EqualFold(string(name), w) {
				m[w] = append(m[w], strings.TrimSpace(Unfold(value)))
			}
		}
	})
	return m
}
