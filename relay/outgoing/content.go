package outgoing

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"postern/spool"
)

// maxHeader bounds a header, in bytes: what is taken in, with the fields that
// were added to it and those of a prefix, has less.
const maxHeader = 512 << 10

var (
	crlf     = []byte("\r\n")
	headEnds = []byte("\r\n\r\n")
)

// header is that of a content.
type header struct {
	fields []byte // each with CRLF at its end
	body   int64  // where the body begins, behind the empty line
}

// head is the header of m, which is read once.
func (m *message) head() (*header, *spool.Outcome) {
	if m.header == nil {
		h, o := m.readHead()
		if o != nil {
			return nil, o
		}
		m.header = &h
	}
	return m.header, nil
}

// readHead reads the header of m, in pieces that grow.
func (m *message) readHead() (header, *spool.Outcome) {
	size := m.Content.Size()
	var b []byte
	for want := int64(4 << 10); ; want *= 4 {
		want = min(want, size, maxHeader)
		from := len(b)
		b = append(b, make([]byte, int(want)-from)...)
		n, err := m.Content.ReadAt(b[from:], int64(from))
		if n < len(b)-from {
			if err == nil || errors.Is(err, io.EOF) {
				err = fmt.Errorf("%d bytes are missing", len(b)-from-n)
			}
			return header{}, unreadable(err)
		}
		if bytes.HasPrefix(b, crlf) {
			return header{body: 2}, nil
		}
		if end := bytes.Index(b[max(from-3, 0):], headEnds); end >= 0 {
			end += max(from-3, 0)
			return header{b[: end+2 : end+2], int64(end) + 4}, nil
		}
		if want == size {
			return header{b[:len(b):len(b)], size}, nil
		}
		if want == maxHeader {
			return header{}, cannot("5.3.4", "the header of the message is larger than 512 KiB, and cannot be changed as the configuration asks for")
		}
	}
}

// unreadable is trouble with the spool, which may pass.
func unreadable(err error) *spool.Outcome {
	return &spool.Outcome{Text: "the message could not be read from the spool", Cause: err.Error()}
}

// cannot is a message that this upstream can't have.
func cannot(enhanced, text string) *spool.Outcome {
	return &spool.Outcome{Stage: spool.StageMail, Code: 554, Enhanced: enhanced, Text: text, Unsupported: true}
}

// spliced is head, and behind it the rest of another content from some byte on.
type spliced struct {
	head []byte
	rest spool.Content
	from int64
}

// splice puts head in the place of what rest has before from. Closing it closes
// rest.
func splice(head []byte, rest spool.Content, from int64) spool.Content {
	return &spliced{head, rest, from}
}

func (s *spliced) Size() int64  { return int64(len(s.head)) + s.rest.Size() - s.from }
func (s *spliced) Close() error { return s.rest.Close() }

func (s *spliced) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("read before the beginning")
	}
	if off < int64(len(s.head)) {
		n = copy(p, s.head[off:])
	}
	if n == len(p) {
		return n, nil
	}
	k, err := s.rest.ReadAt(p[n:], off+int64(n)-int64(len(s.head))+s.from)
	return n + k, err
}
