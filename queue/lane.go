package queue

import (
	"sync"
	"time"

	"postern/config"
	"postern/queue/budget"
	"postern/queue/pace"
	"postern/spool"
)

const (
	// longNap bounds every timer, so that a clock that was set is noticed.
	longNap = 5 * time.Minute
	// storePause is the time after which a store that failed is asked again.
	storePause = 5 * time.Second
	// maxBatch bounds what one claim takes.
	maxBatch = 64
	// defaultConnections is used where an upstream doesn't say.
	defaultConnections = 8
	// growPatience is how long the open sessions are given to catch up before
	// another one is opened. Few busy ones cost less than many that are woken
	// for a message each, on both sides, and chain more.
	growPatience = 5 * time.Millisecond
)

// lane is everything that goes to one upstream name. One goroutine, manage,
// claims and opens sessions; a session that wants more claims for itself.
type lane struct {
	q    *Queue
	name string
	kick chan struct{} // wakes manage; holds one
	quit chan struct{} // closed by stop and retire

	pauseWrite sync.Mutex // held while the pause is written; taken before mu

	mu       sync.Mutex // guards everything below; never held while the store is called
	later    []func()   // run once mu is released
	up       *config.Upstream
	gen      int // counts the settings that up has had
	pause    pause
	stopping bool
	health   health
	pace     pace.Pace
	budget   *budget.Budget // has its own mutex
	short    shortage
	senders  holdoffs

	connections connections

	tenure tenure // of its lease

	hot      bool      // something may be due
	nextWake time.Time // the next due time; zero: none known
	claiming bool
	ready    []*spool.Delivery // claimed and waiting for a session
	fresh    []*spool.Delivery // claimed and waiting for a session that has carried nothing

	feeds      map[*Feed]struct{}
	idle       []*Feed   // waiting in Next
	connecting int       // sessions that have not asked for work yet
	open       int       // sessions that have
	behind     time.Time // since when there is more to do than the open sessions take; zero: they keep up
	growAt     time.Time
	growStep   int // sessions in a row that could not be opened beside others
	barren     int // sessions in a row that ended well and did nothing
	renewals   int // sessions that had carried as much as a connection may, and have no successor yet

	limited bool // budget has been read
	unkept  bool // the state folder could not be written at the last try
}

func newLane(q *Queue, name string, up *config.Upstream) *lane {
	l := &lane{q: q, name: name, up: up, hot: true, kick: make(chan struct{}, 1), quit: make(chan struct{}),
		health: health{state: Up, since: time.Now()}, senders: holdoffs{}, feeds: map[*Feed]struct{}{}}
	l.remember()
	return l
}

// unlock releases mu and then does what had to wait for that.
func (l *lane) unlock() {
	later := l.later
	l.later = nil
	l.mu.Unlock()
	for _, f := range later {
		f()
	}
}

// after makes unlock call f. mu is held.
func (l *lane) after(f func()) { l.later = append(l.later, f) }

func (l *lane) poke() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// wake notes that something is due at the given time. It never blocks for long.
func (l *lane) wake(due time.Time) {
	l.mu.Lock()
	if !due.After(time.Now()) {
		l.hot = true
	} else if l.nextWake.IsZero() || due.Before(l.nextWake) {
		l.nextWake = due
	}
	down := l.isDown()
	l.mu.Unlock()
	if down {
		l.q.keeper.failoverSoon()
		return
	}
	l.poke()
}

// manage runs the lane until it is stopped.
func (l *lane) manage() {
	timer := time.NewTimer(longNap)
	defer timer.Stop()
	for {
		rest := l.step()
		if rest == 0 {
			l.askLease()
			continue
		}
		timer.Reset(rest)
		select {
		case <-l.kick:
		case <-timer.C:
		case <-l.quit:
			return
		}
	}
}

// step does what can be done now and returns how long it may rest; 0: the lease
// of the lane has to be asked for first.
func (l *lane) step() time.Duration {
	l.mu.Lock()
	defer l.unlock()
	now := time.Now()
	if l.tenure.over(now) {
		l.loseLease()
	}
	if !l.stopping && l.tenure.due(now) {
		return 0
	}
	return min(l.work(now), l.tenure.wait(now))
}

// work is step under the lease. mu is held.
func (l *lane) work(now time.Time) time.Duration {
	if !l.nextWake.IsZero() && !now.Before(l.nextWake) {
		l.hot, l.nextWake = true, time.Time{}
	}
	switch {
	case l.stopping || l.pause.Paused || l.up == nil || !l.tenure.lasts(now):
		return longNap
	case l.health.state == Up:
		l.calmed(now)
		l.dispatch(now)
	case !l.health.probing && !now.Before(l.health.probeAt):
		l.probe()
	}
	return l.rest(now)
}

// rest is the time until something is to be done unasked.
func (l *lane) rest(now time.Time) time.Duration {
	d := longNap
	until := func(t time.Time) {
		if !t.IsZero() {
			d = min(d, max(t.Sub(now), time.Millisecond))
		}
	}
	if l.health.state != Up {
		if !l.health.probing {
			until(l.health.probeAt)
		}
		return d
	}
	until(l.nextWake)
	if l.hot || len(l.ready)+len(l.fresh) > 0 {
		for _, t := range [...]time.Time{l.growAt, l.patientUntil()} {
			if now.Before(t) {
				until(t)
			}
		}
		until(l.pace.Wait(now))
		until(l.budget.Next())
	}
	if l.pace.Slowed() && now.Before(l.pace.CalmAt()) {
		until(l.pace.CalmAt())
	}
	return d
}

