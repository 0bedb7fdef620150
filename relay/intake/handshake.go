package intake

import (
	"context"
	"crypto/tls"
	"net"
	"runtime"
)

// handshake makes the connection a TLS one. A failure is final: going back to
// clear text is what an attacker wants.
func (c *conn) handshake() bool {
	ctx, cancel := context.WithTimeout(c.client.ctx, tlsTimeout)
	defer cancel()
	hs := &handshakeConn{Conn: c.nc, c: c, ctx: ctx}
	defer hs.end() // also where TLS panics over what the client has sent
	tc := tls.Server(hs, c.set.tls)
	c.wait()
	c.watch.at(phaseHandshake)
	err := tc.HandshakeContext(ctx)
	hs.end()
	c.watch.at(phaseBusy)
	if err != nil && c.watch.woken() == wokenEvict {
		c.end("evicted")
		return false
	}
	if err != nil {
		c.srv.events(&TLSFailed{&c.client.Client, err})
		c.end("TLS failed")
		return false
	}
	c.secured(tc)
	return true
}

// handshakeConn is a connection that waits for its turn before anything is done about
// what it has read: a handshake costs the processor, and thousands that one
// origin begins at once would keep everybody else from theirs. No turn is held
// while the client is waited for. After the handshake it is an ordinary one.
//
// Whoever has a turn lets all others run before it is used, who then stand in
// the queue of their origin: else a thousand that the network brings at once
// have each a free turn, one after the other, and those behind them no say.
type handshakeConn struct {
	net.Conn
	c    *conn
	ctx  context.Context // of the handshake; nil after it
	turn bool
}

// Read implements net.Conn.
func (s *handshakeConn) Read(p []byte) (int, error) {
	if s.ctx == nil {
		return s.Conn.Read(p)
	}
	s.rest()
	n, err := s.Conn.Read(p)
	if n > 0 {
		if err := s.work(); err != nil {
			return 0, err
		}
		runtime.Gosched()
	}
	return n, err
}

// Write implements net.Conn.
func (s *handshakeConn) Write(p []byte) (int, error) {
	s.rest()
	return s.Conn.Write(p)
}

// work takes a turn. Only where none is free is it asked who the client is.
func (s *handshakeConn) work() error {
	turns := s.c.srv.shared.handshakes
	if s.turn = turns.Try(); s.turn {
		return nil
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	s.c.watch.asking.Store(&cancel)
	defer s.c.watch.asking.Store(nil)
	if s.c.watch.leaving() {
		cancel()
	}
	err := turns.Take(ctx, s.c.client.Connection())
	s.turn = err == nil
	return err
}

// rest gives the turn back.
func (s *handshakeConn) rest() {
	if s.turn {
		s.turn = false
		s.c.srv.shared.handshakes.Give()
	}
}

// end makes it an ordinary connection.
func (s *handshakeConn) end() {
	s.rest()
	s.ctx = nil
}
