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

// spawn opens a session for a delivery, or for none: a probe that only has to
// open. mu is held.
func (l *lane) spawn(first *spool.Delivery) {
	f := &Feed{lane: l, up: l.up, gen: l.gen, first: first, firstAt: time.Now(), empty: first == nil,
		ch: make(chan *spool.Delivery, 1), end: make(chan struct{})}
	l.feeds[f] = struct{}{}
	l.connecting++
	l.q.work.Go(func() {
		l.ended(f, l.q.deliver(f))
	})
}

// deliver carries out one session. What it does wrong is its own fault.
func (q *Queue) deliver(f *Feed) (err error) {
	defer func() {
		if v := recover(); v != nil {
			q.events.Panicked(f.lane.name, v, debug.Stack())
			err = &verdict.Defect{Value: v}
		}
	}()
	return q.deliverer.Deliver(q.ctx, f.up, f)
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

// ended draws the lesson from a session.
func (l *lane) ended(f *Feed, err error) {
	fault := faultOf(f.up, err)
	l.abandoned(f, fault)

	l.mu.Lock()
	defer l.unlock()
	l.vacate(f)
	first := f.first
	f.first = nil
	l.connections.forget(first)
	stale := f.gen != l.gen || l.q.ctx.Err() != nil
	var due time.Time
	if fault != nil && !stale {
		l.after(func() { l.q.events.SessionFailed(l.name, f.opened, f.settled, fault.Outcome) })
		due = l.blameSession(f, fault)
	} else if !stale {
		l.orderly(f)
	}
	l.poke()
	if first != nil {
		l.unsent(newTaking(first, f.firstAt))
	}
	switch {
	case first == nil:
	case due.IsZero() && l.flows():
		l.ready = slices.Insert(l.ready, 0, first) // the others will take it
	case due.IsZero():
		l.after(func() { l.q.giveBack(first) })
	default:
		l.after(func() { l.q.failedBefore(l, first, fault, due) })
	}
}

// vacate frees the place of a session, once. mu is held.
func (l *lane) vacate(f *Feed) {
	if _, has := l.feeds[f]; !has {
		return
	}
	delete(l.feeds, f)
	if f.opened {
		l.open--
	} else {
		l.connecting--
	}
}

// blameSession judges a fault. It returns when the delivery that the session
// was opened for is to be tried again, zero where others can take it now.
// mu is held.
func (l *lane) blameSession(f *Feed, fault *spool.Fault) time.Time {
	now := time.Now()
	v := verdict.OfFault(fault)
	switch {
	case verdict.IsDefect(fault):
	case f.opened && f.progressed:
		return time.Time{} // it did its work and was cut off; the next one may
	case l.open > 0 && l.health.state == Up && !f.opened:
		// Others work: the upstream wants no more of them.
		l.growStep++
		l.growAt = now.Add(probeDelay(Waiting, l.q.cfg.Load().Retry.Backoff, l.growStep, 0.5))
		return time.Time{}
	}
	l.fail(now, fault.Outcome, v.Blame, f.opened)
	return l.health.probeAt
}

// orderly is the end of a session that found no fault. mu is held.
func (l *lane) orderly(f *Feed) {
	l.health.probing = l.health.probing && l.connecting+l.open > 0
	if !f.opened || f.settled > 0 && !f.progressed && !f.empty {
		// It ended well without asking for work, or took some and gave all
		// of it back. Once is bad luck.
		if l.barren++; l.barren > 1 {
			l.fail(time.Now(), spool.Outcome{Stage: spool.StageConnect, Remote: f.up.Host,
				Text: "the session ended without an answer"}, verdict.Upstream, true)
		}
		return
	}
	l.barren = 0
}

// fail takes the lane down, or keeps it down. mu is held.
func (l *lane) fail(now time.Time, o spool.Outcome, b verdict.Blame, needAnswer bool) {
	previous, since := l.visible(), l.since()
	changed := l.health.fail(now, o, b, needAnswer, l.q.cfg.Load().Retry.Backoff)
	l.renewals = 0
	l.endAll() // a session that is part of the trouble is not asked whether it is over
	l.returnReady()
	l.poke()
	if changed && !l.pause.Paused {
		c := LaneChange{Upstream: l.name, State: l.health.state, Previous: previous,
			Lasted: now.Sub(since), Outcome: o, Probe: l.health.probeAt}
		l.after(func() { l.q.events.LaneChanged(c) })
	}
	l.after(l.q.keeper.failoverSoon)
}

// recovered opens the lane again. mu is held.
func (l *lane) recovered() {
	now := time.Now()
	previous, since := l.visible(), l.since()
	if !l.health.recover(now) {
		return
	}
	l.hot, l.barren, l.growAt, l.growStep = true, 0, time.Time{}, 0
	l.pace.Resumed(now)
	l.poke()
	l.announce(previous, since, now, "")
	l.after(l.q.keeper.failoverSoon) // others may be waiting for it
}

// abandoned settles what a session left behind, which it should not.
// Where a defect ended it, each waits for itself: it may be the one that shows
// the defect, and must not be what the lane is tried with each time.
func (l *lane) abandoned(f *Feed, fault *spool.Fault) {
	l.mu.Lock()
	left := slices.Clone(f.taken) // also what was handed out and never received
	if f.waiting {
		f.waiting = false
		l.idle = slices.DeleteFunc(l.idle, func(other *Feed) bool { return other == f })
	}
	l.unlock()
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
func (l *lane) takeBack(f *Feed, d *spool.Delivery) {
	l.mu.Lock()
	defer l.unlock()
	l.connections.forget(d)
	if l.flows() && l.tenure.lease.Epoch == d.Token.Epoch {
		l.ready = slices.Insert(l.ready, 0, d)
		l.poke()
		return
	}
	l.probeAgain()
	l.after(func() { l.q.giveBack(d) })
}

// probeAgain follows a probe that showed nothing either way. mu is held.
func (l *lane) probeAgain() {
	if l.health.probing {
		l.health.probing = false
		l.health.probeAt = time.Now().Add(probeSteps[0])
		l.poke()
	}
}

// note is told how an attempt was answered. It returns when the lane will be
// probed where the answer took it down, and zero otherwise.
func (l *lane) note(f *Feed, d *spool.Delivery, outs []spool.Outcome, verdicts []verdict.Verdict) time.Time {
	now := time.Now()
	l.mu.Lock()
	defer l.unlock()
	var fault *verdict.Verdict
	var at int
	answered, delivered, refused := false, false, -1
	for i, v := range verdicts {
		switch {
		case v.Status == spool.Delivered:
			answered, delivered = true, true
		case outs[i].Code == 0:
		case v.Blame == verdict.Upstream || v.Blame == verdict.Access:
			if fault == nil || v.Blame == verdict.Access {
				fault, at = &verdicts[i], i
			}
		case v.Blame == verdict.Sender:
			answered, refused = true, i
		default:
			answered = true
		}
	}
	if delivered {
		l.health.lastSuccess = now
	}
	if refused >= 0 {
		l.senderRefused(d.Envelope.From, outs[refused], now)
		l.after(func() { l.waitsForSender(d) })
	} else if answered && l.senders.accept(d.Envelope.From) {
		l.after(func() { l.q.events.SenderAccepted(l.name, d.Envelope.From) })
	}
	if !l.short.since.IsZero() {
		l.poke() // what was under way counted against the rates
	}
	if f.gen != l.gen {
		return time.Time{}
	}
	return l.lesson(f, d, outs, fault, at, answered, now)
}

// lesson draws the conclusion for the lane. fault is the worst that the
// upstream said of itself, at its place in outs; nil: nothing. mu is held.
func (l *lane) lesson(f *Feed, d *spool.Delivery, outs []spool.Outcome, fault *verdict.Verdict, at int, answered bool, now time.Time) time.Time {
	switch {
	case answered:
		f.progressed = true
		l.barren = 0
		l.health.strikes = 0
		l.recovered()
		l.accepted(now)
		return time.Time{}
	case fault == nil:
		l.probeAgain()
		return time.Time{}
	case l.health.state == Up && throttles(&outs[at], fault):
		again := outs[at].Code == 421 && f.progressed // it may have done enough for one connection
		f.progressed = true                           // what follows from it is known
		due, borne := l.throttled(f, d, outs[at], now)
		switch {
		case again:
			return now
		case borne:
			return due
		}
	case outs[at].Code == 421 && f.progressed:
		return now
	case throttles(&outs[at], fault):
		l.pace.Denied(now)
	case outs[at].Code != 421 && fault.Blame == verdict.Upstream && l.health.bears(enoughStrikes):
		f.progressed = true
		return time.Time{} // this message waits, the others go on
	}
	l.fail(now, outs[at], fault.Blame, true)
	f.progressed = true // what follows from it is known
	return l.health.probeAt
}

// senderRefused keeps a reverse-path from the lane for a while. mu is held.
func (l *lane) senderRefused(sender string, o spool.Outcome, now time.Time) {
	until, news := l.senders.refuse(sender, now, l.q.cfg.Load().Retry.Backoff)
	if news {
		l.after(func() { l.q.events.SenderRefused(l.name, sender, o, until) })
	}
	l.senders[sender].cause = o
	kept := l.ready[:0:0]
	for _, d := range l.ready {
		if d.Envelope.From == sender {
			l.after(func() { l.passOver(d, until, now) })
			continue
		}
		kept = append(kept, d)
	}
	l.ready = kept
}
