package queue

import (
	"context"

	"postern/config"
)

// Deliverer opens sessions with upstreams.
type Deliverer interface {
	// Deliver connects to up, signs in, and then carries out what feed hands
	// out, one message after the other over the same connection, until feed
	// has nothing more for the upstream's IdleClose, or ends, or ctx is done.
	//
	// It returns nil after an orderly end. A *spool.Fault says that the
	// session could not be opened, or ended before its time; every delivery
	// that it had taken was settled or released by then. When ctx is done it
	// finishes the transaction that is under way and ends.
	Deliver(ctx context.Context, up *config.Upstream, feed *Feed) error
}
