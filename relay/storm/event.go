package storm

import "time"

// Event is what a Guard, and whoever sends its digests, tells of: a *Began, an
// *Ended, an *Overflow, a *Digested, a *NotDigested or a *NotSaved.
type Event interface{ event() }

// Began: more than Messages messages that are alike came within Per, and those
// that follow are put on hold.
type Began struct {
	Storm
	Messages int
	Per      time.Duration
}

// Ended: fewer come, and those that follow go on.
type Ended struct{ Storm }

// Overflow: a storm was let through, since there are too many to keep a record
// of one more.
type Overflow struct {
	From   string
	Storms int
}

// Digested: the recipients of a storm, or the postmaster, get a digest, which is
// queued.
type Digested struct {
	Storm
	Notice string // ID of the digest
}

// NotDigested: a digest could not be queued, and is tried again.
type NotDigested struct {
	Storm
	Err error
}

// NotSaved: a restart would forget storms.
type NotSaved struct{ Err error }

func (*Began) event()       {}
func (*Ended) event()       {}
func (*Overflow) event()    {}
func (*Digested) event()    {}
func (*NotDigested) event() {}
func (*NotSaved) event()    {}
