package postgres

import (
	"context"
	"net"
	"strconv"
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

// endSoon are settings of the database for our connections, by which it finds out that
// a relay is gone without a word, as dial does for the other direction: its locks, such
// as that on a lane in the middle of a claim, would hold up a takeover. A relay is never
// silent within a transaction but when it is stopped or cut off. What the system of the
// database does not have is not set there.
var endSoon = map[string]string{
	"idle_in_transaction_session_timeout": strconv.FormatInt(silentAfter.Milliseconds(), 10),
	"tcp_user_timeout":                    strconv.FormatInt(silentAfter.Milliseconds(), 10),
	"tcp_keepalives_idle":                 "4",
	"tcp_keepalives_interval":             "1",
	"tcp_keepalives_count":                "4",
}

// dial opens a connection that ends where the other machine is gone without a word.
// The system's own limits are a quarter of an hour.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: silentAfter - 4*time.Second, Interval: time.Second, Count: 4},
		Control:         endSilent,
	}
	return d.DialContext(ctx, network, address)
}
