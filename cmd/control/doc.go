// Package control faces the administrator of a running relay: an HTTP server
// on a unix socket, whose mode and group decide who may use it, and its client.
//
// It owns the words that an administrator sees (Status, Entry, Message) and
// the way they travel. It never decides anything about mail: what is asked of
// it goes to the queue and the spool, and what concerns the whole process to a
// Relay, which is cmd/daemon.
package control

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"postern/cmd/alert"
	"postern/cmd/history"
	"postern/config"
	"postern/queue"
	"postern/spool"
)

// Options are what a Server answers from. All are needed, and are used
// concurrently.
type Options struct {
	Store spool.Reader
	Queue MailQueue
	Relay Relay
	// Standin tells whether a message waits to be moved into the database of the
	// queue, and can only be looked at; nil: none does.
	Standin func(context.Context, spool.ID) bool
	Scrapes http.Handler // answers GET /metrics
	// Search looks for the lives of messages.
	Search func(context.Context, history.Query) (*history.Found, error)
	Alerts Alerts
	Events func(Event)
}

// Alerts is what is wrong, and who is told of it. *alert.Watch is one.
type Alerts interface {
	List() []alert.Open
	Receivers() []string
	// Try tells the receivers, or the one of this name, that this is a test.
	Try(ctx context.Context, receiver string) []alert.Tried
}

// MailQueue is what operators do with a *queue.Queue.
type MailQueue interface {
	Lanes(ctx context.Context) ([]queue.LaneStatus, error)
	Retry(ctx context.Context, sel queue.Select, by string) (queue.Result, error)
	Hold(ctx context.Context, sel queue.Select, by string) (queue.Result, error)
	Release(ctx context.Context, sel queue.Select, by string) (queue.Result, error)
	Remove(ctx context.Context, sel queue.Select, by string) (queue.Result, error)
	Bounce(ctx context.Context, sel queue.Select, by, reason string) (queue.Result, error)
	// Pause and Resume may answer with an *Unheard, and are done then.
	Pause(upstream, by string) error
	Resume(upstream, by string) error
}

// Unheard says that a pause or its end is recorded, and that the relay which
// delivers by the upstream has not answered. It reads it before it sends again.
type Unheard struct{ Err error }

func (e *Unheard) Error() string {
	return "It is recorded, and holds before anything more is sent; " + e.Err.Error() + "."
}

func (e *Unheard) Unwrap() error { return e.Err }

// Unfinished says that another relay, which has to do a part of an operation, has
// not done it, or has not said so.
type Unfinished struct {
	Done queue.Result
	Err  error
}

func (e *Unfinished) Error() string {
	return fmt.Sprintf("%s, and not all of it was done (messages done: %d); try again", e.Err, e.Done.Done)
}

func (e *Unfinished) Unwrap() error { return e.Err }

// Relay is what only the process as a whole knows or does.
type Relay interface {
	// Status is what there is to say about the whole; it may look at every
	// delivery in the queue.
	Status() *Status
	// Health tells why the relay is not healthy, which is empty where it is,
	// and what fails without making it so. It is quick.
	Health() (problems, degraded []string)
	// Hostname is the name of the relay.
	Hostname() string
	// Upstreams names what is configured and what mail waits for.
	Upstreams() []string
	// ForgetTLS forgets what is remembered about the TLS of one upstream, and
	// reports whether that was anything. queue.ErrNoUpstream.
	ForgetTLS(ctx context.Context, upstream, operator string) (had bool, err error)
	// Adopt makes a message of another relay's spool durable here, and routes
	// anew what it has no upstream for. Only the content is read from content. A
	// *spool.Repeated: it was adopted, or handed in again, before.
	Adopt(ctx context.Context, m *spool.Detail, content io.Reader, operator string) (spool.ID, error)
	// Reload replaces the configuration or keeps the old one: the error is
	// then a *Rejected, or says what else stood in the way.
	Reload(ctx context.Context, operator string) (*Reloaded, error)
}

// Event is something that happened at the sockets: a Failed.
type Event interface{ event() }

// Failed tells that a connection could not be accepted, or that a bug ended an
// answer; the text then has its stack.
type Failed struct{ Text string }

func (Failed) event() {}

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
