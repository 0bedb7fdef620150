package queue

import (
	"errors"
	"math/rand/v2"
	"time"

	"postern/spool"
)

// claim claims up to n deliveries, ahead of the sessions. It returns false where
// nothing was gained.
func (l *lane) claim(n int) bool {
	s := &l.state
	l.mu.Lock()
	now := time.Now()
	lease := s.tenure.lease
	if !s.tenure.lasts(now) {
		l.mu.Unlock()
		return false
	}
	room := s.room(now, &l.q.parts)
	n = min(n, room.shares)
	// What is due and has to wait for its rate is told once nothing is ready.
	short := n <= 0 && len(s.work.ready) == 0 && !(s.pace.Slowed() && !s.pace.Wait(now).IsZero())
	if n > 0 || short {
		s.work.asks()
	}
	l.mu.Unlock()
	if n <= 0 {
		if short {
			l.lacksRoom(now)
		}
		return false
	}
	claimed, err := l.q.store.Claim(l.q.ctx, lease, now, n, schedule(l.q.cfg.Load().Retry.Backoff))
	if err != nil {
		l.q.storeFailed("claim", 0, err)
	}
	got := len(claimed)
	kept := l.screen(claimed, now)
	unkept := l.q.reserve(kept, room)
	next, known := time.Time{}, false
	if err == nil && got < n {
		if next, known, err = l.q.store.NextDue(l.q.ctx, l.name); err != nil {
			l.q.storeFailed("due", 0, err)
		}
	}

	l.mu.Lock()
	defer l.unlock()
	if len(kept) > 0 {
		l.unkeptLocked(unkept)
	}
	s.work.told(kept, err == nil && got >= n, next, known, now)
	switch {
	case errors.Is(err, spool.ErrLost):
		l.lostLeaseLocked(lease)
	case err != nil:
		s.work.nextWake = now.Add(storePause)
	case got < n:
		s.rates.short.ease(now)
	}
	if !s.flows() && !s.health.probing || s.tenure.lease.Epoch != lease.Epoch {
		l.returnReadyLocked()
		return false
	}
	return got > 0
}

// lacksRoom follows a wish to claim for which there was no room. What is due
// stays as it is, and untouched.
func (l *lane) lacksRoom(now time.Time) {
	next, known, err := l.q.store.NextDue(l.q.ctx, l.name)
	if err != nil {
		l.q.storeFailed("due", 0, err)
		next, known = now.Add(storePause), true
	}
	l.mu.Lock()
	defer l.unlock()
	s := &l.state
	due := known && !next.After(now)
	s.work.told(nil, due, next, known && !due, now)
	if !due {
		s.rates.short.ease(now)
		return
	}
	if !s.rates.budget.Next(now).IsZero() && s.rates.short.begin(now) {
		left := s.rates.budget.Left()
		l.afterLocked(func() { l.q.tell(&BudgetSpent{l.name, left}) })
	}
}

// screen keeps what may be tried now and settles the rest: what an operator
// has to decide, what is past its deadline, and what has a sender that this
// upstream refuses.
func (l *lane) screen(claimed []*spool.Delivery, now time.Time) []*spool.Delivery {
	kept := claimed[:0]
	for _, d := range claimed {
		if d.InDoubt && l.q.doubt(d) {
			continue
		}
		if by := d.Envelope.DeliverBy; by != nil && by.Return && !now.Before(by.Deadline) && !l.q.wishes.isLate(d.ID, d.Share) {
			l.q.expire([]*spool.Delivery{d}, clockReturn, now, nil)
			continue
		}
		l.mu.Lock()
		until, held := l.state.senders.holds(d.Envelope.From, now)
		l.mu.Unlock()
		if held {
			l.passOver(d, until, now)
			continue
		}
		kept = append(kept, d)
	}
	return kept
}

// passOver sends a share whose sender is refused here to its next upstream, or
// lets it wait until the sender is tried again.
func (l *lane) passOver(d *spool.Delivery, until, now time.Time) {
	stays := l.q.doubts.stays(d.ID, d.Share, d.InDoubt)
	if next := l.q.nextUp(listOf(d), d.Failover); next >= 0 && !stays {
		l.q.put(d, spool.Settlement{Due: now, Failover: next, Warned: d.Warned})
		return
	}
	// Spread over ten seconds, so that they don't come back as one.
	l.waitsForSender(d)
	until = until.Add(rand.N(10 * time.Second))
	first := 0
	if stays {
		first = d.Failover
	}
	l.q.put(d, spool.Settlement{Due: until, Failover: first, Warned: d.Warned})
}

// returnReadyLocked gives what was claimed and not begun back to the store,
// once mu is released.
func (l *lane) returnReadyLocked() {
	for _, d := range l.state.work.drain() {
		l.state.connections.forget(d)
		l.afterLocked(func() { l.q.giveBack(d) })
	}
}

// pluck takes a share that is claimed and not begun out of the lane, for an
// operator, who owns the claim from then on.
func (l *lane) pluck(id spool.ID, share int) *spool.Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.state.work.takeShare(id, share)
	if d != nil {
		l.state.connections.forget(d)
		l.q.parts.widen(d) // all of it is the operator's
	}
	return d
}

// listOf is the failover list of a share.
func listOf(d *spool.Delivery) []string {
	return d.Envelope.Recipients[d.Pending[0]].Upstreams
}
