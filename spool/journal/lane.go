package journal

import (
	"math"
	"slices"
)

// lane is what waits for one upstream, most urgent first. Shares that are held
// or claimed wait nowhere.
type lane struct {
	name   string
	shares int // that are to be tried here next, waiting or not
	ranks  []rank
	told   int64 // the earliest due time of those that came since the last pop and wait in turns
}

// rank is what waits with one priority. A share whose time has not come waits
// in later, or in asked. From then on it waits in the turn of its sender, and those who have
// something there are served one share each, round and round: however much one
// of them has sent, another waits for one share of each sender only.
type rank struct {
	priority int8
	later    dueHeap
	asked    dueHeap          // as later, of what is scheduled
	turns    map[uint32]*turn // by entry.sender
	next     *turn            // whose turn it is; nil: nobody has anything due
}

// turn is what is due of one sender. Those that aren't empty form a ring.
type turn struct {
	due        dueHeap
	prev, next *turn // nil where it is empty
}

// dueHeap orders shares by due time.
type dueHeap struct{ handles []handle }

// ripenStep bounds how many shares one pop moves from later to their turns.
const ripenStep = 64

// enqueue makes a share wait for its time. It returns the lane where the
// share is now the first that becomes due, and nil otherwise.
func (x *index) enqueue(h handle) *lane {
	e := x.entry(h)
	if e.is(held|claimed) || e.slot >= 0 {
		return nil
	}
	l := x.lane(e)
	first := true
	for i := range l.ranks {
		r := &l.ranks[i]
		if r.next != nil && l.told <= e.due || x.leads(&r.later, e.due) || x.leads(&r.asked, e.due) {
			first = false
		}
	}
	at, has := x.notBefore[e.id]
	e.set(scheduled, has && e.due <= at)
	x.wait(e, 1)
	// What was never deferred is due, whatever the clock says by now.
	isDue := e.due <= max(e.accepted, x.now)
	x.put(l.rank(e.priority), h, isDue)
	if isDue {
		l.told = min(l.told, e.due)
	}
	if !first {
		return nil
	}
	return l
}

// put lets a share wait in its sender's turn, or until later.
func (x *index) put(r *rank, h handle, isDue bool) {
	e := x.entry(h)
	e.set(ripe, isDue)
	q := r.until(e)
	if isDue {
		t := r.turns[e.sender]
		if t == nil {
			t = &turn{}
			r.turns[e.sender] = t
		}
		if t.next == nil {
			r.join(t)
		}
		q = &t.due
	}
	q.handles = append(q.handles, h)
	e.slot = int32(len(q.handles) - 1)
	x.up(q, len(q.handles)-1)
}

// join makes t the last one of the ring.
func (r *rank) join(t *turn) {
	if r.next == nil {
		t.prev, t.next, r.next = t, t, t
		return
	}
	t.prev, t.next = r.next.prev, r.next
	t.prev.next, t.next.prev = t, t
}

// quit takes t, which is empty, out of the ring.
func (r *rank) quit(t *turn) {
	switch {
	case t.next == t:
		r.next = nil
	case r.next == t:
		r.next = t.next
	}
	t.prev.next, t.next.prev = t.next, t.prev
	t.prev, t.next = nil, nil
}

// unqueue takes a share out of where it waits, if it does.
func (x *index) unqueue(h handle) {
	e := x.entry(h)
	if e.slot < 0 {
		return
	}
	x.remove(x.lane(e).rank(e.priority), h)
	x.wait(e, -1)
}

func (x *index) remove(r *rank, h handle) {
	e := x.entry(h)
	q, t := r.until(e), (*turn)(nil)
	if e.is(ripe) {
		t = r.turns[e.sender]
		q = &t.due
	}
	i, end := int(e.slot), len(q.handles)-1
	if i != end {
		q.handles[i] = q.handles[end]
		x.entry(q.handles[i]).slot = int32(i)
	}
	q.handles = q.handles[:end]
	if i < end {
		x.down(q, i)
		x.up(q, i)
	}
	if cap(q.handles) > 1024 && len(q.handles) < cap(q.handles)/4 {
		q.handles = slices.Clone(q.handles)
	}
	e.slot = -1
	if t != nil && end == 0 {
		r.quit(t)
	}
}

