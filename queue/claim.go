package queue

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"postern/spool"
)

// fill claims up to n deliveries into ready. mu is held, and released while
// the store is asked. It returns false where nothing was gained.
func (l *lane) fill(n int) bool {
	now, lease := time.Now(), l.tenure.lease
	if !l.tenure.lasts(now) {
		return false
	}
	room := l.room()
	if n = min(n, room.shares); n <= 0 {
		l.lacksRoom()
		return false
	}
	l.claiming, l.hot = true, false
	l.mu.Unlock()
	claimed, err := l.q.store.Claim(l.q.ctx, lease, now, n, schedule(l.q.cfg.Load().Retry.Backoff))
	if err != nil {
		l.q.storeFailed("claim", 0, err)
	}
	kept := l.screen(claimed, now)
	l.reserve(kept, room)
	next, known := time.Time{}, false
	if err == nil && len(claimed) < n {
		if next, known, err = l.q.store.NextDue(l.q.ctx, l.name); err != nil {
			l.q.storeFailed("due", 0, err)
		}
	}
	l.mu.Lock()
	l.claiming = false
	switch {
	case errors.Is(err, spool.ErrLost):
		l.lostLease(lease)
	case err != nil:
		l.nextWake = now.Add(storePause)
	case len(claimed) >= n:
		l.hot = true
	default:
		l.short.ease(now)
	}
	if known {
		// Not at once: should the store not hand out what it calls due, this
		// must not become a loop.
		if soon := now.Add(10 * time.Millisecond); next.Before(soon) {
			next = soon
		}
		if l.nextWake.IsZero() || next.Before(l.nextWake) {
			l.nextWake = next
		}
	}
	l.ready = append(l.ready, kept...)
	if !l.flows() && !l.health.probing || l.tenure.lease.Epoch != lease.Epoch {
		l.returnReady()
		return false
	}
	if len(l.ready) > 0 {
		l.poke()
	}
	return len(claimed) > 0
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
		until, held := l.senders.holds(d.Envelope.From, now)
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

// returnReady gives what was claimed and not begun back to the store once mu,
// which is held, is released.
func (l *lane) returnReady() {
	back := append(l.ready, l.fresh...)
	l.ready, l.fresh = nil, nil
	for _, d := range back {
		l.connections.forget(d)
	}
	if len(back) == 0 {
		return
	}
	l.hot = true
	l.after(func() {
		for _, d := range back {
			l.q.giveBack(d)
		}
	})
}

// pluck takes a share that is claimed and not begun out of the lane, for an
// operator, who owns the claim from then on.
func (l *lane) pluck(id spool.ID, share int) *spool.Delivery {
	l.mu.Lock()
	defer l.unlock()
	for _, list := range [...]*[]*spool.Delivery{&l.ready, &l.fresh} {
		for i, d := range *list {
			if d.ID == id && d.Share == share {
				*list = slices.Delete(*list, i, i+1)
				l.connections.forget(d)
				l.q.parts.widen(d) // all of it is the operator's
				return d
			}
		}
	}
	return nil
}

// listOf is the failover list of a share.
func listOf(d *spool.Delivery) []string {
	return d.Envelope.Recipients[d.Pending[0]].Upstreams
}
