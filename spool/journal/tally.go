package journal

import (
	"context"
	"time"

	"postern/spool"
)

// Tally implements spool.Store. It takes time for each TallyStep in which
// something is due, not for each share.
func (s *Store) Tally(ctx context.Context, now time.Time) (spool.Tally, error) {
	if err := ctx.Err(); err != nil {
		return spool.Tally{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var t spool.Tally
	present := tallyStep(toNano(now))
	for step, n := range s.ix.waiting {
		if step <= present {
			t.Due += n
		} else {
			t.Deferred += n
		}
	}
	for step, n := range s.ix.asked {
		if step > present {
			t.Scheduled += n
		}
	}
	t.Deferred -= t.Scheduled
	t.Claimed = s.ix.claimed
	t.Held = s.ix.shares - t.Due - t.Deferred - t.Scheduled - t.Claimed
	return t, nil
}

// tallyStep is the number of the step that a Unix time in nanoseconds is in.
func tallyStep(nano int64) int64 { return nano / int64(spool.TallyStep) }

// wait counts a share that has come into a heap, or with -1 one that has left
// it. Its due time doesn't change between the two.
func (x *index) wait(e *entry, n int) {
	step := tallyStep(e.due)
	note(x.waiting, step, n)
	if e.is(scheduled) {
		note(x.asked, step, n)
	}
}

func note(counts map[int64]int, step int64, n int) {
	if counts[step] += n; counts[step] == 0 {
		delete(counts, step)
	}
}

// keep notes whether a share is on hold because it failed.
func (x *index) keep(e *entry, on bool) {
	switch {
	case on && !e.is(kept):
		x.kept++
	case !on && e.is(kept):
		x.kept--
	}
	e.set(kept, on)
}
