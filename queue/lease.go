package queue

import (
	"context"
	"errors"
	"time"

	"postern/spool"
)

// tenure is what a lane knows of its lease. It has no lock; the lane's guards it.
type tenure struct {
	lease  spool.Lease   // Epoch 0: we have none
	term   time.Duration // how long it was granted for; 0: without end
	end    time.Time     // when we stop claiming under it; zero: never
	next   time.Time     // when the store is asked for it next; zero: at once
	holder string        // the relay that has the lane; empty: we do, or nobody is known to
	asked  time.Time     // when the store said so
	heard  time.Time     // when it was last read whether the upstream is paused
}

// atEnd is the least time until the store is asked again for a lane that another relay
// has: where its lease ends sooner than that, and was not over when we asked.
const atEnd = 50 * time.Millisecond

// woken makes the store be asked soon for a lane that another relay has: it may
// have left it. Our own mail for it wakes us too, so not more than once a second.
func (t *tenure) woken(now time.Time) {
	if t.holder == "" {
		return
	}
	at := t.asked.Add(time.Second)
	if at.Before(now) {
		at = now
	}
	if at.Before(t.next) {
		t.next = at
	}
}

// soon makes the store be asked soon for a lane that relays share.
func (t *tenure) soon(now time.Time) {
	if at := now.Add(t.pause()); at.Before(t.next) {
		t.next = at
	}
}

// hears tells whether this relay knows of a pause that others were told of, as far
// as that can be: it reads it whenever it renews the lease.
func (t *tenure) hears(now time.Time) bool {
	return t.term == 0 || now.Sub(t.heard) <= max(t.term/3, time.Second)+time.Second
}

// lasts tells whether something may be claimed under the lease.
func (t *tenure) lasts(now time.Time) bool {
	return t.lease.Epoch != 0 && (t.end.IsZero() || now.Before(t.end))
}

// over tells whether the lease that we have has come to its end.
func (t *tenure) over(now time.Time) bool { return t.lease.Epoch != 0 && !t.lasts(now) }

// due tells whether the store is to be asked for the lease.
func (t *tenure) due(now time.Time) bool {
	return (t.lease.Epoch == 0 || !t.end.IsZero()) && !now.Before(t.next)
}

// granted notes the answer to a question that was asked at the given time, and
// tells whether another epoch begins by it. The lease is renewed at a third of
// its time. Nothing is claimed in its last tenth, so that what is claimed has
// ended before it does.
func (t *tenure) granted(lease spool.Lease, asked time.Time) bool {
	news := lease.Epoch != t.lease.Epoch
	*t = tenure{lease: lease, heard: t.heard}
	if !lease.Until.IsZero() {
		t.term = lease.Until.Sub(asked)
		t.next, t.end = asked.Add(max(t.term/3, time.Second)), lease.Until.Add(-t.term/10)
	}
	return news
}

// pause is the time after which a store that failed is asked again: several
// times before the lease ends.
func (t *tenure) pause() time.Duration {
	if t.term == 0 {
		return storePause
	}
	return min(storePause, max(t.term/10, time.Second))
}

// wait is the time until something is to be done about the lease.
func (t *tenure) wait(now time.Time) time.Duration {
	if t.lease.Epoch != 0 && t.end.IsZero() {
		return longNap
	}
	at := t.next
	if t.lasts(now) && t.end.Before(at) {
		at = t.end
	}
	return min(max(at.Sub(now), time.Millisecond), longNap)
}

// keepLease takes or renews the lease of the lane, where it is time. Only manage
// calls it.
func (l *lane) keepLease() {
	l.mu.Lock()
	asked := time.Now()
	if l.state.tenure.over(asked) {
		l.loseLeaseLocked()
	}
	due := !l.state.stopping && l.state.tenure.due(asked)
	l.unlock()
	if !due {
		return
	}
	lease, err := l.q.store.Lease(l.q.ctx, l.name)
	var other *spool.Leased
	var unheard error
	if err == nil && !lease.Until.IsZero() || errors.As(err, &other) {
		unheard = l.recall(lease, err == nil) // what other relays have written
	}
	l.mu.Lock()
	defer l.unlock()
	t := &l.state.tenure
	switch {
	case err == nil && unheard != nil && t.lease.Epoch != lease.Epoch:
		// Whether it is paused is known before anything is sent.
		if t.lease.Epoch != 0 {
			l.loseLeaseLocked()
		}
		t.next = time.Now().Add(t.pause())
		l.afterLocked(func() { l.q.storeFailed("lease", 0, unheard) })
	case err == nil:
		if t.lease.Epoch != 0 && t.lease.Epoch != lease.Epoch {
			l.loseLeaseLocked()
		}
		if t.granted(lease, asked) {
			l.state.work.hot = true
		}
	case errors.As(err, &other):
		l.loseLeaseLocked()
		t.holder, t.next, t.asked = other.Holder, other.Until, time.Now()
		if soon := time.Now().Add(atEnd); other.Until.Before(soon) {
			t.next = soon // its clock is not ours
		}
		if l.state.untold {
			t.soon(time.Now())
		}
	default: // what we have lasts until its end
		t.next = time.Now().Add(t.pause())
		l.afterLocked(func() { l.q.storeFailed("lease", 0, err) })
	}
}

// loseLeaseLocked ends what was begun under the lease: sessions after the
// message that they are at, which the store lets go to its final dot or not.
func (l *lane) loseLeaseLocked() {
	s := &l.state
	s.tenure.lease, s.tenure.end = spool.Lease{}, time.Time{}
	s.work.hot = true // once we have it again
	s.sessions.endAll()
	l.returnReadyLocked()
}

// lostLeaseLocked follows an answer of the store that the epoch of a lease is
// over.
func (l *lane) lostLeaseLocked(lease spool.Lease) {
	if l.state.tenure.lease.Epoch == lease.Epoch {
		l.loseLeaseLocked()
		l.state.tenure.next = time.Time{}
		l.poke()
	}
}

// leave gives the lease back, if there is one, once nothing is under way.
func (l *lane) leave(ctx context.Context) {
	l.mu.Lock()
	lease := l.state.tenure.lease
	l.state.tenure = tenure{heard: l.state.tenure.heard}
	l.mu.Unlock()
	if lease.Epoch == 0 {
		return
	}
	if err := l.q.store.Leave(ctx, lease); err != nil {
		l.q.storeFailed("leave", 0, err)
	}
}
