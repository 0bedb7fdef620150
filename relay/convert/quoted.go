package convert

import (
	"bufio"
	"errors"
	"io"
)

// maxQuoted is the longest line of quoted-printable (RFC 2045 §6.7).
const maxQuoted = 76

// quoter encodes lines that end in CRLF as quoted-printable. No line of what it
// writes begins with "--" but one that stood there before and began with it, and
// that only as =2D-: mime/quotedprintable breaks lines anywhere, and what
// follows could be taken for the line that parts a multipart.
type quoter struct {
	in     *bufio.Reader
	column int
	out    []byte // made and not read
	buf    []byte
	err    error
}

func newQuoter(in io.Reader) *quoter { return &quoter{in: bufio.NewReaderSize(in, 32<<10)} }

func (q *quoter) Read(p []byte) (int, error) {
	for len(q.out) == 0 {
		if q.err != nil {
			return 0, q.err
		}
		q.buf = q.buf[:0]
		for len(q.buf) < 16<<10 && q.err == nil {
			q.err = q.step()
		}
		q.out = q.buf
	}
	n := copy(p, q.out)
	q.out = q.out[n:]
	return n, nil
}

// step encodes what is read already, or of that a part.
func (q *quoter) step() error {
	_, err := q.in.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	b, _ := q.in.Peek(min(q.in.Buffered(), 8<<10))
	if len(b) == 0 {
		return io.EOF
	}
	i := 0
	for i < len(b) && (err != nil || i+3 <= len(b)) { // two bytes ahead are looked at
		i += q.encode(b[i:])
	}
	_, err = q.in.Discard(i)
	return err
}

// encode encodes the first byte of b, or the line end there, and returns its
// length. b goes on for two more bytes, or to the end of all.
func (q *quoter) encode(b []byte) int {
	if isEnd(b) {
		q.buf, q.column = append(q.buf, crlf...), 0
		return 2
	}
	c, last := b[0], len(b) == 1 || isEnd(b[1:])
	width := 1
	if c < ' ' && c != '\t' || c > '~' || c == '=' || last && (c == ' ' || c == '\t') {
		width = 3
	}
	if q.column+width > maxQuoted-1 && !(last && q.column+width == maxQuoted) {
		q.buf, q.column = append(q.buf, "=\r\n"...), 0
	}
	if q.column == 0 && c == '-' && !last && b[1] == '-' {
		width = 3
	}
	if width == 1 {
		q.buf = append(q.buf, c)
	} else {
		const hex = "0123456789ABCDEF"
		q.buf = append(q.buf, '=', hex[c>>4], hex[c&15])
	}
	q.column += width
	return 1
}

// isEnd tells whether a line ends before b.
func isEnd(b []byte) bool { return len(b) > 1 && b[0] == '\r' && b[1] == '\n' }
