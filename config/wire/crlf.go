package wire

import (
	"errors"
	"io"
)

// CRLF reads text whose lines may end in anything as one whose lines end in
// CRLF.
type CRLF struct {
	from  io.Reader
	lines Lines
	buf   []byte // what was read
	rest  []byte // of buf, not looked at yet
	out   []byte // what goes on
	begun bool
	end   error
}

// NewCRLF reads what from has.
func NewCRLF(from io.Reader) *CRLF { return &CRLF{from: from} }

const chunk = 32 << 10

// Next is the next piece, valid until the one after it; io.EOF: there is none.
func (t *CRLF) Next() ([]byte, error) {
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
			if why == Bare {
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
func (t *CRLF) WriteTo(w io.Writer) (total int64, err error) {
	for {
		b, err := t.Next()
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
func (t *CRLF) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }
