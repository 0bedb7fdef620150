package queue

import (
	"sync"
	"time"

	"postern/spool"
)

// wishes are the shares that an operator wanted tried before their time. Such
// a try is no step of the backoff. They are forgotten with the process.
type wishes struct {
	mu sync.Mutex
	by map[key]wish
}

type wish struct {
	due   time.Time // of the attempt that was brought forward; zero: it has been made
	tries int       // that were an operator's
	late  bool      // its age does not count before this try
}

func (w *wishes) add(d *spool.Delivery, due time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = map[key]wish{}
	}
	k := key{d.ID, d.Share}
	w.by[k] = wish{due: due, tries: w.by[k].tries}
}

// late is add for a share that was kept after its end.
func (w *wishes) late(d *spool.Delivery) {
	w.add(d, time.Now())
	w.mu.Lock()
	defer w.mu.Unlock()
	k := key{d.ID, d.Share}
	now := w.by[k]
	now.late = true
	w.by[k] = now
}

// isLate says whether an operator has asked for a try of a share whatever its
// age, and it has not been made.
func (w *wishes) isLate(id spool.ID, share int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.by[key{id, share}].late
}

// take ends a try. It returns when the share would have been due, zero where
// no operator has asked for this try, and how many of its attempts an operator
// has asked for.
func (w *wishes) take(d *spool.Delivery) (due time.Time, tries int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := key{d.ID, d.Share}
	was, ok := w.by[k]
	if !ok {
		return time.Time{}, 0
	}
	now := was
	if !was.due.IsZero() {
		now.tries++
	}
	now.due, now.late = time.Time{}, false
	w.by[k] = now
	return was.due, now.tries
}

func (w *wishes) forget(d *spool.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.by, key{d.ID, d.Share})
}
