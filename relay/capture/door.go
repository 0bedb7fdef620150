package capture

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"postern/relay/origin"
	"postern/relay/peer"
)

// What a client may hold that has not signed in. TLS with a sign-in takes about
// 3 KB and a few milliseconds.
const (
	strangerBytes = 32 << 10
	strangerTime  = 30 * time.Second
)

// door remembers who came in. go-smtp cannot close connections once its
// Shutdown has run out of time.
type door struct {
	net.Listener
	left sync.WaitGroup

	mu   sync.Mutex
	open map[*guest]struct{}
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := &guest{Conn: conn, door: d, until: time.Now().Add(strangerTime)}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[g] = struct{}{}
	d.left.Add(1)
	return g, nil
}

// ours lets in whom the kernel does not call another user's process. The only
// client is this process.
func ours(conn net.Conn) (origin.Key, bool) {
	uid, known := peer.Loopback(conn)
	return origin.Key{}, !known || uid == uint32(os.Geteuid())
}

// cutOff closes every connection and waits until nobody serves them any more.
func (d *door) cutOff() {
	d.mu.Lock()
	for g := range d.open {
		_ = g.Conn.Close() // what reads it ends, and strikes it off
	}
	d.mu.Unlock()
	d.left.Wait()
}

// guest is a connection that is struck off when it is closed. Before it has
// signed in it may send little, and not for long.
type guest struct {
	net.Conn
	door  *door
	once  sync.Once
	until time.Time // for the sign-in
	known atomic.Bool
	sent  int // bytes, before the sign-in
}

// welcome is called when the client has signed in.
func (g *guest) welcome() {
	if !g.known.Swap(true) {
		peer.Release(g.Conn)
	}
}

var errStranger = errors.New("too much without a sign-in")

// Read implements net.Conn.
func (g *guest) Read(p []byte) (int, error) {
	if g.known.Load() {
		return g.Conn.Read(p)
	}
	if g.sent >= strangerBytes {
		return 0, errStranger
	}
	n, err := g.Conn.Read(p[:min(len(p), strangerBytes-g.sent)])
	g.sent += n
	return n, err
}

// SetReadDeadline implements net.Conn.
func (g *guest) SetReadDeadline(t time.Time) error { return g.Conn.SetReadDeadline(g.atMost(t)) }

// SetWriteDeadline implements net.Conn.
func (g *guest) SetWriteDeadline(t time.Time) error { return g.Conn.SetWriteDeadline(g.atMost(t)) }

// SetDeadline implements net.Conn.
func (g *guest) SetDeadline(t time.Time) error { return g.Conn.SetDeadline(g.atMost(t)) }

// atMost is t, but no later than the end of the sign-in.
func (g *guest) atMost(t time.Time) time.Time {
	if !g.known.Load() && (t.IsZero() || t.After(g.until)) {
		return g.until
	}
	return t
}

// Close implements net.Conn.
func (g *guest) Close() error {
	err := g.Conn.Close()
	g.once.Do(func() {
		g.door.mu.Lock()
		defer g.door.mu.Unlock()
		delete(g.door.open, g)
		g.door.left.Done()
	})
	return err
}
