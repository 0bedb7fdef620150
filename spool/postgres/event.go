package postgres

import "time"

// Event is what a Store tells of: a pointer to one of the types below.
type Event interface{ event() }

// LaneTaken: this relay has taken a lane that another one, or its own earlier
// process, had.
type LaneTaken struct {
	Upstream string
	From     string // the name of the other relay
	Left     bool   // it had left the lane; else its lease was over
	Epoch    uint64
	InDoubt  int // shares whose outcome is not known, since a final dot was sent
	Released int // claims that ended with the earlier epoch
}

// Failed: the database did not do something. It is tried again.
type Failed struct {
	Op  string
	Err error
}

// Joined: the queue of a store that was opened late is open, so long after that.
type Joined struct{ After time.Duration }

// Behind: so many settlements wait for the database, in the outbox.
type Behind struct{ Settlements int }

// CaughtUp: what had waited is in the database.
type CaughtUp struct {
	Settlements int
	Refused     int // of them came too late: another relay is at work on what they are about
}

func (*LaneTaken) event() {}
func (*Failed) event()    {}
func (*Joined) event()    {}
func (*Behind) event()    {}
func (*CaughtUp) event()  {}
