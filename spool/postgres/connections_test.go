//go:build unix

package postgres

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"postern/spool"
)

// silence is a network whose connections can fall silent together: what they are told
// is lost, and nobody hears that they are over, as where a machine is gone.
type silence struct {
	mu    sync.Mutex
	conns []*silentConn
}

type silentConn struct {
	net.Conn
	mu     sync.Mutex
	silent bool
}

func (n *silence) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, kind, address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	s := &silentConn{Conn: c}
	n.conns = append(n.conns, s)
	return s, nil
}

// fall has the connections that there are fall silent. The end of them is left to
// after.
func (n *silence) fall() (after func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fallen := n.conns
	n.conns = nil
	for _, c := range fallen {
		c.mu.Lock()
		c.silent = true
		c.mu.Unlock()
	}
	return func() {
		for _, c := range fallen {
			c.Conn.Close()
		}
	}
}

func (c *silentConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// silentConnections: where the machine of the database is gone, and it goes on at
// another one, one question is in vain and not one for each connection that looks
// alive, so that a lane is asked for before a lease ends.
func silentConnections(t *testing.T, url string) {
	var n silence
	s, err := Open(t.Context(), Options{URL: url, Relay: "one", Grace: -1, Dial: n.dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.abandon)
	if s.beatWithin()+2*connectTimeout > s.opts.Term {
		t.Errorf("a question that is in vain takes %v of a lease of %v", s.beatWithin(), s.opts.Term)
	}
	silent := idle(t, s, 12)
	t.Cleanup(n.fall())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.pool.Exec(ctx, `SELECT 1`); err == nil {
		t.Fatal("a silent connection has answered")
	}
	within(t, "those that are silent are dropped", func() bool { return !anyIdle(t, s, silent) })
	if _, err := s.Lease(t.Context(), "up"); err != nil {
		t.Error(err)
	}
}

// idle makes so many connections that are idle, and returns them.
func idle(t *testing.T, s *Store, n int) (conns []*pgx.Conn) {
	t.Helper()
	var held []*pgxpool.Conn
	for range n {
		c, err := s.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held, conns = append(held, c), append(conns, c.Conn())
	}
	for _, c := range held {
		c.Release()
	}
	return conns
}

// anyIdle tells whether one of these connections is idle in the pool.
func anyIdle(t *testing.T, s *Store, of []*pgx.Conn) (yes bool) {
	for _, c := range s.pool.AcquireAllIdle(t.Context()) {
		yes = yes || slices.Contains(of, c.Conn())
		c.Release()
	}
	return yes
}

// lostConnections: of connections that were lost together, one fails.
func lostConnections(t *testing.T, url string) {
	s, network := opened(t, url, "one")
	lost := idle(t, s, 8)
	network.Cut(true)
	network.Cut(false)
	_ = s.Find(t.Context(), spool.Query{}, nil)
	within(t, "those that were lost are dropped", func() bool { return !anyIdle(t, s, lost) })
	for range 8 {
		if err := s.Find(t.Context(), spool.Query{}, nil); err != nil {
			t.Error(err)
		}
	}
}
