package origin

import (
	"context"
	"crypto/tls"
	"net"
	"runtime"
	"time"
)

// Handshake is a connection that waits for its turn before anything is done
// about what it has read: a TLS handshake costs the processor, and thousands
// that one origin begins at once would keep everybody else from theirs. No turn
// is held while the client is waited for. After End it is an ordinary one.
//
// Where several are under way, whoever has a turn lets all others run before it
// is used, who then stand in the queue of their origin: else a thousand that the
// network brings at once have each a free turn, one after the other, and those
// behind them no say.
//
// It is for one goroutine at a time, as tls.Conn reads and writes in a
// handshake.
type Handshake struct {
	net.Conn
	turns       *Turns
	wait        func() error
	begun, turn bool
	over        bool
}

// Handshake makes one of c. Where no turn is free, wait takes it by Take, or
// fails with what ends the handshake. End has to follow.
func (t *Turns) Handshake(c net.Conn, wait func() error) *Handshake {
	return &Handshake{Conn: c, turns: t, wait: wait}
}

// Within is a wait of Handshake: for a turn of from, as long as limit.
func (t *Turns) Within(limit time.Duration, from func() Key) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		return t.Take(ctx, from())
	}
}

// Shake makes the handshake of c, which is over h, within limit, and ends h.
func (h *Handshake) Shake(c *tls.Conn, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	defer h.End() // also where TLS panics over what the client has sent
	return c.HandshakeContext(ctx)
}

// Read implements net.Conn.
func (h *Handshake) Read(p []byte) (int, error) {
	if h.over {
		return h.Conn.Read(p)
	}
	if !h.begun {
		h.begun = true
		h.turns.underWay.Add(1)
	}
	h.rest()
	n, err := h.Conn.Read(p)
	if n == 0 {
		return n, err
	}
	if !h.turns.Try() {
		if err := h.wait(); err != nil {
			return 0, err
		}
	}
	h.turn = true
	if h.turns.underWay.Load() > 1 {
		runtime.Gosched()
	}
	return n, err
}

// Write implements net.Conn.
func (h *Handshake) Write(p []byte) (int, error) {
	h.rest()
	return h.Conn.Write(p)
}

// rest gives the turn back.
func (h *Handshake) rest() {
	if h.turn {
		h.turn = false
		h.turns.Give()
	}
}

// End makes it an ordinary connection. It may be called again.
func (h *Handshake) End() {
	h.rest()
	if h.begun && !h.over {
		h.turns.underWay.Add(-1)
	}
	h.over = true
}
