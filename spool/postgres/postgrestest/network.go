//go:build unix

package postgrestest

import (
	"context"
	"errors"
	"net"
	"sync"
)

// Network is one that can be cut. The zero value is whole. It may be used
// concurrently.
type Network struct {
	mu    sync.Mutex
	away  bool
	conns map[net.Conn]struct{}
}

// Dial connects, unless the network is cut.
func (n *Network) Dial(ctx context.Context, kind, address string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.away {
		return nil, errors.New("the network is cut")
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, kind, address)
	if err == nil {
		if n.conns == nil {
			n.conns = map[net.Conn]struct{}{}
		}
		n.conns[c] = struct{}{}
	}
	return c, err
}

// Cut ends all connections and lets none be made, or makes the network whole
// again.
func (n *Network) Cut(away bool) {
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
