// Package budget keeps an upstream within its rates: never more messages or
// recipients in any stretch of time than the administrator has said, over
// restarts and crashes, with any number of sessions.
//
// It owns the windows of the rates and the file in which they outlive the
// process. It knows nothing of messages, sessions and queues: who wants to
// send takes, and tells what became of it.
package budget

import (
	"math"
	"slices"
	"sync"
	"time"

	"postern/config"
	"postern/spool"
)

// Budget is what may go to one upstream. Its methods may be called
// concurrently. One without rates lets everything through and writes nothing.
type Budget struct {
	state spool.State // nil: it is kept in memory alone
	fact  spool.Fact

	writing sync.Mutex // held over a snapshot and its writing

	mu      sync.Mutex // guards everything below
	windows []*window
	used    bool // something was taken since the start
}

// Unlimited is what Free returns where nothing limits.
const Unlimited = math.MaxInt

// Open makes the budget of an upstream and reads what it has used. state may
// be nil. Where that cannot be read the budget begins as if nothing had been
// used, and the error says why; what was there is set aside, unless that is a spool.ErrAway.
func Open(state spool.State, upstream string, rates []config.Rate) (*Budget, error) {
	b := &Budget{state: state, fact: spool.Fact{Kind: spool.KindRates, Name: upstream}}
	crashed, err := b.load(time.Now())
	b.SetRates(rates)
	if crashed {
		// So that the next start does not count it as of its own time.
		b.used = true
		err = b.Close()
	}
	return b, err
}

// SetRates puts other rates in force. A rate of the same kind and period as
// one before it goes on with what that has counted, another one with what the
// longest of its kind has.
func (b *Budget) SetRates(rates []config.Rate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	windows := make([]*window, len(rates))
	for i, r := range rates {
		windows[i] = &window{rate: r}
		if old := b.predecessor(r); old != nil {
			windows[i].adopt(old, now)
		}
	}
	b.windows = windows
}

// predecessor is the window that knows most of the past of r; nil: none does.
func (b *Budget) predecessor(r config.Rate) *window {
	var best *window
	for _, w := range b.windows {
		switch {
		case w.rate.Recipients != r.Recipients:
		case w.rate.Per == r.Per:
			return w
		case best == nil || w.rate.Per > best.rate.Per:
			best = w
		}
	}
	return best
}

// Free is how many messages may be begun now, and how many recipients they
// may have in all; Unlimited where nothing limits them. Neither is negative.
func (b *Budget) Free() (messages, recipients int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	messages, recipients = Unlimited, Unlimited
	now := time.Now()
	for _, w := range b.windows {
		free := max(0, w.free(now))
		if w.rate.Recipients {
			recipients = min(recipients, free)
		} else {
			messages = min(messages, free)
		}
	}
	return messages, recipients
}

// Next is when a message to one recipient will be free after since, at which
// somebody asked what is, provided that nothing is begun meanwhile. It has
// passed where one has become free by now. Zero: one was free at since, or it
// depends on what is under way.
func (b *Budget) Next(since time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	var latest time.Time
	now := time.Now()
	for _, w := range b.windows {
		if next := w.next(since, now); next.After(latest) {
			latest = next
		}
	}
	return latest
}

// Take begins so many messages with so many recipients in all; false: it would
// be too many, or more than Reserve has made durable. What was taken ends by
// Spend or Return.
func (b *Budget) Take(messages, recipients int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for _, w := range b.windows {
		if n := w.amount(messages, recipients); w.free(now) < n || w.left < n {
			return false
		}
	}
	for _, w := range b.windows {
		n := w.amount(messages, recipients)
		w.flying += n
		w.left -= n
		w.taken += n
		b.used = true
	}
	return true
}

// Spend ends what was taken for messages of which the upstream may count
// something. From now on they count for the period of each rate.
func (b *Budget) Spend(messages, recipients int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for _, w := range b.windows {
		n := w.amount(messages, recipients)
		w.flying = max(0, w.flying-n)
		w.expire(now)
		w.add(now, n)
	}
}

// Return ends what was taken for messages of which nothing was sent.
func (b *Budget) Return(messages, recipients int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.windows {
		n := min(w.amount(messages, recipients), w.flying)
		w.flying -= n
		w.left += n
		w.taken -= n
	}
}

// Left is what is left of one rate.
type Left struct {
	Rate string `json:"rate"`
	Left int    `json:"left"`
	// Next is when one more will be free; zero: there is one now, or it
	// depends on what is under way.
	Next time.Time `json:"next,omitzero"`
}

// Left tells what is left of each rate, in the order of the configuration.
func (b *Budget) Left() []Left {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	var all []Left
	for _, w := range b.windows {
		all = append(all, Left{Rate: w.rate.String(), Left: max(0, w.free(now)), Next: w.next(now, now)})
	}
	return all
}

// Reserve makes durable that so many messages, with so many recipients in all,
// may be taken from now on, or as many as are free. After an error they may be
// taken all the same, and a crash would forget that they were.
func (b *Budget) Reserve(messages, recipients int) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.Lock()
	lacks := slices.ContainsFunc(b.windows, func(w *window) bool { return w.left < w.amount(messages, recipients) })
	if !lacks {
		b.mu.Unlock()
		return nil
	}
	now := time.Now()
	ahead := make([]int, len(b.windows))
	for i, w := range b.windows {
		// What is not free cannot be taken: it may have begun since the
		// caller looked, and counts already.
		ahead[i] = min(max(w.amount(messages, recipients), w.block()), max(0, w.free(now)))
	}
	windows := b.windows
	record := b.snapshotLocked(now, ahead)
	b.mu.Unlock()
	err := b.saveLocked(record)
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, w := range windows {
		w.left = ahead[i] - w.taken
	}
	return err
}

// Close makes durable what was used, and gives back what was reserved and not
// taken. The budget may be used on afterwards.
func (b *Budget) Close() error {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.Lock()
	if !b.used {
		b.mu.Unlock()
		return nil
	}
	record := b.snapshotLocked(time.Now(), make([]int, len(b.windows)))
	for _, w := range b.windows {
		w.left = 0
	}
	b.mu.Unlock()
	return b.saveLocked(record)
}
