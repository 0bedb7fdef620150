package intake

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// Buffers grow with what a client has to say: an idle connection has only the
// small one that is part of it, a message begins with a middle one, and a
// client that fills that gets a large one for as long as it keeps it filled.
const (
	smallBuffer  = 1 << 10
	middleBuffer = 8 << 10
	largeBuffer  = 64 << 10
)

var middleBuffers = sync.Pool{New: func() any { return new([middleBuffer]byte) }}
var largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// input is what was read from the client and not yet used: buf[r:w].
type input struct {
	buf    []byte
	r, w   int
	middle *[middleBuffer]byte
	large  *[largeBuffer]byte
	small  [smallBuffer]byte
	last   int   // bytes of the last read
	heard  int   // bytes since the client is waited for
	lf     bool  // the last command ended in LF alone
	err    error // the first error of a read; final
}

var (
	errShutdown = errors.New("shutdown")
	errEvicted  = errors.New("evicted")
	errRevoked  = errors.New("no longer allowed")
	errLine     = errors.New("line too long")
	errBare     = errors.New("bare CR or LF in a command")
	errTLSBytes = errors.New("TLS on a port without")
)

func (in *input) buffered() []byte { return in.buf[in.r:in.w] }

// use moves what is unread into a buffer of its own size class, and gives the
// old one back.
func (in *input) use(size int) {
	old := in.buffered()
	oldMiddle, oldLarge := in.middle, in.large
	in.middle, in.large = nil, nil
	switch {
	case size <= smallBuffer:
		in.buf = in.small[:]
	case size <= middleBuffer:
		in.middle = middleBuffers.Get().(*[middleBuffer]byte)
		in.buf = in.middle[:]
	default:
		in.large = largeBuffers.Get().(*[largeBuffer]byte)
		in.buf = in.large[:]
	}
	in.w = copy(in.buf, old)
	in.r = 0
	if oldMiddle != nil {
		middleBuffers.Put(oldMiddle)
	}
	if oldLarge != nil {
		largeBuffers.Put(oldLarge)
	}
}

// room makes place for a read, without losing what is unread.
func (in *input) room() {
	if in.buf == nil {
		in.buf = in.small[:]
	}
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
	if in.w < len(in.buf) {
		return
	}
	if in.r > 0 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
		return
	}
	in.use(len(in.buf) + 1)
}

// release ends the use of pooled buffers where nothing is unread.
func (in *input) release() {
	if in.r == in.w && len(in.buf) > smallBuffer {
		in.use(0)
	}
}

// suit chooses the buffer for the next read of content.
func (in *input) suit() {
	if in.r != in.w {
		return
	}
	switch {
	case len(in.buf) < middleBuffer:
		in.use(middleBuffer)
	case len(in.buf) == middleBuffer && in.last == middleBuffer:
		in.use(largeBuffer)
	case len(in.buf) == largeBuffer && in.last < middleBuffer/4:
		in.use(middleBuffer)
	}
}

// wait begins the time for which c waits for its client: for a whole command,
// or for some content. A byte now and then doesn't begin it again.
func (c *conn) wait() {
	c.watch.since.Store(time.Now().UnixNano())
	c.in.heard = 0
}

// fill reads once. It first sends what is held back. The first error is
// final: no read ever follows it (the time-out of a message must not turn the
// rest of it into commands).
func (c *conn) fill(ph phase, deadline time.Time) error {
	in := &c.in
	if in.err != nil {
		return in.err
	}
	if err := c.flush(); err != nil {
		in.err = err
		return err
	}
	if !c.out.spoke {
		c.out.ack.Now()
	}
	c.out.spoke = false
	in.room()
	c.watch.at(ph)
	n, err := c.read(ph, deadline)
	c.watch.at(phaseBusy)
	c.in.heard += n
	in.w += n
	in.last = n
	if n > 0 {
		return nil // an error will come again
	}
	switch err {
	case nil:
		err = io.ErrNoProgress
	case io.EOF:
		err = io.ErrUnexpectedEOF // io.EOF is the end of a message, and nothing else
	}
	in.err = err
	return err
}

// read waits for bytes until the deadline, a shutdown, or an eviction. A
// shutdown lets a client that is inside content go on.
func (c *conn) read(ph phase, deadline time.Time) (int, error) {
	for {
		if err := c.nc.SetReadDeadline(deadline); err != nil {
			return 0, err
		}
		// The order matters: whoever wakes us sets the mark first and moves
		// the deadline after, so either we see the mark or the read ends.
		switch c.watch.woken() {
		case wokenEvict:
			return 0, errEvicted
		case wokenShutdown:
			if ph != phaseContent {
				return 0, errShutdown
			}
		case wokenReview:
			if ph != phaseContent && c.revoked() {
				return 0, errRevoked
			}
		}
		n, err := c.nc.Read(c.in.buf[c.in.w:])
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(deadline) {
			continue
		}
		return n, err
	}
}

// line returns the next line without its end, of at most max octets with it.
// It is valid until the next read. The whole line has to arrive within the
// idle time-out.
func (c *conn) line(max int) ([]byte, error) {
	in := &c.in
	ph := phaseCommand
	switch c.state {
	case stateMail, stateRcpt:
		ph = phaseMail
	case stateChunks:
		ph = phaseContent
	}
	var deadline time.Time
	seen := 0
	for {
		b := in.buffered()
		if len(b) > 0 && b[0] == tlsRecord && c.client.TLS == nil {
			return nil, errTLSBytes // a TLS handshake record
		}
		if i := bytes.IndexByte(b[seen:], '\n'); i >= 0 {
			line := b[:seen+i]
			if len(line)+1 > max {
				return nil, errLine
			}
			in.r += len(line) + 1
			return in.trim(line, c.set.normalise)
		}
		if seen = len(b); seen >= max {
			return nil, errLine
		}
		if deadline.IsZero() {
			in.release()
			c.wait()
			deadline = time.Now().Add(c.set.cfg.IdleTimeout)
			if c.state == stateChunks {
				deadline = c.body.within(deadline)
			}
		}
		if err := c.fill(ph, deadline); err != nil {
			return nil, err
		}
	}
}

// trim removes the CR of a line. A line ends in CRLF and in nothing else
// (RFC 5321 §2.3.8), unless the listener normalises.
func (in *input) trim(line []byte, normalise bool) ([]byte, error) {
	line, whole := bytes.CutSuffix(line, []byte{'\r'})
	if in.lf = !whole; in.lf && !normalise || bytes.IndexByte(line, '\r') >= 0 {
		return nil, errBare
	}
	return line, nil
}