// dispatch hands out what is due and opens sessions for the rest. mu is held.
func (l *lane) dispatch(now time.Time) {
	for l.flows() {
		l.handOut()
		l.renew()
		if l.behind.IsZero() && len(l.idle) == 0 && (l.hot || len(l.ready) > 0) {
			l.behind = now
		}
		l.grow(now)
		n := l.want(now)
		if len(l.ready) > 0 || n == 0 || !l.hot || l.claiming || !l.fill(n) {
			return
		}
	}
}

// flows says whether deliveries may be taken at all. mu is held.
func (l *lane) flows() bool {
	return !l.stopping && !l.pause.Paused && l.up != nil && l.health.state == Up
}

// isDown says whether the mail of the lane has reason to go elsewhere: not
// where an operator has paused it. mu is held.
func (l *lane) isDown() bool {
	return !l.pause.Paused && (l.up == nil || l.health.state != Up)
}

// takesMore says whether what is due here is served, and mail may be moved here.
func (l *lane) takesMore() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flows()
}

// sessions is the limit of sessions at present. mu is held, up is set.
func (l *lane) sessions() int {
	if l.pace.Slowed() {
		return min(l.most(), l.pace.Sessions())
	}
	return l.most()
}

// most is what the configuration says. mu is held, up is set.
func (l *lane) most() int {
	if l.up.MaxConnections <= 0 {
		return defaultConnections
	}
	return l.up.MaxConnections
}

// batch is how much one claim takes while sessions are open. mu is held.
func (l *lane) batch() int { return min(maxBatch, max(8, 4*l.sessions())) }

// canGrow says whether one more session may be opened. While none is open one
// has to show that it works; from then on, where those that are open don't
// keep up, each may bring one along: no herd after a restart or an outage.
// mu is held.
func (l *lane) canGrow(now time.Time) bool {
	if len(l.feeds) >= l.sessions() || l.connecting >= max(1, l.open)+l.renewals {
		return false
	}
	return l.open == 0 || l.renewals > 0 || !l.behind.IsZero() && !now.Before(l.patientUntil()) && !now.Before(l.growAt)
}

// patientUntil is when the open sessions have had their time to catch up. mu
// is held.
func (l *lane) patientUntil() time.Time { return l.behind.Add(growPatience) }

// want is how many deliveries could be put to work. mu is held.
func (l *lane) want(now time.Time) int {
	switch {
	case l.open == 0 && l.canGrow(now):
		return 1 // should the session fail, only one share has to be written down
	case l.open > 0 && (len(l.idle) > 0 || l.canGrow(now)):
		return l.batch()
	}
	return 0
}

// handOut gives what is ready to the sessions that wait. mu is held.
func (l *lane) handOut() {
	for len(l.ready) > 0 && len(l.idle) > 0 {
		d := l.begin(&l.ready)
		if d == nil {
			return
		}
		f := l.idle[len(l.idle)-1] // the last one: the others may close in time
		l.idle = l.idle[:len(l.idle)-1]
		f.waiting = false
		f.hold(d, time.Now())
		f.ch <- d
	}
}

// grow opens sessions for what is ready and has none. mu is held.
func (l *lane) grow(now time.Time) {
	for len(l.ready) > 0 && l.canGrow(now) {
		d := l.begin(&l.ready)
		if d == nil {
			return
		}
		l.renewals = max(0, l.renewals-1)
		l.spawn(d)
	}
}

// renew opens sessions for what a used connection would not take. mu is held.
func (l *lane) renew() {
	if len(l.fresh) > 0 && len(l.feeds) >= l.sessions() {
		l.makePlace()
	}
	for len(l.fresh) > 0 && len(l.feeds) < l.sessions() && l.connecting < max(1, l.open)+l.renewals {
		d := l.begin(&l.fresh)
		if d == nil {
			return
		}
		l.renewals = max(0, l.renewals-1)
		l.spawn(d)
	}
}

// makePlace ends a session, unless one is ending: those that stay open must
// not keep a fresh one out. One without work comes first. mu is held.
func (l *lane) makePlace() {
	var chosen *Feed
	for f := range l.feeds {
		switch {
		case f.ended:
			return
		case f.opened && (chosen == nil || f.waiting):
			chosen = f
		}
	}
	if chosen != nil {
		chosen.finish()
	}
}

// probe tries out a lane that is down with one delivery or, where none is due,
// with a session that only opens. mu is held.
func (l *lane) probe() {
	l.health.probing = true
	l.hot = true
	if !l.claiming {
		l.fill(1)
	}
	switch {
	case !l.health.probing || l.stopping || l.pause.Paused || l.up == nil:
		// Changed while the store was asked.
		l.returnReady()
	case len(l.feeds) < l.sessions():
		l.spawn(l.begin(&l.ready)) // where the budget is spent, one that only opens
	default:
		l.health.probing = false // all sessions are at work: their answers will tell
		l.health.probeAt = time.Now().Add(probeSteps[0])
		l.returnReady()
	}
}
