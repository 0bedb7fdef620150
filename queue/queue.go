package queue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"postern/config"
	"postern/spool"
)

// Options are what a queue is made of.
type Options struct {
	Store     spool.Store
	Deliverer Deliverer
	Config    *config.Config
	// State keeps pauses and what rates have counted; nil: they are kept for as
	// long as the queue lives.
	State spool.State
	// Events is told what happens; nil: nobody is.
	Events func(Event)
	// Route says who gets a notification to the sender of a message that went by
	// upstreams, and by which: the list is the caller's. An empty one: nobody,
	// and it is not made. nil: the sender, by upstreams.
	Route func(sender string, upstreams []string) []spool.Recipient
	// Grace is how long Run lets transactions under way end after its context
	// is done; zero means 30 s.
	Grace time.Duration
}

// Queue drives what the store holds to its upstreams. Its methods may be
// called concurrently.
type Queue struct {
	store     spool.Store
	state     spool.State // may be nil
	deliverer Deliverer
	tell      func(Event)
	route     func(sender string, upstreams []string) []spool.Recipient
	grace     time.Duration
	cfg       atomic.Pointer[config.Config]

	ctx    context.Context // of the sessions; done as soon as the queue stops
	always context.Context // of what a stop must not cut short; never done
	cancel context.CancelFunc
	work   sync.WaitGroup // lanes, sessions and the keeper
	keeper *keeper
	doubts doubts
	wishes wishes
	parts  parts
	admin  sync.Mutex // one operator or sweep at a time

	started time.Time // set by Start, before anything reads it

	making sync.Mutex // held while a lane is made, which reads the state folder; taken before mu

	mu      sync.RWMutex
	lanes   map[string]*lane
	running bool
	stopped bool
}

// New makes a queue. It registers itself with the store; nothing is delivered
// before Start or Run.
func New(o Options) *Queue {
	q := &Queue{store: o.Store, state: o.State, deliverer: o.Deliverer, tell: o.Events, route: o.Route,
		grace: o.Grace, lanes: map[string]*lane{}}
	if q.tell == nil {
		q.tell = func(Event) {}
	}
	if q.grace <= 0 {
		q.grace = 30 * time.Second
	}
	q.always = context.Background()
	q.ctx, q.cancel = context.WithCancel(q.always)
	q.keeper = newKeeper(q)
	q.doubts.by = map[key]doubt{}
	q.cfg.Store(o.Config)
	q.store.OnWork(q.onWork)
	return q
}

// Create begins a message, for the intake. It goes on working after Stop, for
// as long as the store is open.
func (q *Queue) Create(ctx context.Context) (spool.Draft, error) {
	d, err := q.store.Create(ctx)
	if err != nil {
		return nil, err
	}
	return &draft{Draft: d, q: q}, nil
}

// Known tells what a commit would say of a key.
func (q *Queue) Known(ctx context.Context, k *spool.Key) error { return q.store.Known(ctx, k) }

// draft tells the keeper of deadlines that are nearer than its next round.
type draft struct {
	spool.Draft
	q *Queue
}

func (d *draft) Commit(ctx context.Context, env *spool.Envelope) error {
	err := d.Draft.Commit(ctx, env)
	if err == nil && env.DeliverBy != nil {
		d.q.keeper.sweepBy(env.DeliverBy.Deadline)
	}
	return err
}

// Run delivers until ctx is done, then stops within the grace period.
func (q *Queue) Run(ctx context.Context) error {
	q.Start()
	<-ctx.Done()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), q.grace)
	defer cancel()
	return q.Stop(end)
}

// Start opens the lanes of everything that is configured or waiting.
func (q *Queue) Start() {
	q.mu.Lock()
	if q.running || q.stopped {
		q.mu.Unlock()
		return
	}
	q.running = true
	q.started = time.Now()
	for _, l := range q.lanes {
		q.work.Go(l.manage)
	}
	q.mu.Unlock()
	q.fitLanes()
	q.work.Go(q.keeper.run)
}

