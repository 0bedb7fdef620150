package queue

import (
	"time"

	"postern/queue/budget"
	"postern/queue/notice"
	"postern/queue/verdict"
	"postern/spool"
)

// Event is what the queue does: a pointer to one of the types below. It is
// valid until the function that it is given to returns; that function is
// called concurrently and on the path of a message, so it must be quick, and
// changes nothing of what it is given.
type Event interface{ event() }

// Attempted comes once for each recipient of each attempt.
type Attempted struct {
	ID        spool.ID
	From, To  string // wire form, without angle brackets; From empty: <>
	Listener  string // by which the message came
	Upstream  string
	Number    int           // of the attempt, from 1
	Delay     time.Duration // since the message was accepted, or was to go out first
	Size      int64         // bytes of the content
	Outcome   spool.Outcome // Outcome.Verdict: Pending is deferred
	Blame     verdict.Blame
	Due       time.Time // of the next attempt; zero unless deferred
	NextUp    string    // upstream of the next attempt; empty unless deferred
	Held      bool      // the rest waits for an operator
	Copy      bool      // To gets a copy for the administrator
	Duplicate bool      // an earlier final dot had no answer: may be a second copy
}

// Finished comes when the last recipient of a message has ended.
type Finished struct {
	ID       spool.ID
	From     string
	Age      time.Duration
	Attempts int // of its last share
}

// LaneChanged comes when a lane is parked, waits, comes up, is paused, resumed,
// or when its name vanishes from the configuration.
type LaneChanged struct {
	Upstream string
	State    State
	Previous State
	// Lasted is how long the previous state had lasted.
	Lasted  time.Duration
	Outcome spool.Outcome // the fault; zero when the lane comes up
	Probe   time.Time     // of the next probe; zero: none
	By      string        // operator who paused or resumed
}

// Panicked comes when a bug of this program has ended a session.
type Panicked struct {
	Upstream string
	Value    any
	Stack    []byte
}

// SessionFailed comes when a session could not be opened or broke off.
type SessionFailed struct {
	Upstream   string
	Opened     bool
	Deliveries int // that it had settled or released
	Outcome    spool.Outcome
}

// ConnectionSpent comes when an answer to a connection that had carried
// messages is not charged to anybody, and a fresh one is asked.
type ConnectionSpent struct {
	Upstream string
	Carried  int // messages before
	Outcome  spool.Outcome
}

// ConnectionLimited comes when it was learnt how many messages an upstream
// takes over one connection.
type ConnectionLimited struct {
	Upstream string
	Messages int
}

// SenderRefused comes once when an upstream begins to refuse a reverse-path,
// SenderAccepted when it takes it again.
type SenderRefused struct {
	Upstream, Sender string
	Outcome          spool.Outcome
	Next             time.Time // when it is tried again
}

// SenderAccepted is the end of what SenderRefused told.
type SenderAccepted struct{ Upstream, Sender string }

// BudgetSpent comes when due mail begins to wait for the rates of its upstream;
// not again until it has waited for none for ten minutes.
type BudgetSpent struct {
	Upstream string
	Left     []budget.Left // of each rate
}

// StateFailed comes when what is known of an upstream (what its rates have
// counted, a pause) could not be read or kept; once until it can again.
type StateFailed struct {
	Upstream string
	Err      error
}

// Notified comes when a delivery status notification became durable.
type Notified struct {
	ID         spool.ID // of the notification
	Original   spool.ID
	To         string
	Kind       notice.Action
	Recipients int
	Upstreams  []string
}

// NotNotified comes when one could not be made. What it was to report stays in
// the queue, apart from a success.
type NotNotified struct {
	Original spool.ID
	Kind     notice.Action
	Err      error
}

// InDoubt comes when the answer to a final dot is not known. A duplicate is
// possible from then on.
type InDoubt struct {
	ID         spool.ID
	Upstream   string
	Recipients int
	Times      int  // doubts about the share in a row, since the start
	Held       bool // the share waits for an operator
}

// Expired comes for each share that ended by its lifetime or deadline.
type Expired struct {
	ID         spool.ID
	Upstream   string
	Recipients int
	Age        time.Duration
}

// Kept comes for each share of which no sender is told, from <> or of a copy,
// that failed and was put on hold.
type Kept struct {
	ID         spool.ID
	Upstream   string
	Recipients int
	Outcome    spool.Outcome // why it failed
	Until      time.Time     // it ends then, unless somebody decides before
}

// KeptEnded comes when a share that was Kept ended by itself.
type KeptEnded struct {
	ID         spool.ID
	Upstream   string
	Recipients int
	Age        time.Duration
	Why        string // KeptTooLong or KeptTooMany
}

// Why a kept share ended by itself.
const (
	KeptTooLong = "age"
	KeptTooMany = "room"
)

// MovedOn comes when shares left a lane that is down for the next upstream of
// their list without an attempt.
type MovedOn struct {
	From, To string // upstreams
	Shares   int
}

// Operated comes for each share that an operator has changed.
type Operated struct {
	Verb       string // retry, hold, release, remove, bounce
	ID         spool.ID
	Share      int
	By         string
	Recipients int
	Reason     string
}

// ClaimLost comes when the store says that a claim was lost to somebody else.
// At "dot" nothing was sent; at "settle" what became of the attempt is not on
// record, and the recipients that the upstream has taken may get a second copy.
type ClaimLost struct {
	Operation string // "dot" or "settle"
	ID        spool.ID
	Upstream  string
	Delivered int // recipients that the upstream has taken
}

// StoreFailed comes when the spool failed. What it was to do is done later.
type StoreFailed struct {
	Operation string   // claim, due, list, find, detail, lease, leave, settle, take, dot or content
	ID        spool.ID // 0: it was about no message
	Err       error
}

func (*Attempted) event()         {}
func (*Finished) event()          {}
func (*LaneChanged) event()       {}
func (*Panicked) event()          {}
func (*SessionFailed) event()     {}
func (*ConnectionSpent) event()   {}
func (*ConnectionLimited) event() {}
func (*SenderRefused) event()     {}
func (*SenderAccepted) event()    {}
func (*BudgetSpent) event()       {}
func (*StateFailed) event()       {}
func (*Notified) event()          {}
func (*NotNotified) event()       {}
func (*InDoubt) event()           {}
func (*Expired) event()           {}
func (*Kept) event()              {}
func (*KeptEnded) event()         {}
func (*MovedOn) event()           {}
func (*Operated) event()          {}
func (*ClaimLost) event()         {}
func (*StoreFailed) event()       {}
