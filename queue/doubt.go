package queue

import (
	"sync"

	"postern/spool"
)

// key names a share.
type key struct {
	id    spool.ID
	share int
}

// doubts remembers which shares are known to be in doubt, so that each is
// reported once, and which an operator has released although they are.
type doubts struct {
	mu       sync.Mutex
	told     map[key]bool
	released map[key]bool
}

// noteDoubt reports that the answer to a final dot of d is not known.
func (q *Queue) noteDoubt(d *spool.Delivery, held bool) {
	k := key{d.ID, d.Share}
	q.doubts.mu.Lock()
	q.doubts.told[k] = true
	delete(q.doubts.released, k)
	q.doubts.mu.Unlock()
	q.events.InDoubt(d.ID, d.Upstream, len(d.Pending), held)
}

// doubt decides about a claim whose earlier final dot had no answer that is
// known. It returns true where the share was put on hold.
func (q *Queue) doubt(d *spool.Delivery) bool {
	k := key{d.ID, d.Share}
	hold := q.cfg.Load().Retry.AfterDot == "hold"
	q.doubts.mu.Lock()
	told, released := q.doubts.told[k], q.doubts.released[k]
	delete(q.doubts.told, k)
	delete(q.doubts.released, k)
	q.doubts.mu.Unlock()
	hold = hold && !released
	if !told {
		q.events.InDoubt(d.ID, d.Upstream, len(d.Pending), hold)
	}
	if hold {
		q.put(d, spool.Settlement{Due: d.Envelope.Accepted, Failover: d.Failover, Hold: true, Warned: d.Warned})
	}
	return hold
}

// allow lets a share that is in doubt go once more.
func (q *Queue) allow(id spool.ID, share int) {
	q.doubts.mu.Lock()
	defer q.doubts.mu.Unlock()
	q.doubts.released[key{id, share}] = true
}
