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

// doubts remembers what is known of shares that are in doubt, so that each
// doubt is reported once, and decided by an operator once. It is forgotten
// with the process: after a start, all are reported and decided again.
type doubts struct {
	mu sync.Mutex
	by map[key]doubt
}

type doubt struct {
	allowed bool // an operator lets it go although there may be a twin
}

// noteDoubt reports that the answer to a final dot of d is not known.
func (q *Queue) noteDoubt(d *spool.Delivery, held bool) {
	q.doubts.mu.Lock()
	q.doubts.by[key{d.ID, d.Share}] = doubt{}
	q.doubts.mu.Unlock()
	q.events.InDoubt(d.ID, d.Upstream, len(d.Pending), held)
}

// doubt decides about a claim whose earlier final dot had no answer that is
// known. It returns true where the share was put on hold.
func (q *Queue) doubt(d *spool.Delivery) bool {
	k := key{d.ID, d.Share}
	q.doubts.mu.Lock()
	known, told := q.doubts.by[k]
	if !told {
		q.doubts.by[k] = doubt{}
	}
	q.doubts.mu.Unlock()
	hold := q.cfg.Load().Retry.AfterDot == "hold" && !known.allowed
	if !told {
		q.events.InDoubt(d.ID, d.Upstream, len(d.Pending), hold)
	}
	if hold {
		q.put(d, spool.Settlement{Due: d.Envelope.Accepted, Failover: d.Failover, Hold: true, Warned: d.Warned})
	}
	return hold
}

// allow lets a share that is in doubt go, until there is another doubt.
func (ds *doubts) allow(d *spool.Delivery) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.by[key{d.ID, d.Share}] = doubt{allowed: true}
}

func (ds *doubts) forget(d *spool.Delivery) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	delete(ds.by, key{d.ID, d.Share})
}
