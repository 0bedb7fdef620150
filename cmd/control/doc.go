// Package control faces the administrator of a running relay: an HTTP server
// on a unix socket, whose mode and group decide who may use it, and its client.
//
// It owns the words that an administrator sees (Status, Entry, Message) and
// the way they travel. It never decides anything about mail: what is asked of
// it goes to a Daemon, the small interface that cmd/daemon puts before the
// queue, the spool and the listeners.
package control

import (
	"context"
	"net/http"

	"postern/config"
	"postern/queue/verdict"
	"postern/spool"
)

// Why is what keeps mail for an upstream waiting, in sentences without a full
// stop.
type Why struct {
	All     string            // of all mail; empty: nothing does
	Senders map[string]string // of the mail of some reverse-paths
}

// Of is the reason that concerns the mail of one sender; empty: none does.
func (w Why) Of(sender string) string {
	if w.All != "" {
		return w.All
	}
	return w.Senders[sender]
}

// Daemon is the running relay as its control socket needs it. Its methods are
// called concurrently.
type Daemon interface {
	// Status is what there is to say about the whole; it may look at every
	// delivery in the queue.
	Status() *Status
	// Health tells why the relay is not healthy, which is empty where it is,
	// and what fails without making it so. It is quick.
	Health() (problems, degraded []string)
	// Why explains why mail for this upstream waits other than for its due
	// time.
	Why(upstream string) Why
	// Advise translates an upstream's answer to a message of a sender; nil: it
	// says all there is to say.
	Advise(sender string, o *spool.Outcome) *verdict.Advice

	// Reader is of the spool.
	spool.Reader

	// Hostname is the name of the relay.
	Hostname() string
	// Upstreams names what is configured and what mail waits for.
	Upstreams() []string
	// Act carries out an order in the name of operator.
	Act(ctx context.Context, order Order, operator string) (*Acted, error)
	// Pause stops deliveries to one upstream until Resume; ErrNoUpstream:
	// there is none of that name.
	Pause(upstream, operator string) error
	Resume(upstream, operator string) error
	// ForgetTLS forgets what is remembered about the TLS of one upstream, and
	// reports whether that was anything.
	ForgetTLS(ctx context.Context, upstream, operator string) (had bool, err error)

	// Reload replaces the configuration or keeps the old one: the error is
	// then a *Rejected, or says what else stood in the way.
	Reload(ctx context.Context, operator string) (*Reloaded, error)

	// Metrics answers scrapes; it is called once.
	Metrics() http.Handler

	// Failed is told what went wrong at the sockets: a connection could not be
	// accepted, or a bug ended an answer, whose text then has its stack.
	Failed(text string)
}

// Op is something that an operator does to queued messages.
type Op string

// The operations of `postern queue`.
const (
	OpRetry   Op = "retry"
	OpHold    Op = "hold"
	OpRelease Op = "release"
	OpRemove  Op = "remove"
	OpBounce  Op = "bounce"
)

// Order is an operation on messages: those with the IDs, or Shares of them, or
// all, or all that are to go to Upstream next. Exactly one of the four is set.
type Order struct {
	Op       Op
	IDs      []spool.ID
	Shares   []Share
	All      bool
	Upstream string
	Reason   string // of OpBounce, for the sender; may be empty
}

// Share names one share of a message, an entry of the list.
type Share struct {
	ID    spool.ID
	Share int
	// Recipients are those that are meant, by their index in the envelope;
	// nil: all that wait. Only OpRemove and OpBounce can part them.
	Recipients []int
}

// Reloaded is what a successful reload has to say.
type Reloaded struct {
	Config   string           `json:"config"`
	Warnings []config.Problem `json:"warnings,omitempty"`
	// Kept names what is different in the file and only changes at a restart.
	Kept []string `json:"kept,omitempty"`
}

// Blocked is the error of a reload whose configuration is well formed and
// cannot be put in force; the old one is.
type Blocked struct {
	Obstacle Obstacle
	Reason   string // a sentence
	Hint     string // what to do; may be empty
}

func (b *Blocked) Error() string { return b.Reason + "; the old configuration is kept" }

// Obstacle is of what sort a hindrance is.
type Obstacle string

// The obstacles.
const (
	ObstacleTaken    Obstacle = "taken"    // an address or a socket is in use, or not of this machine
	ObstacleMissing  Obstacle = "missing"  // a folder, file or socket is missing or cannot be made
	ObstacleDenied   Obstacle = "denied"   // owners, modes, privileges
	ObstacleSettings Obstacle = "settings" // the configuration has to change
)

// Rejected is a configuration that was not taken; the old one is in force.
type Rejected struct {
	Problems []config.Problem `json:"problems"`
}

func (r *Rejected) Error() string {
	return "the configuration was not replaced: the file has errors"
}
