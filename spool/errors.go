package spool

import "errors"

// Errors of a running spool; test with errors.Is.
var (
	// ErrFull: the spool has reached its maximum size, or the disk its
	// minimum of free space. Delivery goes on.
	ErrFull = errors.New("the spool is full")
	// ErrClaimed: somebody else is at work on the share.
	ErrClaimed = errors.New("the message is being delivered at this moment")
	// ErrLost: the claim, or the lease that it was made under, is over, and
	// somebody else may be at work on it. Nothing was changed.
	ErrLost = errors.New("the claim has been lost")
	// ErrLeased: another relay has the lane. Such an error is a *Leased.
	ErrLeased = errors.New("another relay delivers what goes by this upstream")
	// ErrNotFound: there is no such message or share (any more).
	ErrNotFound = errors.New("no such message in the spool")
	// ErrClosed: the spool was closed.
	ErrClosed = errors.New("the spool is closed")
	// ErrAway: the database that keeps it doesn't answer. It will by itself.
	ErrAway = errors.New("the database of the queue does not answer")
	// ErrDamaged: what is there isn't what was written. A spool on a disk has set
	// the message aside under bad/, and it is no longer in the queue; in a database
	// it is on hold until Discard.
	ErrDamaged = errors.New("the message is damaged and was set aside")
	// ErrRepeated: a message with this key was accepted before. Such an error is
	// a *Repeated.
	ErrRepeated = errors.New("a message with this key was queued before")
	// ErrManyKeys: so many keys are remembered that this one can't be. Those of
	// one Share may be as many as are still free; some are forgotten with time.
	ErrManyKeys = errors.New("too many keys of messages are remembered")
	// ErrInvalid: an envelope that can't be kept: no recipient, a recipient
	// without upstream, more than 65,535 shares or 255 upstreams in a list,
	// a prefix of more than 64 KiB or that isn't lines of a header.
	ErrInvalid = errors.New("envelope cannot be kept")
)
