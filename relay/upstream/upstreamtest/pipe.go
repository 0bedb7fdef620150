package upstreamtest

import (
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// Pipe is a connection in memory whose client end behaves like a socket: what
// the client writes is taken off it at once, up to the server's window, and a
// closed connection reads as EOF. Deadlines of the client end work, also in a
// synctest bubble.
func Pipe() (client net.Conn, server *ServerEnd) {
	c, s := net.Pipe()
	server = &ServerEnd{conn: s, pumped: make(chan struct{}), resume: make(chan struct{})}
	server.arrived = sync.NewCond(&server.mu)
	go server.pump()
	return clientEnd{c, server}, server
}

// clientEnd translates the errors of net.Pipe into those of a socket.
type clientEnd struct {
	net.Conn
	server *ServerEnd
}

func (c clientEnd) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == io.EOF && c.server.wasReset() {
		err = syscall.ECONNRESET
	}
	return n, err
}

func (c clientEnd) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err == io.ErrClosedPipe {
		err = syscall.EPIPE
	}
	return n, err
}

func (c clientEnd) Close() error {
	err := c.Conn.Close()
	c.server.letGo()
	return err
}

// ServerEnd is the upstream's side of a Pipe.
type ServerEnd struct {
	conn   net.Conn
	pumped chan struct{}
	resume chan struct{}

	mu      sync.Mutex
	arrived *sync.Cond
	buf     []byte
	total   int // bytes received so far
	limit   int // close after so many received bytes; 0: never
	stalled bool
	eof     bool
	reset   bool
	free    bool // resume is closed
}

func (s *ServerEnd) pump() {
	defer close(s.pumped)
	b := make([]byte, 4<<10)
	for {
		s.mu.Lock()
		stalled := s.stalled
		s.mu.Unlock()
		if stalled {
			<-s.resume
			return
		}
		n, err := s.conn.Read(b)
		s.mu.Lock()
		cut := s.limit > 0 && s.total+n >= s.limit
		if cut { // the rest got lost on the way
			n = s.limit - s.total
		}
		s.buf = append(s.buf, b[:n]...)
		s.total += n
		s.eof = s.eof || err != nil
		s.arrived.Broadcast()
		s.mu.Unlock()
		if cut {
			_ = s.Close()
		}
		if cut || err != nil {
			return
		}
	}
}

// Stall closes the window: nothing that the client writes is taken any more.
func (s *ServerEnd) Stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalled = true
}

// CloseAfter closes the connection when n bytes have arrived.
func (s *ServerEnd) CloseAfter(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = n
}

// Reset closes the connection so that the client sees a reset.
func (s *ServerEnd) Reset() {
	s.mu.Lock()
	s.reset = true
	s.mu.Unlock()
	s.Close()
}

func (s *ServerEnd) wasReset() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reset
}

// Received is the number of bytes that came from the client.
func (s *ServerEnd) Received() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// Read implements net.Conn. It waits for the client without a deadline.
func (s *ServerEnd) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.buf) == 0 {
		if s.eof {
			return 0, io.EOF
		}
		s.arrived.Wait()
	}
	n := copy(b, s.buf)
	s.buf = s.buf[n:]
	return n, nil
}

// Write implements net.Conn.
func (s *ServerEnd) Write(b []byte) (int, error) { return s.conn.Write(b) }

// Close implements net.Conn.
func (s *ServerEnd) Close() error {
	err := s.conn.Close()
	s.letGo()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eof = true
	s.arrived.Broadcast()
	return err
}

// letGo ends a stall: one of the ends was closed.
func (s *ServerEnd) letGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.free {
		s.free = true
		close(s.resume)
	}
}

// LocalAddr implements net.Conn.
func (s *ServerEnd) LocalAddr() net.Addr { return s.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (s *ServerEnd) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// SetDeadline implements net.Conn.
func (s *ServerEnd) SetDeadline(t time.Time) error { return s.conn.SetDeadline(t) }

// SetReadDeadline implements net.Conn, and does nothing: scripts wait.
func (s *ServerEnd) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (s *ServerEnd) SetWriteDeadline(t time.Time) error { return s.conn.SetWriteDeadline(t) }
