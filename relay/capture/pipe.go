package capture

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipeSize is how many bytes may be on their way in one direction, as the
// buffers of a socket would hold.
const pipeSize = 64 << 10

// pipe is a connection within the process. Unlike net.Pipe it holds what was
// written until it is read: TLS needs that, as both sides write at a time.
func pipe() (client, server *end) {
	up, down := newStream(), newStream()
	return &end{in: down, out: up}, &end{in: up, out: down}
}

// end is one end of a pipe. It implements net.Conn.
type end struct{ in, out *stream }

func (e *end) Read(p []byte) (int, error)         { return e.in.read(p) }
func (e *end) Write(p []byte) (int, error)        { return e.out.write(p) }
func (e *end) LocalAddr() net.Addr                { return here{} }
func (e *end) RemoteAddr() net.Addr               { return here{} }
func (e *end) SetReadDeadline(t time.Time) error  { return e.in.setDeadline(&e.in.readBy, t) }
func (e *end) SetWriteDeadline(t time.Time) error { return e.out.setDeadline(&e.out.writeBy, t) }

func (e *end) SetDeadline(t time.Time) error {
	_ = e.SetReadDeadline(t)
	return e.SetWriteDeadline(t)
}

// Close ends both directions. What was written can still be read at the other
// end.
func (e *end) Close() error {
	e.in.close(&e.in.deserted)
	e.out.close(&e.out.ended)
	return nil
}

// here is the address of both ends.
type here struct{}

func (here) Network() string { return "pipe" }
func (here) String() string  { return Host }

// stream is one direction of a pipe.
type stream struct {
	mu              sync.Mutex
	changed         *sync.Cond // anything of what follows; on mu
	buf             [pipeSize]byte
	start, size     int       // what is in buf, which goes round
	ended, deserted bool      // the writing, the reading end is closed
	readBy, writeBy time.Time // zero: for ever
}

func newStream() *stream {
	s := &stream{}
	s.changed = sync.NewCond(&s.mu)
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.deserted:
			return 0, net.ErrClosed
		case past(s.readBy):
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case s.size > 0:
			n := copy(p, s.buf[s.start:min(s.start+s.size, pipeSize)])
			s.start, s.size = (s.start+n)%pipeSize, s.size-n
			s.changed.Broadcast()
			return n, nil
		case s.ended:
			return 0, io.EOF
		}
		s.wait(s.readBy)
	}
}

func (s *stream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.ended:
			return n, net.ErrClosed
		case past(s.writeBy):
			return n, os.ErrDeadlineExceeded
		case s.deserted:
			return n, syscall.EPIPE
		case n == len(p):
			return n, nil
		case s.size < pipeSize:
			at := (s.start + s.size) % pipeSize
			took := copy(s.buf[at:min(at+pipeSize-s.size, pipeSize)], p[n:])
			s.size += took
			n += took
			s.changed.Broadcast()
			continue
		}
		s.wait(s.writeBy)
	}
}

// wait is for a change, or for by. s.mu is held.
func (s *stream) wait(by time.Time) {
	if !by.IsZero() {
		timer := time.AfterFunc(time.Until(by), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.changed.Broadcast()
		})
		defer timer.Stop()
	}
	s.changed.Wait()
}

func past(by time.Time) bool { return !by.IsZero() && !time.Now().Before(by) }

func (s *stream) setDeadline(deadline *time.Time, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	*deadline = t
	s.changed.Broadcast()
	return nil
}

func (s *stream) close(side *bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*side = true
	s.changed.Broadcast()
}
