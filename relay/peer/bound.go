package peer

import (
	"container/list"
	"net"
	"sync"
)

// Bound is l with at most n connections open at a time: whoever comes then
// takes the place of the connection that has been open longest. For doors that
// have no notion of an origin, so that nobody uses up the descriptors of the
// process through them. Its methods may be called concurrently.
func Bound(l net.Listener, n int) net.Listener { return &bound{Listener: l, places: n} }

type bound struct {
	net.Listener
	places int

	mu   sync.Mutex
	open list.List // of *held, the oldest first
}

type held struct {
	net.Conn
	in *bound
	at *list.Element // nil: it has left
}

// Accept implements net.Listener.
func (b *bound) Accept() (net.Conn, error) {
	conn, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	h := &held{Conn: conn, in: b}
	b.mu.Lock()
	var oldest *held
	if b.open.Len() >= b.places {
		oldest = b.open.Front().Value.(*held)
		oldest.leave()
	}
	h.at = b.open.PushBack(h)
	b.mu.Unlock()
	if oldest != nil {
		_ = oldest.Conn.Close() // whoever serves it notices, and closes it again
	}
	return h, nil
}

// leave gives the place free. bound.mu is held.
func (h *held) leave() {
	if h.at != nil {
		h.in.open.Remove(h.at)
		h.at = nil
	}
}

// Close implements net.Conn.
func (h *held) Close() error {
	h.in.mu.Lock()
	h.leave()
	h.in.mu.Unlock()
	return h.Conn.Close()
}
