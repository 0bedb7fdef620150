package queue

import (
	"sync"
	"time"

	"postern/config"
	"postern/spool"
)

const (
	// longNap bounds every timer, so that a clock that was set is noticed.
	longNap = 5 * time.Minute
	// storePause is the time after which a store that failed is asked again.
	storePause = 5 * time.Second
)

// lane is everything that goes to one upstream name. What it knows and how it
// decides stands in its state. One goroutine, manage, asks the store what is
// due, ahead of the sessions, and opens sessions.
type lane struct {
	q    *Queue
	name string
	kick chan struct{} // wakes manage; holds one
	quit chan struct{} // closed by stop and retire

	pauseWrite sync.Mutex // held while the pause is written; taken before mu

	mu    sync.Mutex // guards everything below; never held while the store is called
	later []func()   // run once mu is released
	state laneState
}

func newLane(q *Queue, name string, up *config.Upstream) *lane {
	l := &lane{q: q, name: name, kick: make(chan struct{}, 1), quit: make(chan struct{})}
	l.state = laneState{up: up, health: health{state: Up, since: time.Now()}, senders: holdoffs{},
		work: work{hot: true}, sessions: sessions{all: map[*session]struct{}{}}}
	l.remember() // what it has to tell is told when the lane is used first
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

// afterLocked makes unlock call f.
func (l *lane) afterLocked(f func()) { l.later = append(l.later, f) }

func (l *lane) poke() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// wake notes that something is due at the given time. It never blocks for long.
func (l *lane) wake(due time.Time) {
	l.mu.Lock()
	now := time.Now()
	l.state.work.wake(due, now)
	l.state.tenure.woken(now)
	down := l.state.isDown() && l.state.tenure.holder == ""
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
		timer.Reset(l.step())
		select {
		case <-l.kick:
		case <-timer.C:
		case <-l.quit:
			return
		}
	}
}

// step does what can be done now and returns how long it may rest.
func (l *lane) step() time.Duration {
	l.keepLease()
	for n := l.serve(); n > 0 && l.claim(n); n = l.serve() {
	}
	l.probe()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.rest(time.Now())
}

// serve hands out what is claimed, opens sessions for the rest, and returns
// how much more is to be claimed.
func (l *lane) serve() int {
	l.mu.Lock()
	defer l.unlock()
	now, s := time.Now(), &l.state
	s.work.ripen(now)
	s.looked = now
	if !s.flows() || !s.tenure.lasts(now) {
		return 0
	}
	l.calmedLocked(now)
	l.handOutLocked(now)
	if len(s.work.fresh) > 0 && len(s.sessions.all) >= s.limit() {
		s.sessions.makePlace()
	}
	for s.sessions.mayConnect(s.limit()) && l.startLocked(&s.work.fresh, now) {
	}
	s.sessions.falls(s.work.hot || len(s.work.ready) > 0, now)
	for s.sessions.canGrow(now, s.limit()) && l.startLocked(&s.work.ready, now) {
	}
	return s.want(now)
}

// handOutLocked gives what is ready to the sessions that wait.
func (l *lane) handOutLocked(now time.Time) {
	for s := &l.state; len(s.sessions.idle) > 0; {
		d := l.beginLocked(&s.work.ready, now)
		if d == nil {
			return
		}
		f := s.sessions.lastIdle()
		f.hold(d, now)
		f.ch <- d
	}
}

// startLocked opens a session for the first of a list; false: there is none, or
// it is not its time.
func (l *lane) startLocked(list *[]*spool.Delivery, now time.Time) bool {
	d := l.beginLocked(list, now)
	if d == nil {
		return false
	}
	l.spawnLocked(d)
	return true
}

// beginLocked is laneState.begin, and gives back what the rates have no room
// for any more.
func (l *lane) beginLocked(from *[]*spool.Delivery, now time.Time) *spool.Delivery {
	d, stale := l.state.begin(from, now, &l.q.parts)
	if stale {
		l.returnReadyLocked()
	}
	return d
}

// probe tries out a lane that is down, where it is time, with one delivery or,
// where none is due, with a session that only opens.
func (l *lane) probe() {
	l.mu.Lock()
	s := &l.state
	due := s.probes(time.Now())
	if due {
		s.health.probing, s.work.hot = true, true
	}
	l.mu.Unlock()
	if !due {
		return
	}
	l.claim(1)
	l.mu.Lock()
	defer l.unlock()
	now := time.Now()
	switch {
	case !s.health.probing || !s.open(): // changed while the store was asked
		l.returnReadyLocked()
	case len(s.sessions.all) < s.limit():
		l.spawnLocked(l.beginLocked(&s.work.ready, now)) // where the budget is spent, one that only opens
	default:
		s.health.probing = false // all sessions are at work: their answers will tell
		s.health.probeAt = now.Add(probeSteps[0])
		l.returnReadyLocked()
	}
}
