package peer

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"postern/relay/origin"
)

// Bounds are what the clients of a listener may hold.
type Bounds struct {
	// Places is how many connections are open at a time; at least 1.
	Places int
	// By names the origin that a connection counts for; nil: Origin.
	By func(net.Conn) origin.Key
	// Stall is how long a client may take nothing of what is written to it;
	// 0: for ever, or as whoever writes says by a deadline.
	Stall time.Duration
}

// Bounded is a listener with bounds. Its methods may be called concurrently.
type Bounded struct {
	net.Listener
	bounds Bounds
	over   chan struct{} // closed with the listener
	once   sync.Once

	mu     sync.Mutex // guards what follows
	places int
	open   map[*held]struct{}
	by     map[origin.Key]int // how many of open each origin has
}

// Bound is l with bounds, for listeners where nothing else shares places out. Whoever
// comes when all are taken gets the place of the origin that has most, if that is
// more than his own would have; else of his own; else, where he has none, of
// whoever has been quiet longest. An origin loses its quietest connection first.
func Bound(l net.Listener, b Bounds) *Bounded {
	b.Places = max(1, b.Places)
	if b.By == nil {
		b.By = Origin
	}
	return &Bounded{
		Listener: l, bounds: b, over: make(chan struct{}), places: b.Places,
		open: map[*held]struct{}{}, by: map[origin.Key]int{},
	}
}

// Accept implements net.Listener. What passes, such as a lack of descriptors,
// is waited for: the only error is that of a closed listener.
func (b *Bounded) Accept() (net.Conn, error) {
	for delay := time.Duration(0); ; {
		conn, err := b.Listener.Accept()
		switch {
		case err == nil:
			return b.admit(conn), nil
		case errors.Is(err, net.ErrClosed):
			return nil, err
		default:
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(delay):
			case <-b.over:
				return nil, net.ErrClosed
			}
		}
	}
}

// Close implements net.Listener.
func (b *Bounded) Close() error {
	b.once.Do(func() { close(b.over) })
	return b.Listener.Close()
}

// Resize changes how many places there are, at least 1. Nobody loses his.
func (b *Bounded) Resize(places int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.places = max(1, places)
}

// Open is how many places are taken.
func (b *Bounded) Open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.open)
}

// admit gives conn a place.
func (b *Bounded) admit(conn net.Conn) *held {
	from := b.bounds.By(conn).Wide()
	h := &held{Conn: conn, in: b, from: from}
	h.moved.Store(time.Now().UnixNano())
	b.mu.Lock()
	var gone *held
	if len(b.open) >= b.places {
		gone = b.victim(from)
		b.leave(gone)
	}
	b.open[h] = struct{}{}
	b.by[from]++
	b.mu.Unlock()
	if gone != nil {
		_ = gone.Conn.Close() // whoever serves it notices, and closes it again
	}
	return h
}

// victim is who has to go for a newcomer. b.mu is held.
func (b *Bounded) victim(newcomer origin.Key) (victim *held) {
	mine := b.by[newcomer]
	most, quiet := 0, int64(0)
	for h := range b.open {
		n, since := b.by[h.from], h.moved.Load()
		if mine > 0 && h.from != newcomer && n <= mine+1 {
			continue // he would only take its turn
		}
		if n > most || n == most && since < quiet {
			victim, most, quiet = h, n, since
		}
	}
	return victim
}

// leave gives the place of h free. b.mu is held.
func (b *Bounded) leave(h *held) {
	if _, ok := b.open[h]; !ok {
		return
	}
	delete(b.open, h)
	if b.by[h.from]--; b.by[h.from] == 0 {
		delete(b.by, h.from)
	}
}

// held is a connection that has a place.
type held struct {
	net.Conn
	in    *Bounded
	from  origin.Key
	moved atomic.Int64 // when bytes last went either way, in Unix nanoseconds
}

// NetConn is the connection of the system behind it, as of a tls.Conn.
func (h *held) NetConn() net.Conn { return h.Conn }

// Unwrapped is the connection of the system behind c, through all that have a
// NetConn; c itself where it has none.
func Unwrapped(c net.Conn) net.Conn {
	for {
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = inner.NetConn()
	}
}

// Read implements net.Conn.
func (h *held) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if n > 0 {
		h.moved.Store(time.Now().UnixNano())
	}
	return n, err
}

// stride is how many bytes have to be taken within Bounds.Stall, and what the
// system keeps for the client beside: a slow client that lives is served.
const stride = 16 << 10

// Write implements net.Conn.
func (h *held) Write(p []byte) (n int, err error) {
	for {
		part := p[n:min(len(p), n+stride)]
		if h.in.bounds.Stall > 0 {
			if err := h.SetWriteDeadline(time.Now().Add(h.in.bounds.Stall)); err != nil {
				return n, err
			}
		}
		took, err := h.Conn.Write(part)
		if n += took; took > 0 {
			h.moved.Store(time.Now().UnixNano())
		}
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// Close implements net.Conn.
func (h *held) Close() error {
	h.in.mu.Lock()
	h.in.leave(h)
	h.in.mu.Unlock()
	return h.Conn.Close()
}

// Origin is whom places are counted for at the other end of c: a user of this
// machine where the kernel tells, by whatever address he connects, else an
// address. Where the kernel would have told earlier, the origin is Unclear.
func Origin(c net.Conn) origin.Key {
	if u, ok := c.(*net.UnixConn); ok {
		if uid, err := UserID(u); err == nil {
			return origin.Local(uid)
		}
		return origin.Key{}
	}
	remote, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return origin.Key{}
	}
	a := remote.Addr().Unmap()
	if a.IsLoopback() {
		switch uid, err := loopback(c); {
		case err == nil:
			return origin.Local(uid)
		case errors.Is(err, ErrClosed):
			return origin.Gone(a)
		}
	}
	return origin.Address(a)
}
