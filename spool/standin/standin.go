// Package standin accepts mail into a local spool while the database that keeps
// the queue is away, and moves it there when that is back. It implements
// spool.Store.
//
// What is in the local spool is accepted and nothing else: it is delivered, and
// can be listed and operated on, once it is in the database.
package standin

import (
	"context"
	"errors"
	"sync"
	"time"

	"postern/spool"
)

// Options say what stands in for what.
type Options struct {
	// Shared keeps the queue. Answers tells, soon and from memory in most cases,
	// whether it can be written.
	Shared  spool.Store
	Answers func(ctx context.Context) bool
	// Local takes mail meanwhile. Nobody else uses it.
	Local spool.Store
	// Accept: it takes mail. Else it is emptied only.
	Accept bool
	// Events hears what happens; nil: nobody does. It must be quick.
	Events func(Event)
}

// Event is what a Store tells of: a pointer to one of the types below.
type Event interface{ event() }

// Began: from now on mail is accepted into the local spool.
type Began struct{}

// Moved: so many messages were moved into the database, and none is left.
type Moved struct{ Messages int }

// MovedOne: a message that had the ID Old has ID in the database. Repeated: it
// was there already.
type MovedOne struct {
	ID, Old  spool.ID
	Envelope *spool.Envelope
	Repeated bool
}

// Failed: a message could not be moved. It is tried again.
type Failed struct {
	ID  spool.ID // 0: it is not about one message
	Err error
}

func (*Began) event()    {}
func (*Moved) event()    {}
func (*MovedOne) event() {}
func (*Failed) event()   {}

// Store is a queue in a database with a local spool that stands in for it. Its
// methods may be called concurrently.
type Store struct {
	spool.Store // the database
	opts        Options

	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{} // something is in the local spool

	mu    sync.Mutex // guards what follows
	local bool       // the last message went to the local spool
}

// New begins to empty the local spool. Close it before the two stores.
func New(opts Options) *Store {
	if opts.Events == nil {
		opts.Events = func(Event) {}
	}
	s := &Store{Store: opts.Shared, opts: opts, wake: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.work.Go(func() { s.moving(ctx) })
	return s
}

// Close ends the moving. What is left waits in the local spool for the next
// process.
func (s *Store) Close() {
	s.cancel()
	s.work.Wait()
}

// Waiting tells how many messages are in the local spool, and whether the next one
// would go there.
func (s *Store) Waiting(ctx context.Context) (messages int, away bool) {
	u, _ := s.opts.Local.Usage(ctx)
	return u.Messages, s.opts.Accept && !s.opts.Answers(ctx)
}

// draft is one of either store.
type draft struct {
	spool.Draft
	s     *Store
	local bool
}

// Create implements spool.Store.
func (s *Store) Create(ctx context.Context) (spool.Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !s.opts.Accept || s.opts.Answers(ctx) {
		d, err := s.opts.Shared.Create(ctx)
		if err == nil {
			return &draft{d, s, false}, nil
		}
		if !s.opts.Accept || errors.Is(err, spool.ErrFull) || errors.Is(err, spool.ErrClosed) || ctx.Err() != nil {
			return nil, err
		}
	}
	d, err := s.opts.Local.Create(ctx)
	if err != nil {
		return nil, err
	}
	return &draft{d, s, true}, nil
}

// Commit implements spool.Draft.
func (d *draft) Commit(ctx context.Context, env *spool.Envelope) error {
	err := d.Draft.Commit(ctx, env)
	if err == nil {
		d.s.accepted(d.local)
	}
	return err
}

// accepted notes where a message went.
func (s *Store) accepted(local bool) {
	s.mu.Lock()
	began := local && !s.local
	s.local = local
	s.mu.Unlock()
	if began {
		s.opts.Events(&Began{})
	}
	if local {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// Known implements spool.Store.
func (s *Store) Known(ctx context.Context, k *spool.Key) error {
	if !s.opts.Accept || s.opts.Answers(ctx) {
		return s.opts.Shared.Known(ctx, k)
	}
	return s.opts.Local.Known(ctx, k)
}

// inner is the draft of the database; ErrAway: d is one of the local spool.
func inner(d spool.Draft) (spool.Draft, error) {
	own, ok := d.(*draft)
	switch {
	case !ok:
		return d, nil // which Shared refuses
	case own.local:
		return own.Draft, spool.ErrAway
	}
	return own.Draft, nil
}

// Adopt implements spool.Store. Nothing is adopted while the database is away.
func (s *Store) Adopt(ctx context.Context, d spool.Draft, m *spool.Detail) error {
	in, err := inner(d)
	if err != nil {
		in.Discard()
		return err
	}
	return s.opts.Shared.Adopt(ctx, in, m)
}

// Notify implements spool.Store. What is settled in the database is told there.
func (s *Store) Notify(ctx context.Context, notices []spool.Notice, ends ...spool.Ending) (spool.Settled, error) {
	made := make([]spool.Notice, len(notices))
	var away error
	for i, n := range notices {
		in, err := inner(n.Draft)
		if err != nil {
			away = err
		}
		made[i] = spool.Notice{Draft: in, Envelope: n.Envelope}
	}
	if away != nil {
		for _, n := range made {
			n.Draft.Discard()
		}
		return spool.Settled{}, away
	}
	return s.opts.Shared.Notify(ctx, made, ends...)
}

// sleep waits; false: ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
