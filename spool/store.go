package spool

import (
	"context"
	"time"
)

// Store is what keeps messages, as the queue asks it. *journal.Store is the
// implementation on a local disk; a database shared by several relays can be
// another, so nothing here assumes that this process is the only one that
// claims, or that an answer comes at once. All methods may be called
// concurrently.
//
// A context that is done before a call has begun to change anything makes it
// return the error of the context, and nothing has happened. What has begun may
// be finished all the same; then the answer is that of the finished call, or an
// error which means what the method says of its errors. No answer is ever a
// guess.
type Store interface {
	Reader

	// Create begins a message. ErrFull means that the spool has reached
	// its maximum size or the disk its minimum of free space.
	Create(ctx context.Context) (Draft, error)

	// Claim hands out up to max shares that upstream is to be tried with and
	// that are due at now: urgent ones first, then one of each sender in turn,
	// so that no batch starves another, then in the order in which they became
	// due. A sender is a user, or an address with its reverse-path. Before it
	// returns, each attempt is on record together with the time by retry when
	// the share is due again should this process end before Settle. After an
	// error nothing is claimed.
	Claim(ctx context.Context, upstream string, now time.Time, max int, retry Schedule) ([]*Delivery, error)

	// Take claims one share whether it is due or held or not, for an
	// operator or a sweep. It is not an attempt. ErrClaimed: somebody
	// has it; ErrNotFound: there is no such share, or nothing left in it.
	Take(ctx context.Context, id ID, share int) (*Delivery, error)

	// DotSent records, before the final dot goes out, that the outcome of the
	// attempt can from now on be unknown. It survives the end of the process.
	// ErrLost: d is no claim any more, and the dot must not be sent.
	DotSent(ctx context.Context, d *Delivery) error

	// Settle ends a claim. A share of which nothing is Pending any more is
	// gone from the queue, a message without shares from the spool.
	//
	// It goes by d.Token: to settle again what was settled changes nothing and
	// is no error. ErrLost: the claim is somebody else's by now, or of an
	// earlier epoch; ErrNotFound: the message was set aside meanwhile;
	// ErrInvalid: s doesn't fit d, which stays claimed. After any other error
	// the claim has ended as told all the same, and the store writes it as soon
	// as it can. A context ends no settlement.
	Settle(ctx context.Context, d *Delivery, s Settlement) error

	// NextDue is the earliest due time of any share that is neither held nor
	// claimed and that upstream is to be tried with; ok is false where there is
	// none.
	NextDue(ctx context.Context, upstream string) (due time.Time, ok bool, err error)

	// OnWork sets the function that is called, without locks held and never
	// to block, whenever a share became due for upstream at an earlier time
	// than before: after a Commit, a Settle, a start. Set it once, before use.
	OnWork(wake func(upstream string, due time.Time))

	// Upstreams lists the names that shares are to be tried with, with the
	// number of shares of each.
	Upstreams(ctx context.Context) (map[string]int, error)
}

// Reader is the part of a Store that changes nothing.
type Reader interface {
	// Content opens the content of a message. ErrNotFound; ErrDamaged.
	Content(ctx context.Context, id ID) (Content, error)
	// Detail tells everything about one message. ErrNotFound; ErrDamaged.
	Detail(ctx context.Context, id ID) (*Detail, error)
	// Shares tells what is owed of one message, in the order of its shares.
	// ErrNotFound.
	Shares(ctx context.Context, id ID) ([]Summary, error)
	// Find calls visit for each share that q selects, in ID order, until it
	// returns false, which is no error. It holds no lock during visit. A share
	// that is owed and selected all the time is visited once, one that comes or
	// ends meanwhile perhaps; what visit is told may have changed since.
	Find(ctx context.Context, q Query, visit func(Summary) bool) error
}
