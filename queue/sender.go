package queue

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"postern/spool"
)

// maxHoldoffs bounds the senders that a lane remembers.
const maxHoldoffs = 10000

// holdoff is a reverse-path that an upstream refuses. It is kept from the
// lane, and nobody else is.
type holdoff struct {
	since   time.Time
	cause   spool.Outcome // the last refusal
	until   time.Time
	step    int
	probing bool // one message was let through to see
	// waiting are the shares that wait for it, at most maxWaiting.
	waiting map[Share]struct{}
}

// maxWaiting bounds what is counted for each sender; more than that is told
// as that many.
const maxWaiting = 1000

// wait notes that a share waits for its sender to be taken again.
func (h *holdoff) wait(s Share) {
	if len(h.waiting) < maxWaiting {
		if h.waiting == nil {
			h.waiting = map[Share]struct{}{}
		}
		h.waiting[s] = struct{}{}
	}
}

// RefusedSender is a reverse-path that an upstream refuses.
type RefusedSender struct {
	Sender  string        // wire form, without angle brackets; empty: <>
	Since   time.Time     // of the first refusal
	Waiting int           // shares known to wait for it; counted up to 1000
	Cause   spool.Outcome // the last refusal
}

// list tells all of them, by name.
func (hs holdoffs) list() []RefusedSender {
	var all []RefusedSender
	for sender, h := range hs {
		all = append(all, RefusedSender{Sender: sender, Since: h.since, Waiting: len(h.waiting), Cause: h.cause})
	}
	slices.SortFunc(all, func(a, b RefusedSender) int { return cmp.Compare(a.Sender, b.Sender) })
	return all
}

// waitsForSender counts a share that waits here because of its sender, unless
// another upstream of its list takes it.
func (l *lane) waitsForSender(d *spool.Delivery) {
	if l.q.nextUp(listOf(d), d.Failover) >= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.state.senders[d.Envelope.From]; h != nil {
		h.wait(Share{d.ID, d.Share})
	}
}

// leaves notes that a share has ended without an answer about its sender.
func (q *Queue) leaves(d *spool.Delivery) {
	l := q.lane(listOf(d)[d.Failover])
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.state.senders[d.Envelope.From]; h != nil {
		delete(h.waiting, Share{d.ID, d.Share})
	}
}

// holdoffs are the refused reverse-paths of a lane, guarded by its mu.
type holdoffs map[string]*holdoff

// holds says whether mail of sender has to wait, and until when. Once that
// time has come, one message may go and the others wait for its outcome.
func (hs holdoffs) holds(sender string, now time.Time) (time.Time, bool) {
	h := hs[sender]
	if h == nil {
		return time.Time{}, false
	}
	if now.Before(h.until) {
		return h.until, true
	}
	h.probing = true
	h.until = now.Add(time.Minute)
	return time.Time{}, false
}

// refuse notes a refusal. It returns when the sender is tried again, and true
// where this is news.
func (hs holdoffs) refuse(sender string, now time.Time, backoff []time.Duration) (time.Time, bool) {
	h := hs[sender]
	news := h == nil
	if news {
		if len(hs) >= maxHoldoffs {
			hs.prune(now)
		}
		h = &holdoff{since: now, probing: true}
		hs[sender] = h
	}
	if h.probing || !now.Before(h.until) { // else: it was under way when the first was refused
		h.step++
		h.probing = false
		h.until = now.Add(retryDelay(backoff, h.step, rand.Float64()))
	}
	return h.until, news
}

// accept forgets a refusal and says whether there was one.
func (hs holdoffs) accept(sender string) bool {
	_, was := hs[sender]
	delete(hs, sender)
	return was
}

// prune forgets those who may be tried anyhow, and makes room in any case.
func (hs holdoffs) prune(now time.Time) {
	for s, h := range hs {
		if !now.Before(h.until) {
			delete(hs, s)
		}
	}
	for s := range hs {
		if len(hs) < maxHoldoffs {
			return
		}
		delete(hs, s)
	}
}
