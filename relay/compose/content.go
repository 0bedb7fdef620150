package compose

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"sync"

	"postern/config/wire"
)

// A form is how the content of a part stands in a message.
type form uint8

const (
	asBase64   form = iota
	compressed      // base64 of gzip
	asMessage       // message/rfc822, never encoded (RFC 2046 §5.2.1)
	forms
)

// maxSize is the most octets that n octets become, without the end of the last
// line.
func (f form) maxSize(n int64) int64 {
	switch f {
	case compressed:
		// Deflate stores what it can't compress, in blocks with 5 octets each
		// (RFC 1951 §3.2.4), of 16 KiB at worst; gzip adds 18.
		return base64Size(n + (n/(16<<10)+2)*5 + 18)
	case asMessage:
		return 2*n + 2 // each LF becomes CRLF
	}
	return base64Size(n)
}

// buffers are for reading a part and for encoding it.
type buffers struct {
	in  [perLine * 448]byte // a multiple of perLine, so that only the last line is short
	out [(maxLine + 2) * 448]byte
}

var bufferPool = sync.Pool{New: func() any { return new(buffers) }}

// write sends the content of p to w.
func (p *Part) write(w io.Writer) error {
	f := p.form()
	if p.shared != nil {
		if b, err := p.shared.encoded(p, f); b != nil || err != nil {
			if err == nil {
				_, err = w.Write(b)
			}
			return err
		}
	}
	return p.stream(w, f)
}

// stream reads p and sends it to w in form f.
func (p *Part) stream(w io.Writer, f form) (err error) {
	b := bufferPool.Get().(*buffers)
	defer bufferPool.Put(b)
	if p.data != nil && f == asBase64 {
		e := lineEncoder{w: w, buffers: b}
		if err := e.encode(p.data); err != nil {
			return err
		}
		return e.flush()
	}
	r, err := p.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	var sink io.WriteCloser
	switch f {
	case asMessage:
		sink = &lineMender{w: w}
	case compressed:
		sink = newGzipEncoder(&lineEncoder{w: w, buffers: b})
	default:
		sink = &lineEncoder{w: w, buffers: b}
	}
	if err := p.copy(sink, r, b.in[:]); err != nil {
		return err
	}
	return sink.Close()
}

// copy sends as many octets as p has, and finds out that it has no others.
func (p *Part) copy(w io.Writer, r io.Reader, buffer []byte) error {
	var n int64
	for {
		k, err := io.ReadFull(r, buffer)
		n += int64(k)
		if p.Size >= 0 && n > p.Size {
			return p.changed(n)
		}
		if _, err := w.Write(buffer[:k]); err != nil {
			return err
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			if p.Size >= 0 && n != p.Size {
				return p.changed(n)
			}
			return nil
		case err != nil:
			return err
		}
	}
}

// A lineEncoder sends base64 in lines, without the end of the last one.
type lineEncoder struct {
	w io.Writer
	*buffers
	rest [perLine]byte // of a line that isn't full, in compressed content
	n    int
	any  bool // a line was sent
}

// Write implements io.Writer for pieces of any size.
func (e *lineEncoder) Write(p []byte) (int, error) {
	whole := len(p)
	if e.n > 0 {
		k := copy(e.rest[e.n:], p)
		e.n += k
		p = p[k:]
		if e.n < perLine {
			return whole, nil
		}
		if err := e.encode(e.rest[:]); err != nil {
			return 0, err
		}
		e.n = 0
	}
	full := len(p) / perLine * perLine
	e.n = copy(e.rest[:], p[full:])
	return whole, e.encode(p[:full])
}

// encode sends p. Only the last piece may end in a line that isn't full.
func (e *lineEncoder) encode(p []byte) error {
	for len(p) > 0 {
		out := e.out[:0]
		for len(p) > 0 && len(out) <= len(e.out)-maxLine-2 {
			if e.any {
				out = append(out, "\r\n"...)
			}
			e.any = true
			n := min(perLine, len(p))
			out = base64.StdEncoding.AppendEncode(out, p[:n])
			p = p[n:]
		}
		if _, err := e.w.Write(out); err != nil {
			return err
		}
	}
	return nil
}

func (e *lineEncoder) flush() error { return e.encode(e.rest[:e.n]) }

// Close implements io.Closer.
func (e *lineEncoder) Close() error { return e.flush() }

var gzipPool = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

type gzipEncoder struct {
	*gzip.Writer
	under io.Closer
}

func newGzipEncoder(under io.WriteCloser) *gzipEncoder {
	z := gzipPool.Get().(*gzip.Writer)
	z.Reset(under)
	return &gzipEncoder{z, under}
}

// Close implements io.Closer. It is not called after a failure.
func (g *gzipEncoder) Close() error {
	if err := g.Writer.Close(); err != nil {
		return err
	}
	gzipPool.Put(g.Writer)
	return g.under.Close()
}

// A lineMender sends the lines of a message with CRLF at their ends. It fails
// where they could not be sent by SMTP.
type lineMender struct {
	w    io.Writer
	out  []byte
	line int  // octets of this line so far
	cr   bool // a CR was the last octet
}

// Write implements io.Writer.
func (m *lineMender) Write(p []byte) (int, error) {
	if bytes.IndexByte(p, 0) >= 0 {
		return 0, errors.New("the attached message holds a NUL")
	}
	m.out = m.out[:0]
	for i := 0; i < len(p); {
		if m.cr && p[i] == '\n' {
			m.cr = false
			i++
			continue
		}
		m.cr = false
		n := bytes.IndexAny(p[i:], "\r\n")
		if n < 0 {
			n = len(p) - i
		}
		m.out = append(m.out, p[i:i+n]...)
		if m.line += n; m.line > wire.MaxTextLine {
			return 0, fmt.Errorf("the attached message has a line of more than %d octets", wire.MaxTextLine)
		}
		if i += n; i < len(p) {
			m.out = append(m.out, "\r\n"...)
			m.line, m.cr = 0, p[i] == '\r'
			i++
		}
	}
	_, err := m.w.Write(m.out)
	return len(p), err
}

// Close implements io.Closer: a last line without an end gets none, as the
// boundary that follows brings one.
func (m *lineMender) Close() error { return nil }
