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
	// Events may be nil.
	Events Events
	// Route names the upstreams, in failover order, that a notification goes
	// by: from is its reverse-path, always "", to the original sender. nil, or
	// an empty answer: the upstreams of the original message.
	Route func(from, to string) []string
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
	events    Events
	route     func(from, to string) []string
	grace     time.Duration
	cfg       atomic.Pointer[config.Config]

	ctx    context.Context // of the sessions; done as soon as the queue stops
	cancel context.CancelFunc
	work   sync.WaitGroup // lanes, sessions and the keeper
	keeper *keeper
	doubts doubts
	wishes wishes
	parts  parts
	admin  sync.Mutex // one operator or sweep at a time

	started time.Time // set by Start, before anything reads it

	mu      sync.RWMutex
	lanes   map[string]*lane
	running bool
	stopped bool
}

// ErrBusy says that an attempt is under way with what an operator asked for.
var ErrBusy = errors.New("an attempt is under way; try again when it has ended")

// New makes a queue. It registers itself with the store; nothing is delivered
// before Start or Run.
func New(o Options) *Queue {
	q := &Queue{store: o.Store, state: o.State, deliverer: o.Deliverer, events: o.Events, route: o.Route,
		grace: o.Grace, lanes: map[string]*lane{}}
	if q.events == nil {
		q.events = quiet{}
	}
	if q.grace <= 0 {
		q.grace = 30 * time.Second
	}
	q.ctx, q.cancel = context.WithCancel(context.Background())
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

// draft tells the keeper of deadlines that are nearer than its next round.
type draft struct {
	spool.Draft
	q *Queue
}

func (d *draft) Commit(env *spool.Envelope) error {
	err := d.Draft.Commit(env)
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
	cfg := q.cfg.Load()
	pending := q.store.Upstreams()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running || q.stopped {
		return
	}
	q.running = true
	q.started = time.Now()
	for name := range cfg.Upstreams {
		q.addLane(name)
	}
	for name := range pending {
		q.addLane(name)
	}
	for _, l := range q.lanes {
		q.work.Go(l.manage)
	}
	q.work.Go(q.keeper.run)
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
	}
	return err
}

// Apply puts another configuration in force. Sessions of an upstream that
// changed end after the message they are at; the mail of one that vanished
// waits for its name to come back.
func (q *Queue) Apply(cfg *config.Config) {
	q.cfg.Store(cfg)
	pending := q.store.Upstreams()
	q.mu.Lock()
	for name := range cfg.Upstreams {
		q.addLaneRunning(name)
	}
	for name, l := range q.lanes {
		if cfg.Upstreams[name] == nil && pending[name] == 0 && l.retire() {
			delete(q.lanes, name)
		}
	}
	lanes := q.lanesLocked()
	q.mu.Unlock()
	for _, l := range lanes {
		l.apply(cfg.Upstreams[l.name])
	}
	q.keeper.sweepBy(time.Now())
	q.keeper.failover()
}

// onWork is called by the store when something became due earlier.
func (q *Queue) onWork(upstream string, due time.Time) {
	q.mu.RLock()
	l := q.lanes[upstream]
	q.mu.RUnlock()
	if l == nil {
		q.mu.Lock()
		l = q.addLaneRunning(upstream)
		q.mu.Unlock()
	}
	l.wake(due)
}

// addLane returns the lane of a name, making it if need be. q.mu is held.
func (q *Queue) addLane(name string) *lane {
	l := q.lanes[name]
	if l == nil {
		l = newLane(q, name, q.cfg.Load().Upstreams[name])
		q.lanes[name] = l
	}
	return l
}

// addLaneRunning is addLane for a queue that may be under way.
func (q *Queue) addLaneRunning(name string) *lane {
	if l := q.lanes[name]; l != nil {
		return l
	}
	l := q.addLane(name)
	if q.running && !q.stopped {
		q.work.Go(l.manage)
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
	return l != nil && l.takesMore()
}
