package queue

import (
	"slices"
	"sync"

	"postern/spool"
)

// parts are the shares of which only a part of the recipients can go at a
// time, because the upstream's rate leaves no room for more.
type parts struct{ by sync.Map } // *spool.Delivery → *part

type part struct {
	now, whole []int // as Delivery.Pending
	more       bool  // some that are left out were never tried
}

// cutPart decides which n recipients of d go now: those that were never tried
// before all others, then those whose last attempt is the longest ago, so that
// none is passed over for good.
func (q *Queue) cutPart(d *spool.Delivery, n int) {
	detail, err := q.store.Detail(q.always, d.ID)
	if err != nil {
		q.tell(&StoreFailed{"detail", d.ID, err})
		q.parts.by.Store(d, &part{now: d.Pending[:n:n], whole: d.Pending, more: true})
		return
	}
	order := slices.Clone(d.Pending)
	slices.SortStableFunc(order, func(a, b int) int {
		return detail.Recipients[a].LastAt.Compare(detail.Recipients[b].LastAt)
	})
	p := &part{now: order[:n:n], whole: d.Pending, more: detail.Recipients[order[n]].LastAt.IsZero()}
	slices.Sort(p.now)
	q.parts.by.Store(d, p)
}

func (ps *parts) of(d *spool.Delivery) *part {
	p, ok := ps.by.Load(d)
	if !ok {
		return nil
	}
	return p.(*part)
}

// size is how many recipients of d go now.
func (ps *parts) size(d *spool.Delivery) int {
	if p := ps.of(d); p != nil {
		return len(p.now)
	}
	return len(d.Pending)
}

// narrow leaves in d what goes now. Recipients that a claim does not name any
// more stay as they are when it is settled.
func (ps *parts) narrow(d *spool.Delivery) {
	if p := ps.of(d); p != nil {
		d.Pending = p.now
	}
}

// widen makes d whole again.
func (ps *parts) widen(d *spool.Delivery) {
	if p := ps.of(d); p != nil {
		d.Pending = p.whole
	}
}

// leave notes that the session leaves recipients of d for a later claim.
func (ps *parts) leave(d *spool.Delivery) {
	if p := ps.of(d); p != nil {
		p.more = true
		return
	}
	ps.by.Store(d, &part{now: d.Pending, whole: d.Pending, more: true})
}

// more says whether recipients that d does not name wait for their first
// attempt.
func (ps *parts) more(d *spool.Delivery) bool {
	p := ps.of(d)
	return p != nil && p.more && len(d.Pending) < len(p.whole)
}

// rest says whether d does not name all recipients of its share.
func (ps *parts) rest(d *spool.Delivery) bool {
	p := ps.of(d)
	return p != nil && len(d.Pending) < len(p.whole)
}

func (ps *parts) forget(d *spool.Delivery) { ps.by.Delete(d) }