func (l *lane) rank(priority int8) *rank {
	i := 0
	for ; i < len(l.ranks) && l.ranks[i].priority >= priority; i++ {
		if l.ranks[i].priority == priority {
			return &l.ranks[i]
		}
	}
	l.ranks = slices.Insert(l.ranks, i, rank{priority: priority, turns: map[uint32]*turn{}})
	return &l.ranks[i]
}

// nextDue is when the first share of a lane becomes due.
func (x *index) nextDue(l *lane) (due int64, ok bool) {
	due, ok = x.nextBegun(l)
	if at, asked := x.nextScheduled(l); asked && (!ok || at < due) {
		return at, true
	}
	return due, ok
}

// nextScheduled is nextDue of those that wait for their NotBefore.
func (x *index) nextScheduled(l *lane) (due int64, ok bool) {
	for i := range l.ranks {
		if q := &l.ranks[i].asked; len(q.handles) > 0 {
			if at := x.entry(q.handles[0]).due; !ok || at < due {
				due, ok = at, true
			}
		}
	}
	return due, ok
}

// nextBegun is nextDue of the others.
func (x *index) nextBegun(l *lane) (due int64, ok bool) {
	look := func(q *dueHeap) {
		if len(q.handles) == 0 {
			return
		}
		if d := x.entry(q.handles[0]).due; !ok || d < due {
			due, ok = d, true
		}
	}
	for i := range l.ranks {
		r := &l.ranks[i]
		look(&r.later)
		if t := r.next; t != nil {
			for look(&t.due); t.next != r.next; look(&t.due) {
				t = t.next
			}
		}
	}
	return due, ok
}

// pop takes out the most urgent share that is due at now; 0: there is none.
// Of those that are as urgent it is that of the sender whose turn it is, and of
// hers the one that became due first.
func (x *index) pop(l *lane, now int64) handle {
	x.now, l.told = now, math.MaxInt64
	for i := range l.ranks {
		r := &l.ranks[i]
		x.ripen(r, &r.later, now)
		x.ripen(r, &r.asked, now)
		for r.next != nil {
			t := r.next
			h := t.due.handles[0]
			if x.entry(h).due > now { // the clock was set back
				x.move(r, h, false)
				continue
			}
			r.next = t.next
			x.unqueue(h)
			return h
		}
	}
	return 0
}

// ripen moves shares that are due at now to their turns.
func (x *index) ripen(r *rank, q *dueHeap, now int64) {
	for range ripenStep {
		if !x.leads(q, now) {
			return
		}
		x.move(r, q.handles[0], true)
	}
}

// leads tells whether the first of a heap is due at a time.
func (x *index) leads(q *dueHeap, at int64) bool {
	return len(q.handles) > 0 && x.entry(q.handles[0]).due <= at
}

// until is where a share waits whose time has not come.
func (r *rank) until(e *entry) *dueHeap {
	if e.is(scheduled) {
		return &r.asked
	}
	return &r.later
}

// move lets a share wait elsewhere.
func (x *index) move(r *rank, h handle, isDue bool) {
	x.remove(r, h)
	x.put(r, h, isDue)
}

// less orders by due time, then by order of acceptance.
func (x *index) less(a, b handle) bool {
	p, q := x.entry(a), x.entry(b)
	if p.due != q.due {
		return p.due < q.due
	}
	if p.id != q.id {
		return p.id < q.id
	}
	return p.share < q.share
}

func (x *index) up(q *dueHeap, i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !x.less(q.handles[i], q.handles[parent]) {
			return
		}
		x.swap(q, i, parent)
		i = parent
	}
}

func (x *index) down(q *dueHeap, i int) {
	for {
		child := 2*i + 1
		if child >= len(q.handles) {
			return
		}
		if right := child + 1; right < len(q.handles) && x.less(q.handles[right], q.handles[child]) {
			child = right
		}
		if !x.less(q.handles[child], q.handles[i]) {
			return
		}
		x.swap(q, i, child)
		i = child
	}
}

func (x *index) swap(q *dueHeap, i, j int) {
	h := q.handles
	h[i], h[j] = h[j], h[i]
	x.entry(h[i]).slot, x.entry(h[j]).slot = int32(i), int32(j)
}
