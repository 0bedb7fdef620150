package capture

import (
	"net"
	"os"
	"sync"

	"postern/relay/peer"
)

// door remembers who came in. go-smtp cannot close connections once its
// Shutdown has run out of time.
type door struct {
	net.Listener
	left sync.WaitGroup

	mu   sync.Mutex
	open map[*guest]struct{}
}

// guest is a connection that is struck off when it is closed.
type guest struct {
	net.Conn
	door *door
	once sync.Once
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	for err == nil && foreign(conn) {
		_ = conn.Close()
		conn, err = d.Listener.Accept()
	}
	if err != nil {
		return nil, err
	}
	g := &guest{Conn: conn, door: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[g] = struct{}{}
	d.left.Add(1)
	return g, nil
}

// foreign says whether another user's process has connected, where the kernel
// tells. The only client is this process.
func foreign(conn net.Conn) bool {
	uid, known := peer.Loopback(conn)
	return known && uid != uint32(os.Geteuid())
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

// cutOff closes every connection and waits until nobody serves them any more.
func (d *door) cutOff() {
	d.mu.Lock()
	for g := range d.open {
		_ = g.Conn.Close() // what reads it ends, and strikes it off
	}
	d.mu.Unlock()
	d.left.Wait()
}
