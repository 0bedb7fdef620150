package postgres

import (
	"context"
	"net"
	"time"
)

const (
	// silentAfter is how long the machine of the database may acknowledge nothing
	// before its connections are given up: less than a lease lasts after it was due to
	// be renewed. A database that is slow, or waits for its standby,
	// acknowledges all the same, as long as it reads what it is told.
	silentAfter = 8 * time.Second
	// pingTimeout is how long a connection that was idle has to answer.
	pingTimeout = 3 * time.Second
)

// dial opens a connection that ends where the other machine is gone without a word.
// The system's own limits are a quarter of an hour.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: silentAfter - 4*time.Second, Interval: time.Second, Count: 4},
		Control:         endSilent,
	}
	return d.DialContext(ctx, network, address)
}
