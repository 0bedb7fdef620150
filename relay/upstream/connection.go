package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"postern/config/wire"
	"postern/relay/ack"
)

// blockSize is how much content is read from the spool and written to the
// network at a time at most, in bytes.
const blockSize = 64 << 10

// connection is one connection with its buffers. Nothing goes out before flush.
type connection struct {
	conn  net.Conn
	ack   ack.Control
	input *input // what the kernel has of it, below TLS
	replies
	out   []byte // commands and content on their way out
	spoke bool   // something was sent since the last read
	whole whole  // what the waits under way are a part of
}

// whole bounds several waits together: each may be within its limit, and all of
// them take a day. The zero value bounds nothing.
type whole struct {
	until time.Time
	limit time.Duration
}

func within(limit time.Duration) whole { return whole{time.Now().Add(limit), limit} }

// deadline is the end of a wait of its own limit.
func (b *whole) deadline(limit time.Duration) time.Time {
	t := time.Now().Add(limit)
	if !b.until.IsZero() && b.until.Before(t) {
		return b.until
	}
	return t
}

// blame makes err, where it came at the end of the whole, say so.
func (b *whole) blame(err error) error {
	if b.until.IsZero() || !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().Before(b.until) {
		return err
	}
	return &overdue{b.limit, err}
}

// overdue is an upstream that answers each time, and too slowly as a whole.
type overdue struct {
	limit time.Duration
	err   error
}

func (e *overdue) Error() string {
	return "all of it together took longer than " + e.limit.Round(time.Second).String()
}
func (e *overdue) Unwrap() error { return e.err }

func newConnection(conn net.Conn) *connection {
	return &connection{
		conn:    conn,
		ack:     ack.Of(conn),
		input:   inputOf(conn),
		replies: replies{in: bufio.NewReaderSize(conn, maxLine)},
		out:     make([]byte, 0, 2<<10),
	}
}

// upgrade continues over TLS. Nothing that was read before may count after.
func (w *connection) upgrade(conn net.Conn) {
	w.conn = conn
	w.in.Reset(conn)
	w.out = w.out[:0]
}

// flush writes everything within limit.
func (w *connection) flush(limit time.Duration) error {
	_, err := w.flushCount(limit)
	return err
}

// flushCount is flush, and tells how many bytes left.
func (w *connection) flushCount(limit time.Duration) (int, error) {
	if len(w.out) == 0 {
		return 0, nil
	}
	_ = w.conn.SetWriteDeadline(w.whole.deadline(limit)) // fails where Write does
	n, err := w.conn.Write(w.out)
	w.out = w.out[:0]
	w.spoke = true
	if err != nil {
		err = w.whole.blame(err)
	}
	return n, err
}

// read reads a reply, all of it within limit: a byte a second is no progress.
func (w *connection) read(limit time.Duration) (reply, error) {
	_ = w.conn.SetReadDeadline(w.whole.deadline(limit)) // fails where Read does
	if !w.spoke && w.quiet() {
		w.ack.Now()
	}
	w.spoke = false
	r, err := w.next()
	if err != nil {
		err = w.whole.blame(err)
	}
	return r, err
}

// unasked reports whether the upstream has said something that it was not
// asked for. Unlike quiet it looks at what the kernel has, too.
func (w *connection) unasked() bool {
	_, encrypted := w.conn.(*tls.Conn)
	for range maxLooks {
		if !w.quiet() {
			return true
		}
		if !w.input.waits() {
			return false
		}
		_ = w.conn.SetReadDeadline(time.Now().Add(unaskedWait)) // fails where Peek does
		if _, err := w.in.Peek(1); err != nil {
			return !encrypted // with TLS it may be a message of TLS itself
		}
	}
	return true
}

// maxLooks bounds how often empty lines are read away: some upstreams send one
// with a reply, none sends many.
const maxLooks = 4

// unaskedWait is how long the rest of a TLS record is waited for.
const unaskedWait = 20 * time.Millisecond

// quiet reports whether nothing has arrived that was not asked for. Empty lines
// are dropped: they say nothing.
func (w *connection) quiet() bool {
	for n := w.in.Buffered(); n > 0; n-- {
		if c, err := w.in.Peek(1); err != nil || c[0] != '\r' && c[0] != '\n' {
			return false
		}
		_, _ = w.in.Discard(1) // it is buffered
	}
	return true
}

// describe is an error of the network in words that an operator can use.
func describe(err error) string {
	var said *lastWords
	var protocol protocolError
	var dns *net.DNSError
	var op *net.OpError
	var trouble *Trouble
	var late *overdue
	switch {
	case errors.As(err, &trouble):
		return trouble.Error()
	case errors.As(err, &late):
		return late.Error()
	case errors.As(err, &said):
		return said.Error()
	case errors.As(err, &protocol):
		return string(protocol)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the upstream closed the connection"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the upstream reset the connection"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.As(err, &dns):
		return wire.Text(dns.Error(), 300)
	case errors.As(err, &op) && op.Err != nil:
		return wire.Text(op.Op+": "+op.Err.Error(), 300)
	}
	return wire.Text(err.Error(), 300)
}
