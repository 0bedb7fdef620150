package storetest

import (
	"context"
	"errors"
	"slices"
	"time"

	"postern/spool"
)

// Ops are the calls at which a Faulty can fail.
var Ops = []string{"create", "commit", "known", "lease", "leave", "claim", "take", "dot", "settle", "notify", "due", "lanes", "usage", "tally", "content", "detail", "shares", "find"}

// Faulty is a store that fails where it is told to.
type Faulty struct {
	spool.Store
	// Before is asked before each call, by the name of its Op. After an error
	// the call isn't made. nil: nothing fails.
	Before func(op string) error
	// After is asked after each call that went well. Its error takes the place
	// of the answer, which is lost. nil: nothing fails.
	After func(op string) error
}

// ErrAway is the error of a store that is away.
var ErrAway = errors.New("the store is away")

// Away makes a Faulty fail, or no longer, as the contract says of a store that
// can't be reached: nothing is done, but that a settlement ends its claim. It
// isn't to be called beside others.
func (f *Faulty) Away(away bool) {
	f.Before, f.After = nil, nil
	if !away {
		return
	}
	at := func(settle bool) func(string) error {
		return func(op string) error {
			if settle == (op == "settle") {
				return ErrAway
			}
			return nil
		}
	}
	f.Before, f.After = at(false), at(true)
}

// call makes a call, unless it is to fail.
func call[T any](f *Faulty, op string, do func() (T, error)) (v T, err error) {
	var none T
	if f.Before != nil {
		if err := f.Before(op); err != nil {
			return none, err
		}
	}
	if v, err = do(); err == nil && f.After != nil {
		err = f.After(op)
	}
	if err != nil {
		return none, err
	}
	return v, nil
}

