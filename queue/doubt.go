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
	times   int  // in a row
}

// What a share that is in doubt again and again means.
const (
	DoubtMeaning = "the upstream's answer to the final dot does not come in time, again and again; it may keep a copy each time"
	DoubtRemedy  = `look whether the message has arrived; give the upstream a longer data_timeout, or set retry.after_dot = "hold" so that nothing is sent again before somebody has looked`
)

// noteDoubt reports that the answer to a final dot of d is not known.
func (q *Queue) noteDoubt(d *spool.Delivery, held bool) {
	k := key{d.ID, d.Share}
	q.doubts.mu.Lock()
	times := q.doubts.by[k].times + 1
	q.doubts.by[k] = doubt{times: times}
	q.doubts.mu.Unlock()
	q.tell(&InDoubt{d.ID, d.Upstream, len(d.Pending), times, held})
}

// doubt decides about a claim whose earlier final dot had no answer that is
// known. It returns true where the share was put on hold.
func (q *Queue) doubt(d *spool.Delivery) bool {
	k := key{d.ID, d.Share}
	q.doubts.mu.Lock()
	known, told := q.doubts.by[k]
	if !told {
		known.times = 1
		q.doubts.by[k] = known
	}
	q.doubts.mu.Unlock()
	hold := q.cfg.Load().Retry.AfterDot == "hold" && !known.allowed
	if !told {
		q.tell(&InDoubt{d.ID, d.Upstream, len(d.Pending), 1, hold})
	}
	if hold {
		q.put(d, spool.Settlement{Due: d.Envelope.Accepted, Failover: d.Failover, Hold: true, Warned: d.Warned})
	}
	return hold
}

// answered ends a row of doubts: the upstream has answered since.
func (ds *doubts) answered(d *spool.Delivery) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	k := key{d.ID, d.Share}
	if known, ok := ds.by[k]; ok && known.times > 0 {
		known.times = 0
		ds.by[k] = known
	}
}

// allow lets a share that is in doubt go, until there is another doubt.
func (ds *doubts) allow(d *spool.Delivery) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	k := key{d.ID, d.Share}
	ds.by[k] = doubt{allowed: true, times: ds.by[k].times}
}

// stays says whether a share stays with its upstream, because a copy may have
// arrived there; not where an operator has decided that it may go.
func (ds *doubts) stays(id spool.ID, share int, inDoubt bool) bool {
	if !inDoubt {
		return false
	}
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return !ds.by[key{id, share}].allowed
}

func (ds *doubts) forget(d *spool.Delivery) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	delete(ds.by, key{d.ID, d.Share})
}
