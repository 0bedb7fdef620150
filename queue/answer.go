package queue

import (
	"time"

	"postern/queue/pace"
	"postern/queue/verdict"
	"postern/spool"
)

// note is told how an attempt was answered: all counts against the rates, outs
// are those of it that are charged to anybody. It returns when the lane will be
// probed where the answer took it down, and zero otherwise.
func (l *lane) note(f *Feed, d *spool.Delivery, all, outs []spool.Outcome, verdicts []verdict.Verdict) time.Time {
	now := time.Now()
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
	l.mu.Lock()
	defer l.unlock()
	s := &l.state
	s.sent(f.last, all)
	if delivered {
		s.health.lastSuccess = now
	}
	if refused >= 0 {
		l.senderRefusedLocked(d.Envelope.From, outs[refused], now)
		l.afterLocked(func() { l.waitsForSender(d) })
	} else if answered && s.senders.accept(d.Envelope.From) {
		l.afterLocked(func() { l.q.tell(&SenderAccepted{l.name, d.Envelope.From}) })
	}
	if !s.rates.short.since.IsZero() {
		l.poke() // what was under way counted against the rates
	}
	switch {
	case f.gen != s.gen:
		return time.Time{}
	case answered:
		f.progressed = true
		l.answeredLocked(now)
		return time.Time{}
	case fault == nil:
		l.probeAgainLocked()
		return time.Time{}
	}
	return l.faultLocked(f, d, outs[at], fault, now)
}

// answeredLocked notes that the upstream has taken mail, or has answered about
// it.
func (l *lane) answeredLocked(now time.Time) {
	s := &l.state
	s.sessions.fruitless, s.health.strikes = 0, 0
	l.recoveredLocked(now)
	if s.up == nil {
		return
	}
	was := s.shown()
	if s.pace.Accepted(now, s.mostSessions()) {
		l.announceLocked(was, now, "")
		l.poke()
	}
}

// faultLocked draws the conclusion from the worst that the upstream said of
// itself. It returns when d is to be tried again, zero: by its own backoff.
func (l *lane) faultLocked(f *Feed, d *spool.Delivery, o spool.Outcome, fault *verdict.Verdict, now time.Time) time.Time {
	s := &l.state
	again := o.Code == 421 && f.progressed // it may have done enough for one connection
	switch {
	case s.health.state == Up && throttles(&o, fault):
		f.progressed = true // what follows from it is known
		due, borne := l.throttledLocked(f, d, o, now)
		switch {
		case again:
			return now
		case borne:
			return due
		}
	case again:
		return now
	case throttles(&o, fault):
		s.pace.Denied(now)
	case o.Code != 421 && fault.Blame == verdict.Upstream && s.health.bears(enoughStrikes):
		f.progressed = true
		return time.Time{} // this message waits, the others go on
	}
	l.failLocked(now, o, fault.Blame, true)
	f.progressed = true // what follows from it is known
	return s.health.probeAt
}

// throttles says whether an answer asks for less speed: a 4xx by which the
// upstream speaks of itself.
func throttles(o *spool.Outcome, v *verdict.Verdict) bool {
	return v.Blame == verdict.Upstream && o.Code/100 == 4 && o.Stage >= spool.StageMail
}

// throttledLocked follows an attempt that was throttled. It returns when the
// message may be tried again; false: there were too many in a row to go on.
func (l *lane) throttledLocked(f *Feed, d *spool.Delivery, o spool.Outcome, now time.Time) (time.Time, bool) {
	s := &l.state
	was := s.shown()
	effect := s.pace.Refused(now, f.last.at, s.sessions.open, o)
	l.announceLocked(was, now, "")
	l.poke()
	switch {
	case effect == pace.Unrelated:
		return time.Time{}, s.health.bears(manyStrikes)
	case effect == pace.Slower && !s.health.bears(throttleStrikes):
		return time.Time{}, false
	}
	// Behind what waits already, and ever further: should it be this message
	// that the upstream minds, it must not keep the lane slow.
	wait := max(s.pace.Gap(), probeSteps[0]) << min(d.Attempt-1, 10)
	return now.Add(min(wait, retryDelay(l.q.cfg.Load().Retry.Backoff, d.Attempt, 0.5))), true
}

// calmedLocked ends the slowing of a lane whose upstream has refused nothing
// for long, and to which nothing is due.
func (l *lane) calmedLocked(now time.Time) {
	s := &l.state
	if !s.pace.Slowed() || s.work.hot || len(s.work.ready) > 0 {
		return
	}
	was := s.shown()
	if s.pace.Calm(now) {
		l.announceLocked(was, now, "")
	}
}

// senderRefusedLocked keeps a reverse-path from the lane for a while.
func (l *lane) senderRefusedLocked(sender string, o spool.Outcome, now time.Time) {
	s := &l.state
	until, news := s.senders.refuse(sender, now, l.q.cfg.Load().Retry.Backoff)
	if news {
		l.afterLocked(func() { l.q.tell(&SenderRefused{l.name, sender, o, until}) })
	}
	s.senders[sender].cause = o
	for _, d := range s.work.takeSender(sender) {
		l.afterLocked(func() { l.passOver(d, until, now) })
	}
}
