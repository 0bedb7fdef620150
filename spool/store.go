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

	// Known tells what Commit would say of a key at this moment: nil, a
	// *Repeated, or ErrManyKeys. It is for asking before the content is read;
	// Commit decides.
	Known(ctx context.Context, k *Key) error

	// Lease takes the lane of an upstream for this relay, or renews the lease
	// that it has, which keeps its epoch. One relay at a time has a lane. A
	// *Leased: another one has it.
	Lease(ctx context.Context, upstream string) (Lease, error)

	// Leave gives a lane back, for another relay to take at once. Whoever
	// leaves it uses neither the lease nor a claim that was made in it any
	// more. A lease that is over already is no error.
	Leave(ctx context.Context, l Lease) error

	// Claim hands out up to max shares that l.Upstream is to be tried with and
	// that are due at now: urgent ones first, then one of each sender in turn,
	// so that no batch starves another, then in the order in which they became
	// due. A sender is a user, or an address with its reverse-path. Before it
	// returns, each attempt is on record together with the time by retry when
	// the share is due again should this process end before Settle. ErrLost:
	// the epoch of l is over. After an error nothing is claimed.
	Claim(ctx context.Context, l Lease, now time.Time, max int, retry Schedule) ([]*Delivery, error)

	// Take claims one share whether it is due or held or not, for an
	// operator or a sweep. It is not an attempt. It is made under the lease of
	// the lane that the share is in, which is taken where nobody has it.
	// ErrClaimed: somebody has the share; a *Leased: another relay has the
	// lane; ErrNotFound: there is no such share, or nothing left in it.
	Take(ctx context.Context, id ID, share int) (*Delivery, error)

	// Discard ends a share that Take has told to be damaged, where the store has
	// kept it in the queue: whom it was owed to is told nowhere, and its message goes
	// with the last share. It is made under the lease of the lane, as Take is.
	// ErrInvalid: it can be read; ErrClaimed, a *Leased and ErrNotFound as Take.
	// After any other error it may be gone.
	Discard(ctx context.Context, id ID, share int) error

	// DotSent records, before the final dot goes out, that the outcome of the
	// attempt can from now on be unknown. It survives the end of the process.
	// ErrLost: d is no claim any more, or its epoch is over, and the dot must
	// not be sent. After any other error it must not be sent either, but may be
	// on record as sent.
	DotSent(ctx context.Context, d *Delivery) error

	// Settle ends a claim. A share of which nothing is Pending any more is
	// gone from the queue, a message without shares from the spool.
	//
	// It goes by d.Token: to settle again what was settled changes nothing and
	// is no error. ErrLost: the claim is somebody else's by now, or of an
	// earlier epoch; ErrNotFound: the message was set aside meanwhile;
	// ErrInvalid: s doesn't fit d, which stays claimed. After any other error
	// the claim has ended as told all the same, and the store writes it as soon
	// as it can; what is known of the Settled is told then, too. A context ends
	// no settlement.
	Settle(ctx context.Context, d *Delivery, s Settlement) (Settled, error)

	// Notify ends the drafts of all notices, as Commit would, by making them
	// durable with their envelopes, and with them settles claims of one message,
	// which they are about: after a crash all of that is found or nothing. After
	// an error nothing was accepted or settled, and the claims go on; but where
	// the answer of a store on a network was lost, all of it may have been.
	// Settle then says so.
	//
	// It goes by the tokens: where all claims were settled before, nothing
	// changes, the drafts are dropped, and it is no error. ErrLost and
	// ErrNotFound: as Settle says them of one of the claims; ErrInvalid: no
	// notice, one with a Key, no claim, an outcome too many, claims of several
	// messages, or one twice.
	Notify(ctx context.Context, notices []Notice, ends ...Ending) (Settled, error)

	// Adopt ends a draft as Commit does, with a message that another store has
	// kept until now: it begins as m tells that it stood there, with its
	// attempts, due times, holds and doubts, and with what has become of those
	// recipients that have ended. A Key of m.Envelope keeps it from being
	// adopted twice. ID, Size and Share in m are the other store's, and say
	// nothing here: recipients with the same Upstreams are one share, which is
	// due with the first of them, held or in doubt if one is, and has the
	// attempts of the one that was tried most. ErrInvalid: nothing is Pending,
	// or m isn't whole.
	Adopt(ctx context.Context, d Draft, m *Detail) error

	// NextDue is the earliest due time of any share that is neither held nor
	// claimed and that upstream is to be tried with; ok is false where there is
	// none.
	NextDue(ctx context.Context, upstream string) (due time.Time, ok bool, err error)

	// OnWork sets the function that is called, without locks held and never
	// to block, whenever a share became due for upstream at an earlier time
	// than before: after a Commit, a Settle, a start; and when another relay
	// leaves a lane, of which due says nothing. It may be called a moment after the
	// call that it is about has returned. Set it once, before use.
	OnWork(wake func(upstream string, due time.Time))

	// Tally counts what there is at now, all of the same moment.
	Tally(ctx context.Context, now time.Time) (Tally, error)

	// Lanes tells, by the names that shares are to be tried with, what waits
	// there. Names without shares are left out.
	Lanes(ctx context.Context) (map[string]LaneState, error)
}

// Lease is a lane that this relay has. A share is claimed by the relay that has
// its lane, and by it alone.
type Lease struct {
	Upstream string
	// Epoch is never 0, and never the same again once the lane has changed
	// hands. A claim carries it in its Token. Once another epoch has begun, or the lane was
	// left, nothing that was claimed in this one changes anything any more.
	Epoch uint64
	// Until is when another relay may take the lane, unless it is renewed. It
	// is reckoned by the clock of this process, monotonic reading included, from
	// before the lease was asked for, so it isn't later than the store takes it
	// to be. Zero: for as long as the process lives.
	Until time.Time
}

// Leased is the error that another relay has a lane. It matches ErrLeased.
type Leased struct {
	Holder string    // the name of that relay
	Until  time.Time // when its lease ends, unless it is renewed
}

func (e *Leased) Error() string { return ErrLeased.Error() + ": " + e.Holder }

// Is makes it match ErrLeased.
func (e *Leased) Is(target error) bool { return target == ErrLeased }

// LaneState is what waits for one upstream.
type LaneState struct {
	Shares int       // that are to be tried with it next, held and claimed ones too
	Due    time.Time // as NextDue tells it, without those that are Scheduled; zero: there are no others
	// Scheduled is when the first of those is due that wait for their NotBefore;
	// zero: there are none.
	Scheduled time.Time
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
	// Usage tells how much the spool holds.
	Usage(ctx context.Context) (Usage, error)
}