// fitLanes opens the lanes of what is configured or waiting, and ends those of
// names that are neither. A store that can't tell what waits is asked again.
func (q *Queue) fitLanes() {
	pending, err := q.store.Lanes(q.ctx)
	if err != nil {
		q.storeFailed("list", 0, err)
		q.keeper.fitBy(time.Now().Add(storePause))
	}
	cfg := q.cfg.Load()
	var retired []*lane
	defer func() {
		for _, l := range retired {
			l.leave(q.ctx)
		}
	}()
	for name := range cfg.Upstreams {
		q.laneOf(name)
	}
	for name := range pending {
		q.laneOf(name)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, l := range q.lanes {
		if err == nil && cfg.Upstreams[name] == nil && pending[name].Shares == 0 && l.retire() {
			delete(q.lanes, name)
			retired = append(retired, l)
		}
	}
}

// storeFailed reports what the store could not do, unless the queue has
// stopped meanwhile, or what it was about is gone or somebody else's.
func (q *Queue) storeFailed(operation string, id spool.ID, err error) {
	switch {
	case errors.Is(err, spool.ErrNotFound), errors.Is(err, spool.ErrClaimed), errors.Is(err, spool.ErrDamaged), errors.Is(err, spool.ErrLost), errors.Is(err, spool.ErrLeased):
	case errors.Is(err, context.Canceled) && q.ctx.Err() != nil:
	default:
		q.tell(&StoreFailed{operation, id, err})
	}
}

// Stop ends delivery: nothing new is claimed, what was claimed and not begun
// is given back, and transactions under way may end until ctx is done, whose
// error is returned where some had not. What those had claimed is due again
// by the time that was recorded with the claim.
func (q *Queue) Stop(ctx context.Context) error {
	q.mu.Lock()
	q.stopped = true
	lanes := q.lanesLocked()
	q.mu.Unlock()
	q.cancel()
	for _, l := range lanes {
		l.stop()
	}
	done := make(chan struct{})
	go func() {
		q.work.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	for _, l := range lanes {
		l.keepBudget()
		if err == nil { // else the lease ends by itself: what is under way may still be settled
			l.leave(ctx)
		}
	}
	return err
}

// Apply puts another configuration in force. Sessions of an upstream that
// changed end after the message they are at; the mail of one that vanished
// waits for its name to come back.
func (q *Queue) Apply(cfg *config.Config) {
	q.cfg.Store(cfg)
	q.fitLanes()
	q.mu.RLock()
	lanes := q.lanesLocked()
	q.mu.RUnlock()
	for _, l := range lanes {
		l.apply(cfg.Upstreams[l.name])
	}
	q.keeper.sweepBy(time.Now())
	q.keeper.failover()
}

// onWork is called by the store when something became due earlier.
func (q *Queue) onWork(upstream string, due time.Time) { q.laneOf(upstream).wake(due) }

// laneOf returns the lane of a name, making it if need be.
func (q *Queue) laneOf(name string) *lane {
	if l := q.lane(name); l != nil {
		return l
	}
	q.making.Lock()
	defer q.making.Unlock()
	if l := q.lane(name); l != nil {
		return l
	}
	cfg := q.cfg.Load()
	l := newLane(q, name, cfg.Upstreams[name])
	q.mu.Lock()
	q.lanes[name] = l
	if q.running && !q.stopped {
		q.work.Go(l.manage)
	}
	q.mu.Unlock()
	if now := q.cfg.Load(); now != cfg { // Apply has perhaps not seen it
		l.apply(now.Upstreams[name])
	}
	return l
}

func (q *Queue) lanesLocked() []*lane {
	lanes := make([]*lane, 0, len(q.lanes))
	for _, l := range q.lanes {
		lanes = append(lanes, l)
	}
	return lanes
}

// lane returns the lane of a name, or nil.
func (q *Queue) lane(name string) *lane {
	q.mu.RLock()
	defer q.mu.RUnlock()
	return q.lanes[name]
}

// isUp says whether mail may be moved to the upstream of that name.
func (q *Queue) isUp(name string) bool {
	l := q.lane(name)
	return l != nil && l.exit().up
}
