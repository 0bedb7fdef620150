package queue

import (
	"slices"
	"time"

	"postern/spool"
)

const (
	// leastBatch and maxBatch bound what one claim takes while sessions are
	// open: four for each session.
	leastBatch = 8
	maxBatch   = 64
	// claimPause is the least time after which the store is asked again for
	// what it calls due and did not hand out.
	claimPause = 10 * time.Millisecond
)

// work is what a lane knows of what is due, and what it has claimed and not
// begun. Its lane guards it.
type work struct {
	hot      bool      // something may be due
	nextWake time.Time // the next due time; zero: none known
	claiming bool      // the store is being asked
	ready    []*spool.Delivery
	fresh    []*spool.Delivery // for a session that has carried nothing
}

// wake notes that something is due at the given time.
func (w *work) wake(due, now time.Time) {
	if !due.After(now) {
		w.hot = true
	} else if w.nextWake.IsZero() || due.Before(w.nextWake) {
		w.nextWake = due
	}
}

// ripen notes what has become due meanwhile.
func (w *work) ripen(now time.Time) {
	if !w.nextWake.IsZero() && !now.Before(w.nextWake) {
		w.hot, w.nextWake = true, time.Time{}
	}
}

// waits says whether something is to be done that no session has.
func (w *work) waits() bool { return w.hot || len(w.ready)+len(w.fresh) > 0 }

// asks notes that the store is asked what is due. What becomes due from then
// on makes the lane hot again.
func (w *work) asks() { w.claiming, w.hot = true, false }

// told notes what came of that: kept is what is to be begun, all says that the
// store had all that it was asked for and may have more. next, where known, is
// when more is due.
func (w *work) told(kept []*spool.Delivery, all bool, next time.Time, known bool, now time.Time) {
	w.claiming = false
	w.ready = append(w.ready, kept...)
	w.hot = w.hot || all
	if !known {
		return
	}
	// Not at once: should the store not hand out what it calls due, this must
	// not become a loop.
	if soon := now.Add(claimPause); next.Before(soon) {
		next = soon
	}
	if w.nextWake.IsZero() || next.Before(w.nextWake) {
		w.nextWake = next
	}
}

// putBack puts d first in the line.
func (w *work) putBack(d *spool.Delivery) { w.ready = slices.Insert(w.ready, 0, d) }

// drain takes all that was claimed and not begun.
func (w *work) drain() []*spool.Delivery {
	all := append(w.ready, w.fresh...)
	w.ready, w.fresh = nil, nil
	w.hot = w.hot || len(all) > 0
	return all
}

// takeShare takes one share out; nil: it is not there.
func (w *work) takeShare(id spool.ID, share int) *spool.Delivery {
	for _, list := range [...]*[]*spool.Delivery{&w.ready, &w.fresh} {
		for i, d := range *list {
			if d.ID == id && d.Share == share {
				*list = slices.Delete(*list, i, i+1)
				return d
			}
		}
	}
	return nil
}

// takeSender takes out all that is ready from one reverse-path.
func (w *work) takeSender(from string) []*spool.Delivery {
	var taken []*spool.Delivery
	kept := w.ready[:0:0]
	for _, d := range w.ready {
		if d.Envelope.From == from {
			taken = append(taken, d)
		} else {
			kept = append(kept, d)
		}
	}
	w.ready = kept
	return taken
}
