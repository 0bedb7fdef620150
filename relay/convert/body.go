package convert

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"sort"
	"sync"

	"postern/spool"
)

// kind is how a piece of a body goes out.
type kind uint8

const (
	asIs            kind = iota
	literal              // text in its place
	masked               // "?" for what isn't ASCII
	quotedPrintable      // RFC 2045 §6.7
	base64Lines          // RFC 2045 §6.8
)

// segment is a piece of a body.
type segment struct {
	kind  kind
	at, n int64  // where it lies in the content, and how much of that it is
	out   int64  // where it begins in the body
	text  []byte // of a literal
}

// Body is a converted body. It is encoded as it is read, which costs least from
// its beginning to its end. Several may read it, one after the other.
type Body struct {
	content spool.Content
	plan    []segment
	size    int64

	mu   sync.Mutex
	pos  int64 // where open goes on
	at   int   // the segment that is open
	open io.Reader
}

// Size is in bytes.
func (b *Body) Size() int64 { return b.size }

// Close closes the content that it is made of.
func (b *Body) Close() error { return b.content.Close() }

// ReadAt implements io.ReaderAt.
func (b *Body) ReadAt(p []byte, off int64) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case off < 0:
		return 0, errors.New("read before the beginning")
	case off >= b.size:
		return 0, io.EOF
	case off != b.pos || b.open == nil:
		if err := b.seek(off); err != nil {
			return 0, err
		}
	}
	for n < len(p) {
		k, err := b.open.Read(p[n:])
		n, b.pos = n+k, b.pos+int64(k)
		if err == nil {
			continue
		}
		if err = b.turn(err); err != nil {
			b.open = nil
			return n, err
		}
	}
	return n, nil
}

// turn goes on to the next segment, where why is the end of one.
func (b *Body) turn(why error) error {
	ends := b.size
	if b.at+1 < len(b.plan) {
		ends = b.plan[b.at+1].out
	}
	switch {
	case !errors.Is(why, io.EOF):
		return why
	case b.pos != ends:
		return io.ErrUnexpectedEOF
	case ends == b.size:
		return io.EOF
	}
	b.at++
	b.open = b.reader(&b.plan[b.at])
	return nil
}

// seek opens the segment that holds off, there.
func (b *Body) seek(off int64) error {
	b.at = sort.Search(len(b.plan), func(i int) bool { return b.plan[i].out > off }) - 1
	g := b.plan[b.at]
	skip := off - g.out
	if g.kind == asIs || g.kind == masked {
		g.at, g.n, skip = g.at+skip, g.n-skip, 0
	}
	open := b.reader(&g)
	if _, err := io.CopyN(io.Discard, open, skip); err != nil {
		b.open = nil
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	b.open, b.pos = open, off
	return nil
}

func (b *Body) reader(g *segment) io.Reader {
	section := io.NewSectionReader(b.content, g.at, g.n)
	switch g.kind {
	case literal:
		return bytes.NewReader(g.text)
	case masked:
		return masker{section}
	case quotedPrintable:
		return newQuoter(section)
	case base64Lines:
		return &base64er{in: section, left: g.n}
	}
	return section
}

type masker struct{ in io.Reader }

func (m masker) Read(p []byte) (int, error) {
	n, err := m.in.Read(p)
	for i, c := range p[:n] {
		if c >= 0x80 {
			p[i] = '?'
		}
	}
	return n, err
}

const (
	base64In  = 57 // bytes of a line of 76
	base64Out = 76 + 2
)

// base64Size is that of n bytes in lines, without a line end at their end.
func base64Size(n int64) int64 {
	lines := n / base64In
	if rest := n % base64In; rest > 0 {
		return lines*base64Out + int64(base64.StdEncoding.EncodedLen(int(rest)))
	}
	return max(0, lines*base64Out-2)
}

// base64er encodes in lines.
type base64er struct {
	in    io.Reader
	left  int64
	out   []byte // made and not read
	buf   []byte
	block []byte
}

func (e *base64er) Read(p []byte) (int, error) {
	if len(e.out) == 0 {
		if e.left == 0 {
			return 0, io.EOF
		}
		if err := e.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, e.out)
	e.out = e.out[n:]
	return n, nil
}

func (e *base64er) fill() error {
	if e.block == nil {
		e.block = make([]byte, 256*base64In)
	}
	in := e.block[:min(e.left, int64(len(e.block)))]
	if _, err := io.ReadFull(e.in, in); err != nil {
		return errors.Join(io.ErrUnexpectedEOF, err)
	}
	e.left -= int64(len(in))
	e.buf = e.buf[:0]
	for len(in) > 0 {
		n := min(len(in), base64In)
		e.buf = base64.StdEncoding.AppendEncode(e.buf, in[:n])
		if in = in[n:]; len(in) > 0 || e.left > 0 {
			e.buf = append(e.buf, crlf...)
		}
	}
	e.out = e.buf
	return nil
}
