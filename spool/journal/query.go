package journal

import (
	"math"

	"postern/spool"
)

// which is a spool.Query in the terms of an index. It is good for as long as
// Store.mu is held.
type which struct {
	x      *index
	all    bool
	lane   *lane // nil: any
	none   bool  // the upstream has no lane
	held   bool
	choice bool
	aged   bool
	kept   bool
	after  spool.ID
	// Of aged, Unix times in nanoseconds.
	begun, unwarned, deadline, dueAfter int64
}

func (x *index) which(q *spool.Query) which {
	w := which{x: x, all: *q == spool.Query{}, held: q.Held, choice: q.Choice, after: q.After}
	if q.Upstream != "" {
		w.lane = x.lanes[q.Upstream]
		w.none = w.lane == nil
	}
	if a := q.Age; a != nil {
		w.aged, w.kept = true, a.Kept
		w.begun, w.unwarned, w.deadline = toNano(a.Begun), toNano(a.Unwarned), toNano(a.Deadline)
		if w.dueAfter = math.MaxInt64; !a.DueAfter.IsZero() {
			w.dueAfter = a.DueAfter.UnixNano()
		}
		if len(x.deadlines) == 0 {
			w.deadline = noTime
		}
	}
	return w
}

func (w *which) selects(e *entry) bool {
	if w.all {
		return true
	}
	if w.none || e.id <= w.after || w.held && !e.is(held) || w.lane != nil && w.x.lane(e) != w.lane ||
		w.choice && len(w.x.lists[e.list].lanes) < 2 {
		return false
	}
	if !w.aged || w.kept && e.is(kept) {
		return true
	}
	if e.accepted < max(w.begun, w.unwarned) || e.due > w.dueAfter {
		begun, later := e.accepted, w.dueAfter
		if at, has := w.x.notBefore[e.id]; has {
			begun, later = at, max(later, at)
		}
		if begun < w.begun || begun < w.unwarned && !e.is(warned) || e.due > later {
			return true
		}
	}
	if w.deadline == noTime {
		return false
	}
	at, has := w.x.deadlines[e.id]
	return has && at < w.deadline
}
