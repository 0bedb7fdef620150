package origin

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// Turns lets a number of callers work at a time. Those who wait are let in in
// turn by origin, so that one with many callers delays the others by one turn
// each round, and not by all of its own. Origins are wide ones.
type Turns struct {
	underWay atomic.Int64 // handshakes that have begun

	mu      sync.Mutex // guards what follows
	free    int
	waiting map[Key][]chan struct{} // first come, first served; a channel is closed when its turn is there
	order   []Key                   // of those in waiting, whose turn is next first
}

// NewTurns lets n callers work at a time, n at least 1.
func NewTurns(n int) *Turns {
	return &Turns{free: max(1, n), waiting: map[Key][]chan struct{}{}}
}

// Try takes a turn that is free, which does not depend on whose it is; false:
// none is. After true, Give has to follow.
func (t *Turns) Try() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free == 0 {
		return false
	}
	t.free--
	return true
}

// Take waits for a turn until ctx ends, and returns ctx's error then. After
// nil, Give has to follow.
func (t *Turns) Take(ctx context.Context, k Key) error {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return nil
	}
	k = k.Wide()
	turn := make(chan struct{})
	if len(t.waiting[k]) == 0 {
		t.order = append(t.order, k)
	}
	t.waiting[k] = append(t.waiting[k], turn)
	t.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	if t.leave(k, turn) {
		return ctx.Err()
	}
	return nil // the turn came meanwhile
}

// leave takes turn from the queue; false: it isn't there any more.
func (t *Turns) leave(k Key, turn chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting[k], turn)
	if i < 0 {
		return false
	}
	if t.waiting[k] = slices.Delete(t.waiting[k], i, i+1); len(t.waiting[k]) == 0 {
		delete(t.waiting, k)
		t.order = slices.DeleteFunc(t.order, func(o Key) bool { return o == k })
	}
	return true
}

// Give ends a turn, and begins that of whoever is next.
func (t *Turns) Give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.order) == 0 {
		t.free++
		return
	}
	k := t.order[0]
	t.order = slices.Delete(t.order, 0, 1)
	queue := t.waiting[k]
	close(queue[0])
	if queue = queue[1:]; len(queue) == 0 {
		delete(t.waiting, k)
		return
	}
	t.waiting[k] = queue
	t.order = append(t.order, k)
}
