package spool

import "slices"

// lane is what waits for one upstream: a heap by due time for each priority,
// most urgent first. Shares that are held or claimed are in no heap.
type lane struct {
	name   string
	shares int // that are to be tried here next, waiting or not
	heaps  []dueHeap
}

type dueHeap struct {
	priority int8
	handles  []handle
}

// enqueue makes a share wait for its time. It returns the lane where the
// share is now the first that becomes due, and nil otherwise.
func (x *index) enqueue(h handle) *lane {
	e := x.entry(h)
	if e.is(held|claimed) || e.slot >= 0 {
		return nil
	}
	l := x.lane(e)
	first, any := x.nextDue(l)
	q := l.heap(e.priority)
	q.handles = append(q.handles, h)
	e.slot = int32(len(q.handles) - 1)
	x.wait(e, 1)
	x.up(q, len(q.handles)-1)
	if any && first <= e.due {
		return nil
	}
	return l
}

// unqueue takes a share out of its heap, if it is in one.
func (x *index) unqueue(h handle) {
	e := x.entry(h)
	if e.slot < 0 {
		return
	}
	q := x.lane(e).heap(e.priority)
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
	x.wait(e, -1)
}

func (l *lane) heap(priority int8) *dueHeap {
	i := 0
	for ; i < len(l.heaps) && l.heaps[i].priority >= priority; i++ {
		if l.heaps[i].priority == priority {
			return &l.heaps[i]
		}
	}
	l.heaps = slices.Insert(l.heaps, i, dueHeap{priority: priority})
	return &l.heaps[i]
}

// nextDue is when the first share of a lane becomes due.
func (x *index) nextDue(l *lane) (due int64, ok bool) {
	for i := range l.heaps {
		q := &l.heaps[i]
		if len(q.handles) == 0 {
			continue
		}
		if d := x.entry(q.handles[0]).due; !ok || d < due {
			due, ok = d, true
		}
	}
	return due, ok
}

// pop takes out the most urgent share that is due at now; 0: there is none.
func (x *index) pop(l *lane, now int64) handle {
	for i := range l.heaps {
		q := &l.heaps[i]
		if len(q.handles) == 0 {
			continue
		}
		h := q.handles[0]
		if x.entry(h).due <= now {
			x.unqueue(h)
			return h
		}
	}
	return 0
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
