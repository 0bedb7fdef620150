//go:build unix

package postgres

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"postern/spool"
	"postern/spool/postgres/postgrestest"
	"postern/spool/storetest"
)

// network is one that can be cut.
type network struct {
	mu    sync.Mutex
	away  bool
	conns map[net.Conn]struct{}
}

func (n *network) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.away {
		return nil, errors.New("the network is cut")
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, kind, address)
	if err == nil {
		n.conns[c] = struct{}{}
	}
	return c, err
}

func (n *network) cut(away bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away = away
	for c := range n.conns {
		if away {
			c.Close()
			delete(n.conns, c)
		}
	}
}

// opened is a store with its network.
func opened(t *testing.T, url, relay string) (*Store, *network) {
	t.Helper()
	n := &network{conns: map[net.Conn]struct{}{}}
	s, err := Open(t.Context(), Options{URL: url, Relay: relay, Term: time.Minute, Grace: -1, MaxMessages: 50, MaxKeys: 20, Dial: n.dial,
		Outbox: filepath.Join(t.TempDir(), "outbox")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.abandon)
	return s, n
}

func TestContract(t *testing.T) {
	server := postgrestest.Start(t, "fsync=off")
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		url := server.Database(t)
		if _, err := Migrate(t.Context(), url); err != nil {
			t.Fatal(err)
		}
		first, net := opened(t, url, "one")
		other, _ := opened(t, url, "two")
		current := first
		return storetest.Harness{Store: first, Other: other, Most: 50, Keys: 20, Away: net.cut,
			Restart: func() spool.Store {
				current.abandon()
				current, _ = opened(t, url, "one")
				return current
			},
			Expire: func() {
				expire(t, url)
			}}
	})
}
