package queue

import (
	"time"

	"postern/queue/pace"
	"postern/queue/verdict"
	"postern/spool"
)

// throttles says whether an answer asks for less speed: a 4xx by which the
// upstream speaks of itself.
func throttles(o *spool.Outcome, v *verdict.Verdict) bool {
	return v.Blame == verdict.Upstream && o.Code/100 == 4 && o.Stage >= spool.StageMail
}

// throttled follows an attempt that was throttled. It returns when the message
// may be tried again; false: there were too many in a row to go on. mu is held.
func (l *lane) throttled(f *Feed, d *spool.Delivery, o spool.Outcome, now time.Time) (time.Time, bool) {
	previous, since := l.visible(), l.since()
	tells := l.pace.Refused(now, f.last.at, l.open, o)
	l.announce(previous, since, now, "")
	l.poke()
	switch {
	case tells == pace.Unrelated:
		return time.Time{}, l.health.bears(manyStrikes)
	case tells == pace.Slower && !l.health.bears(throttleStrikes):
		return time.Time{}, false
	}
	// Behind what waits already, and ever further: should it be this message
	// that the upstream minds, it must not keep the lane slow.
	wait := max(l.pace.Gap(), probeSteps[0]) << min(d.Attempt-1, 10)
	return now.Add(min(wait, retryDelay(l.q.cfg.Load().Retry.Backoff, d.Attempt, 0.5))), true
}

// accepted notes that the upstream takes mail. mu is held.
func (l *lane) accepted(now time.Time) {
	if l.up == nil {
		return
	}
	previous, since := l.visible(), l.since()
	if l.pace.Accepted(now, l.most()) {
		l.announce(previous, since, now, "")
		l.poke()
	}
}

// calmed ends the slowing of a lane whose upstream has refused nothing for
// long, and to which nothing is due. mu is held.
func (l *lane) calmed(now time.Time) {
	previous, since := l.visible(), l.since()
	if !l.hot && len(l.ready) == 0 && l.pace.Calm(now) {
		l.announce(previous, since, now, "")
	}
}

// announce tells that the visible state has changed. mu is held.
func (l *lane) announce(previous State, since, now time.Time, by string) {
	state := l.visible()
	if state == previous {
		return
	}
	c := LaneChange{Upstream: l.name, State: state, Previous: previous, Lasted: now.Sub(since), By: by, Outcome: l.cause()}
	if l.health.state != Up {
		c.Probe = l.health.probeAt
	}
	l.after(func() { l.q.events.LaneChanged(c) })
}

// since is when the visible state began, cause why it is not up. mu is held.
func (l *lane) since() time.Time {
	at := l.health.since
	switch v := l.visible(); {
	case v == Paused:
		return l.pause.At
	case v == Slowed:
		at = l.pace.Since()
	case v == Up && l.pace.Ended().After(at):
		at = l.pace.Ended()
	}
	if l.pause.At.After(at) {
		at = l.pause.At // it was resumed then
	}
	return at
}

func (l *lane) cause() spool.Outcome {
	if l.visible() == Slowed {
		return l.pace.Cause()
	}
	return l.health.cause
}
