package budget

import (
	"time"

	"postern/config"
)

// grains is into how many parts the period of a rate is cut: uses that lie
// within one part are kept as one, and all of them count for as long as the
// last. So a window needs room for some hundred entries whatever its count,
// never lets through more than its rate, and may keep a use for a hundredth of
// the period longer than it has to.
const grains = 100

// window counts what one rate limits.
type window struct {
	rate config.Rate
	used []use // oldest first
	sum  int   // of used
	// flying is what was taken and not yet spent or returned. It counts
	// however long that lasts: the upstream may see it at any time until then.
	flying int
	// left is what may still be taken without writing: that much more is on
	// disk as if it were used.
	left  int
	taken int // less what was returned, since the last snapshot
	// opened is when the window, of which nothing was free, had room again.
	opened time.Time
}

// use is what was spent between first and last. Both have a monotonic reading,
// so that a clock that is set changes no window of a process.
type use struct {
	first, last time.Time
	n           int
}

// amount is what so many messages with so many recipients in all take of the
// window.
func (w *window) amount(messages, recipients int) int {
	if w.rate.Recipients {
		return recipients
	}
	return messages
}

// free is what may be taken at now. It can be negative, where the rate was
// lowered.
func (w *window) free(now time.Time) int {
	w.expire(now)
	return w.rate.Count - w.sum - w.flying
}

// expire forgets what has left the window.
func (w *window) expire(now time.Time) {
	i := 0
	for free := w.rate.Count - w.sum - w.flying; i < len(w.used) && now.Sub(w.used[i].last) >= w.rate.Per; i++ {
		w.sum -= w.used[i].n
		short := free <= 0
		if free += w.used[i].n; short && free > 0 {
			w.opened = w.used[i].last.Add(w.rate.Per)
		}
	}
	if i > 0 {
		w.used = append(w.used[:0], w.used[i:]...)
	}
}

// add notes a use at now.
func (w *window) add(now time.Time, n int) {
	if n == 0 {
		return
	}
	w.sum += n
	if i := len(w.used) - 1; i >= 0 && now.Sub(w.used[i].first) < w.rate.Per/grains {
		w.used[i].last = now
		w.used[i].n += n
		return
	}
	w.used = append(w.used, use{now, now, n})
}

// next is when one more will be free after since, provided that nothing is
// taken meanwhile; that can be before now. Zero: there was one at since, or that
// depends on what is under way.
func (w *window) next(since, now time.Time) time.Time {
	free := w.free(now)
	switch {
	case free > 0 && w.opened.After(since):
		return w.opened
	case free > 0:
		return time.Time{}
	}
	for _, u := range w.used {
		if free += u.n; free > 0 {
			return u.last.Add(w.rate.Per)
		}
	}
	return time.Time{}
}

// longBlock bounds what is written ahead.
const longBlock = 1000

// block is how much is written ahead of its use: a crash loses at most that
// much of the budget, and there is one write for it. Of a rate whose period is
// short all may be lost, which costs no more than waiting for its period.
func (w *window) block() int {
	if w.rate.Per <= time.Minute {
		return w.rate.Count
	}
	return min(max(1, w.rate.Count/20), longBlock)
}

// adopt takes over what other knows of the past.
func (w *window) adopt(other *window, now time.Time) {
	w.used, w.sum, w.flying = append(w.used[:0], other.used...), other.sum, other.flying
	w.expire(now)
}
