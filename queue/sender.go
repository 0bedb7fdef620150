package queue

import (
	"math/rand/v2"
	"time"
)

// maxHoldoffs bounds the senders that a lane remembers.
const maxHoldoffs = 10000

// holdoff is a reverse-path that an upstream refuses. It is kept from the
// lane, and nobody else is.
type holdoff struct {
	until   time.Time
	step    int
	probing bool // one message was let through to see
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
		h = &holdoff{probing: true}
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
