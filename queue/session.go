package queue

import (
	"errors"
	"runtime/debug"
	"slices"
	"time"

	"postern/config"
	"postern/queue/verdict"
	"postern/spool"
)

// spawnLocked opens a session for a delivery, or for none: a probe that only
// has to open.
func (l *lane) spawnLocked(first *spool.Delivery) {
	s := &l.state
	f := &Feed{lane: l, session: session{up: s.up, gen: s.gen, first: first, firstAt: time.Now(), empty: first == nil,
		ch: make(chan *spool.Delivery, 1), end: make(chan struct{})}}
	s.sessions.add(&f.session)
	l.q.work.Go(func() {
		l.ended(f, l.q.deliver(f))
	})
}

// deliver carries out one session. What it does wrong is its own fault, also
// where that comes of the error that it ended with.
func (q *Queue) deliver(f *Feed) (fault *spool.Fault) {
	defer func() {
		if v := recover(); v != nil {
			q.tell(&Panicked{f.lane.name, v, debug.Stack()})
			fault = faultOf(f.up, &verdict.Defect{Value: v})
		}
	}()
	return faultOf(f.up, q.deliverer.Deliver(q.ctx, f.up, f))
}

// faultOf turns what Deliver returned into a fault; nil: an orderly end.
func faultOf(up *config.Upstream, err error) *spool.Fault {
	if err == nil {
		return nil
	}
	var fault *spool.Fault
	if errors.As(err, &fault) {
		return fault
	}
	stage := spool.StageConnect
	var defect *verdict.Defect
	if errors.As(err, &defect) {
		stage = spool.StageLocal
	}
	return &spool.Fault{Err: err, Outcome: spool.Outcome{Stage: stage, Remote: up.Host, Cause: err.Error()}}
}

// ended draws the conclusion from a session.
func (l *lane) ended(f *Feed, fault *spool.Fault) {
	l.abandoned(f, fault)

	l.mu.Lock()
	defer l.unlock()
	s := &l.state
	s.sessions.leave(&f.session, time.Now())
	first := f.first
	f.first = nil
	s.connections.forget(first)
	stale := f.gen != s.gen || l.q.ctx.Err() != nil
	var due time.Time
	if fault != nil && !stale {
		l.afterLocked(func() { l.q.tell(&SessionFailed{l.name, f.opened, f.settled, fault.Outcome}) })
		due = l.blameLocked(f, fault)
	} else if !stale {
		l.orderlyLocked(f)
	}
	l.poke()
	if first != nil {
		s.unsent(newTaking(first, f.firstAt), &l.q.parts)
	}
	switch {
	case first == nil:
	case due.IsZero() && s.flows():
		s.work.putBack(first) // the others will take it
	case due.IsZero():
		l.afterLocked(func() { l.q.giveBack(first) })
	default:
		l.afterLocked(func() { l.q.failedBefore(f, first, fault, due) })
	}
}

// blameLocked judges the fault of a session. It returns when the delivery that
// the session was opened for is to be tried again, zero where others can take
// it now.
func (l *lane) blameLocked(f *Feed, fault *spool.Fault) time.Time {
	now, s := time.Now(), &l.state
	v := verdict.OfFault(fault)
	switch {
	case verdict.IsDefect(fault):
	case f.opened && f.progressed:
		return time.Time{} // it did its work and was cut off; the next one may
	case !f.opened && s.health.state == Up && s.sessions.early(f.firstAt, &fault.Outcome):
		return time.Time{}
	case s.sessions.open > 0 && s.health.state == Up && !f.opened:
		// Others work: the upstream wants no more of them.
		s.sessions.refused(now, l.q.cfg.Load().Retry.Backoff)
		return time.Time{}
	}
	l.failLocked(now, fault.Outcome, v.Blame, f.opened)
	return s.health.probeAt
}

// orderlyLocked is the end of a session that found no fault.
func (l *lane) orderlyLocked(f *Feed) {
	s := &l.state
	s.health.probing = s.health.probing && s.sessions.connecting+s.sessions.open > 0
	if f.opened && (f.settled == 0 || f.progressed || f.empty) {
		s.sessions.fruitless = 0
		return
	}
	// It ended well without asking for work, or took some and gave all of it
	// back. Once is bad luck.
	if s.sessions.fruitless++; s.sessions.fruitless > 1 {
		l.failLocked(time.Now(), spool.Outcome{Stage: spool.StageConnect, Remote: f.up.Host,
			Text: "the session ended without an answer"}, verdict.Upstream, true)
	}
}

// failLocked takes the lane down, or keeps it down.
func (l *lane) failLocked(now time.Time, o spool.Outcome, b verdict.Blame, needAnswer bool) {
	s := &l.state
	was := s.shown()
	s.health.fail(now, o, b, needAnswer, l.q.cfg.Load().Retry.Backoff)
	s.sessions.renewals = 0
	s.sessions.endAll() // a session that is part of the trouble is not asked whether it is over
	l.returnReadyLocked()
	l.poke()
	l.announceLocked(was, now, "")
	l.afterLocked(l.q.keeper.failoverSoon)
}

// recoveredLocked opens the lane again.
func (l *lane) recoveredLocked(now time.Time) {
	s := &l.state
	was := s.shown()
	if !s.health.recover(now) {
		return
	}
	s.work.hot = true
	s.sessions.renewed()
	s.pace.Resumed(now)
	l.poke()
	l.announceLocked(was, now, "")
	l.afterLocked(l.q.keeper.failoverSoon) // others may be waiting for it
}

// announceLocked tells that the visible state has changed. by is the operator
// who did it.
func (l *lane) announceLocked(was shown, now time.Time, by string) {
	s := &l.state
	state := s.visible()
	if state == was.state {
		return
	}
	c := LaneChanged{Upstream: l.name, State: state, Previous: was.state, Lasted: now.Sub(was.since), By: by, Outcome: s.cause()}
	if s.health.state != Up {
		c.Probe = s.health.probeAt
	}
	l.afterLocked(func() { l.q.tell(&c) })
}

// abandoned settles what a session left behind, which it should not.
// Where a defect ended it, each waits for itself: it may be the one that shows
// the defect, and must not be what the lane is tried with each time.
func (l *lane) abandoned(f *Feed, fault *spool.Fault) {
	l.mu.Lock()
	left := slices.Clone(f.taken) // also what was handed out and never received
	l.state.sessions.unwait(&f.session)
	l.mu.Unlock()
	for _, t := range left {
		if verdict.IsDefect(fault) && !f.dotted[t.d] {
			f.Settle(t.d, []spool.Outcome{{Stage: spool.StageLocal, Text: "the attempt was interrupted", Cause: fault.Outcome.Cause}})
			continue
		}
		f.Release(t.d)
	}
}

// takeBack receives a delivery of which nothing was sent: the next session may
// have it while the lane flows, otherwise it goes back to the store.
func (l *lane) takeBack(t taking) {
	l.mu.Lock()
	defer l.unlock()
	s := &l.state
	s.unsent(t, &l.q.parts)
	s.connections.forget(t.d)
	if s.flows() && s.tenure.lease.Epoch == t.d.Token.Epoch {
		s.work.putBack(t.d)
		l.poke()
		return
	}
	l.probeAgainLocked()
	l.afterLocked(func() { l.q.giveBack(t.d) })
}

// probeAgainLocked follows a probe that showed nothing either way.
func (l *lane) probeAgainLocked() {
	if h := &l.state.health; h.probing {
		h.probing = false
		h.probeAt = time.Now().Add(probeSteps[0])
		l.poke()
	}
}
