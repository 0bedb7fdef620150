package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"postern/config/wire"
)

// maxHead is how many bytes of a header are looked at for addresses; more is no
// mail.
const maxHead = 256 << 10

// crlf reads text whose lines may end in anything as one whose lines end in
// CRLF.
type crlf struct {
	from  io.Reader
	lines wire.Lines
	buf   []byte // what was read
	rest  []byte // of buf, not looked at yet
	out   []byte // what goes on
	begun bool
	end   error
}

const chunk = 32 << 10

// next is the next piece, valid until the one after it; io.EOF: there is none.
func (t *crlf) next() ([]byte, error) {
	if !t.begun {
		t.begun, t.buf = true, make([]byte, chunk)
		t.lines.AllowLF()
	}
	t.out = t.out[:0]
	for t.end == nil && len(t.out) < chunk {
		if len(t.rest) == 0 {
			n, err := t.from.Read(t.buf)
			t.rest = t.buf[:n]
			if err != nil {
				t.end = err
			}
		}
		for len(t.rest) > 0 {
			out, used, why := t.lines.Next(t.rest)
			t.out = append(t.out, out...)
			t.rest = t.rest[used:]
			if why == wire.Bare {
				t.out = append(t.out, '\r', '\n')
			}
		}
		if t.end == io.EOF {
			lacks, _ := t.lines.Finish()
			t.out = append(t.out, lacks...)
		}
		if len(t.out) > 0 {
			return t.out, nil
		}
	}
	if t.end == nil {
		return t.out, nil
	}
	return nil, t.end
}

// WriteTo implements io.WriterTo.
func (t *crlf) WriteTo(w io.Writer) (total int64, err error) {
	for {
		b, err := t.next()
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := w.Write(b)
		if total += int64(n); err != nil {
			return total, err
		}
	}
}

// Read implements io.Reader, so that io.Copy takes it; WriteTo does the work.
func (t *crlf) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

var blank = []byte("\r\n\r\n")

// header reads until the header is whole, and returns that with whatever of
// the body came along.
func (t *crlf) header(b *body) ([]byte, *failure) {
	var head []byte
	for {
		piece, err := t.next()
		if err == io.EOF {
			return head, nil
		}
		if err != nil {
			return nil, b.broken()
		}
		from := max(0, len(head)-len(blank))
		head = append(head, piece...)
		if bytes.Contains(head[from:], blank) {
			return head, nil
		}
		if len(head) > maxHead {
			return nil, &failure{status: http.StatusRequestEntityTooLarge, name: nameTooLarge, code: 552, enhanced: "5.3.4",
				text: "the header of the message is larger than the limit of 256 KiB"}
		}
	}
}
