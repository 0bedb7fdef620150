package queue

import (
	"time"

	"postern/queue/budget"
	"postern/queue/notice"
	"postern/queue/verdict"
	"postern/spool"
)

// Events is told what the queue does. Methods may be called concurrently and
// must not block; what they are given is theirs to read, not to change.
type Events interface {
	// Attempted comes once for each recipient of each attempt.
	Attempted(Attempt)
	// Finished comes when the last recipient of a message has ended.
	Finished(Finish)
	// LaneChanged comes when a lane is parked, waits, comes up, is paused,
	// resumed, or when its name vanishes from the configuration.
	LaneChanged(LaneChange)
	// Panicked comes when a bug of this program has ended a session.
	Panicked(upstream string, value any, stack []byte)
	// SessionFailed comes when a session could not be opened or broke off.
	SessionFailed(upstream string, opened bool, deliveries int, outcome spool.Outcome)
	// ConnectionSpent comes when an answer to a connection that had carried
	// messages is not charged to anybody, and a fresh one is asked.
	ConnectionSpent(upstream string, carried int, outcome spool.Outcome)
	// ConnectionLimit comes when it was learnt how many messages an upstream
	// takes over one connection.
	ConnectionLimit(upstream string, messages int)
	// SenderRefused comes once when an upstream begins to refuse a
	// reverse-path, SenderAccepted when it takes it again.
	SenderRefused(upstream, sender string, outcome spool.Outcome, next time.Time)
	SenderAccepted(upstream, sender string)
	// BudgetSpent comes when due mail begins to wait for the rates of its
	// upstream; not again until it has waited for none for ten minutes.
	BudgetSpent(upstream string, left []budget.Left)
	// StateFailed comes when what is known of an upstream (what its rates have
	// counted, a pause) could not be read or kept; once until it can again.
	StateFailed(upstream string, err error)
	// Notified comes when a delivery status notification became durable.
	Notified(Notification)
	// NotNotified comes when one could not be made; what it was to report
	// stays in the queue, apart from a success.
	NotNotified(original spool.ID, kind notice.Action, err error)
	// InDoubt comes when the answer to a final dot is not known; held says
	// that the share waits for an operator. A duplicate is possible from then on.
	// times counts the doubts about the share in a row, since the start.
	InDoubt(id spool.ID, upstream string, recipients, times int, held bool)
	// Expired comes for each share that ended by its lifetime or deadline.
	Expired(id spool.ID, upstream string, recipients int, age time.Duration)
	// Kept comes for each share from <> that failed and was put on hold.
	Kept(Keep)
	// KeptEnded comes when one ended by itself: why is KeptTooLong or
	// KeptTooMany.
	KeptEnded(id spool.ID, upstream string, recipients int, age time.Duration, why string)
	// MovedOn comes when shares left a lane that is down for the next
	// upstream of their list without an attempt.
	MovedOn(from, to string, shares int)
	// Operated comes for each share that an operator has changed.
	Operated(Operation)
	// ClaimLost comes when the store says that a claim was lost to somebody
	// else. At "dot" nothing was sent; at "settle" what became of the attempt is
	// not on record, and recipients that the upstream has taken, delivered of
	// them, may get a second copy.
	ClaimLost(operation string, id spool.ID, upstream string, delivered int)
	// StoreFailed comes when the spool failed at claim, due, list, find, detail, lease, leave,
	// settle, take, dot or content; what it was to do is done later.
	StoreFailed(operation string, id spool.ID, err error)
}

// Attempt is what one attempt came to for one recipient.
type Attempt struct {
	ID        spool.ID
	From, To  string // wire form, without angle brackets; From empty: <>
	Upstream  string
	Number    int           // of the attempt, from 1
	Delay     time.Duration // since the message was accepted
	Size      int64         // bytes of the content
	Outcome   spool.Outcome // Outcome.Verdict: Pending is deferred
	Blame     verdict.Blame
	Due       time.Time // of the next attempt; zero unless deferred
	NextUp    string    // upstream of the next attempt; empty unless deferred
	Held      bool      // the rest waits for an operator
	Duplicate bool      // an earlier final dot had no answer: may be a second copy
}

// Finish is the end of a message.
type Finish struct {
	ID       spool.ID
	From     string
	Age      time.Duration
	Attempts int // of its last share
}

// LaneChange is a change in the state of a lane.
type LaneChange struct {
	Upstream string
	State    State
	Previous State
	// Lasted is how long the previous state had lasted.
	Lasted  time.Duration
	Outcome spool.Outcome // the fault; zero when the lane comes up
	Probe   time.Time     // of the next probe; zero: none
	By      string        // operator who paused or resumed
}

// Notification is a delivery status notification that was made.
type Notification struct {
	ID         spool.ID // of the notification
	Original   spool.ID
	To         string
	Kind       notice.Action
	Recipients int
	Upstreams  []string
}

// Operation is a change by an operator.
type Operation struct {
	Verb       string // retry, hold, release, remove, bounce
	ID         spool.ID
	Share      int
	By         string
	Recipients int
	Reason     string
}

// quiet is Events for those who don't listen.
type quiet struct{}

func (quiet) Attempted(Attempt)                                      {}
func (quiet) Finished(Finish)                                        {}
func (quiet) LaneChanged(LaneChange)                                 {}
func (quiet) SessionFailed(string, bool, int, spool.Outcome)         {}
func (quiet) ConnectionSpent(string, int, spool.Outcome)             {}
func (quiet) Panicked(string, any, []byte)                           {}
func (quiet) ConnectionLimit(string, int)                            {}
func (quiet) SenderRefused(string, string, spool.Outcome, time.Time) {}
func (quiet) SenderAccepted(string, string)                          {}
func (quiet) BudgetSpent(string, []budget.Left)                      {}
func (quiet) StateFailed(string, error)                              {}
func (quiet) Notified(Notification)                                  {}
func (quiet) NotNotified(spool.ID, notice.Action, error)             {}
func (quiet) InDoubt(spool.ID, string, int, int, bool)               {}
func (quiet) Expired(spool.ID, string, int, time.Duration)           {}
func (quiet) Kept(Keep)                                              {}
func (quiet) KeptEnded(spool.ID, string, int, time.Duration, string) {}
func (quiet) MovedOn(string, string, int)                            {}
func (quiet) Operated(Operation)                                     {}
func (quiet) ClaimLost(string, spool.ID, string, int)                {}
func (quiet) StoreFailed(string, spool.ID, error)                    {}