// tell is call where there is nothing but an error.
func tell(f *Faulty, op string, do func() error) error {
	_, err := call(f, op, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// Create implements spool.Store.
func (f *Faulty) Create(ctx context.Context) (spool.Draft, error) {
	return call(f, "create", func() (spool.Draft, error) {
		d, err := f.Store.Create(ctx)
		return &faultyDraft{d, f}, err
	})
}

type faultyDraft struct {
	spool.Draft
	f *Faulty
}

func (d *faultyDraft) Commit(ctx context.Context, env *spool.Envelope) error {
	err := tell(d.f, "commit", func() error { return d.Draft.Commit(ctx, env) })
	if err != nil {
		d.Discard() // does nothing where it was committed
	}
	return err
}

// Notify implements spool.Store.
func (f *Faulty) Notify(ctx context.Context, notices []spool.Notice, ends ...spool.Ending) (spool.Settled, error) {
	own := slices.Clone(notices)
	for i := range own {
		own[i].Draft = own[i].Draft.(*faultyDraft).Draft
	}
	settled, err := call(f, "notify", func() (spool.Settled, error) { return f.Store.Notify(ctx, own, ends...) })
	for i := range own {
		own[i].Draft.Discard() // does nothing where it was committed
	}
	return settled, err
}

// Adopt implements spool.Store.
func (f *Faulty) Adopt(ctx context.Context, d spool.Draft, m *spool.Detail) error {
	own := d.(*faultyDraft).Draft
	err := tell(f, "adopt", func() error { return f.Store.Adopt(ctx, own, m) })
	own.Discard() // does nothing where it was committed
	return err
}

// Known implements spool.Store.
func (f *Faulty) Known(ctx context.Context, k *spool.Key) error {
	return tell(f, "known", func() error { return f.Store.Known(ctx, k) })
}

// Lease implements spool.Store.
func (f *Faulty) Lease(ctx context.Context, upstream string) (spool.Lease, error) {
	return call(f, "lease", func() (spool.Lease, error) { return f.Store.Lease(ctx, upstream) })
}

// Leave implements spool.Store.
func (f *Faulty) Leave(ctx context.Context, l spool.Lease) error {
	return tell(f, "leave", func() error { return f.Store.Leave(ctx, l) })
}

// Claim implements spool.Store. Where its answer is lost, the claims are given
// back, since nothing is claimed after an error.
func (f *Faulty) Claim(ctx context.Context, l spool.Lease, now time.Time, most int, retry spool.Schedule) ([]*spool.Delivery, error) {
	var made []*spool.Delivery
	ds, err := call(f, "claim", func() (_ []*spool.Delivery, err error) {
		made, err = f.Store.Claim(ctx, l, now, most, retry)
		return made, err
	})
	if err != nil {
		f.giveBack(ctx, made, now)
	}
	return ds, err
}

// Take implements spool.Store, as Claim.
func (f *Faulty) Take(ctx context.Context, id spool.ID, share int) (*spool.Delivery, error) {
	var made *spool.Delivery
	d, err := call(f, "take", func() (_ *spool.Delivery, err error) {
		made, err = f.Store.Take(ctx, id, share)
		return made, err
	})
	if err != nil && made != nil {
		f.giveBack(ctx, []*spool.Delivery{made}, time.Now())
	}
	return d, err
}

func (f *Faulty) giveBack(ctx context.Context, made []*spool.Delivery, due time.Time) {
	for _, d := range made {
		f.Store.Settle(ctx, d, spool.Settlement{Due: due, Failover: d.Failover, Answered: true})
	}
}

// Discard implements spool.Store.
func (f *Faulty) Discard(ctx context.Context, id spool.ID, share int) error {
	return tell(f, "discard", func() error { return f.Store.Discard(ctx, id, share) })
}

// DotSent implements spool.Store.
func (f *Faulty) DotSent(ctx context.Context, d *spool.Delivery) error {
	return tell(f, "dot", func() error { return f.Store.DotSent(ctx, d) })
}

// Settle implements spool.Store.
func (f *Faulty) Settle(ctx context.Context, d *spool.Delivery, s spool.Settlement) (spool.Settled, error) {
	return call(f, "settle", func() (spool.Settled, error) { return f.Store.Settle(ctx, d, s) })
}

// NextDue implements spool.Store.
func (f *Faulty) NextDue(ctx context.Context, upstream string) (due time.Time, ok bool, err error) {
	err = tell(f, "due", func() (err error) { due, ok, err = f.Store.NextDue(ctx, upstream); return err })
	return due, ok && err == nil, err
}

// Lanes implements spool.Store.
func (f *Faulty) Lanes(ctx context.Context) (map[string]spool.LaneState, error) {
	return call(f, "lanes", func() (map[string]spool.LaneState, error) { return f.Store.Lanes(ctx) })
}

// Usage implements spool.Store.
func (f *Faulty) Usage(ctx context.Context) (spool.Usage, error) {
	return call(f, "usage", func() (spool.Usage, error) { return f.Store.Usage(ctx) })
}

// Tally implements spool.Store.
func (f *Faulty) Tally(ctx context.Context, now time.Time) (spool.Tally, error) {
	return call(f, "tally", func() (spool.Tally, error) { return f.Store.Tally(ctx, now) })
}

// Content implements spool.Reader.
func (f *Faulty) Content(ctx context.Context, id spool.ID) (spool.Content, error) {
	return call(f, "content", func() (spool.Content, error) { return f.Store.Content(ctx, id) })
}

// Detail implements spool.Reader.
func (f *Faulty) Detail(ctx context.Context, id spool.ID) (*spool.Detail, error) {
	return call(f, "detail", func() (*spool.Detail, error) { return f.Store.Detail(ctx, id) })
}

// Shares implements spool.Reader.
func (f *Faulty) Shares(ctx context.Context, id spool.ID) ([]spool.Summary, error) {
	return call(f, "shares", func() ([]spool.Summary, error) { return f.Store.Shares(ctx, id) })
}

// Find implements spool.Reader.
func (f *Faulty) Find(ctx context.Context, q spool.Query, visit func(spool.Summary) bool) error {
	return tell(f, "find", func() error { return f.Store.Find(ctx, q, visit) })
}
