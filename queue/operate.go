package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/queue/notice"
	"postern/spool"
)

// Select names shares for an operator. What is set has to hold; all of it
// empty selects nothing.
type Select struct {
	IDs      []spool.ID // these messages
	Shares   []Share    // these shares of messages
	Upstream string     // what is to be tried next with this upstream
	All      bool       // everything
	// Only limits a removal or a bounce to these recipients of a share, by
	// their index in the envelope; a share that is not in it is meant whole.
	Only map[Share][]int
	// Counted are messages that are not counted as done, as another relay has done
	// its part of them already. They are sorted.
	Counted []spool.ID
	held    bool      // only what is on hold
	free    bool      // only what is not on hold, or kept and named, and whose time has come
	before  time.Time // only what was accepted before; zero: whenever
	// damaged does what is done with a share that can't be read; nil: nothing.
	damaged func(*spool.Summary) error
}

// Share names one share of a message: recipients that go by the same list of
// upstreams.
type Share struct {
	ID    spool.ID
	Share int
}

func (s Share) compare(t Share) int {
	return cmp.Or(cmp.Compare(s.ID, t.ID), cmp.Compare(s.Share, t.Share))
}

func (s *Select) matches(m *spool.Summary) bool {
	if s.held && !m.Held || s.free && (m.Held && !(m.Kept && s.meant(m)) || m.NotBefore.After(time.Now())) || !s.before.IsZero() && !m.Accepted.Before(s.before) {
		return false
	}
	if s.Upstream != "" && m.Upstreams[m.Failover] != s.Upstream {
		return false
	}
	return s.All || s.Upstream != "" && len(s.IDs)+len(s.Shares) == 0 || s.meant(m)
}

// meant tells whether the share is named, by itself or with its message.
func (s *Select) meant(m *spool.Summary) bool {
	_, found := slices.BinarySearchFunc(s.Shares, Share{m.ID, m.Share}, Share.compare)
	return found || s.names(m.ID)
}

// names tells whether id is among IDs, which are sorted.
func (s *Select) names(id spool.ID) bool {
	_, found := slices.BinarySearch(s.IDs, id)
	return found
}

// counted tells whether id is among Counted.
func (s *Select) counted(id spool.ID) bool {
	_, found := slices.BinarySearch(s.Counted, id)
	return found
}

// Result is what an operation came to.
type Result struct {
	Done int `json:"messages"` // messages that were changed
	// Recipients are those of them that it concerned.
	Recipients int        `json:"recipients"`
	Busy       []spool.ID `json:"busy,omitempty"`      // an attempt is under way; try again
	Missing    []spool.ID `json:"missing,omitempty"`   // not in the queue
	Held       []spool.ID `json:"held,omitempty"`      // named for a retry, and on hold
	Scheduled  []spool.ID `json:"scheduled,omitempty"` // named for a retry, and not to go out yet
	// Elsewhere are shares that were left as they are since another relay has
	// their lane, by its name. Where all, or all of an upstream, was selected, none
	// is named: the whole selection is for that relay, too.
	Elsewhere map[string][]Share `json:"-"`
	// Split are those of the messages that were changed of which something else is
	// there, so that another relay may do more of them. Beyond mostSplit none are
	// named.
	Split []spool.ID `json:"-"`
	// Senderless were to be bounced, and have no sender to be returned to.
	Senderless []spool.ID `json:"senderless,omitempty"`
	// Unreadable can't be read. They can only be removed, where a store has kept them.
	Unreadable []spool.ID `json:"unreadable,omitempty"`
}

// Retry makes what is selected due at once and probes its upstreams, also
// those that are waiting or parked. What is on hold is left alone, but for what
// what is named and kept because it failed; so is what is not to go out yet.
func (q *Queue) Retry(ctx context.Context, sel Select, by string) (Result, error) {
	sel.free = true
	probe := map[string]bool{sel.Upstream: true}
	r, err := q.each(ctx, sel, func(s *spool.Summary, d *spool.Delivery) error {
		probe[s.Upstreams[s.Failover]] = true
		if s.InDoubt {
			q.doubts.allow(d)
		}
		at := time.Now()
		switch {
		case s.Kept:
			q.wishes.late(d)
		case s.Due.Before(at):
			at = s.Due // it keeps its place in the line
		default:
			q.wishes.add(d, s.Due)
		}
		return q.change(d, s.Pending, spool.Settlement{Due: at, Failover: s.Failover, Warned: s.Warned}, "retry", by, "")
	})
	q.probe(probe)
	for _, id := range slices.Compact(r.Busy) { // they are being tried at this moment
		at, changed := slices.BinarySearch(r.Split, id)
		if !changed && !sel.counted(id) {
			r.Done++
		}
		if !changed && len(r.Split) < mostSplit {
			r.Split = slices.Insert(r.Split, at, id)
		}
	}
	r.Busy = nil
	return r, err
}

// probe tries the named upstreams now, whatever their state.
func (q *Queue) probe(upstreams map[string]bool) {
	for name := range upstreams {
		if l := q.lane(name); l != nil {
			l.probeNow()
		}
	}
}

// Hold keeps what is selected until it is released.
func (q *Queue) Hold(ctx context.Context, sel Select, by string) (Result, error) {
	return q.each(ctx, sel, func(s *spool.Summary, d *spool.Delivery) error {
		return q.change(d, s.Pending, spool.Settlement{Due: s.Due, Failover: s.Failover, Hold: true, Warned: s.Warned}, "hold", by, "")
	})
}

// Release lets what is on hold go at once, or at its time, and probes its upstreams.
func (q *Queue) Release(ctx context.Context, sel Select, by string) (Result, error) {
	sel.held = true
	probe := map[string]bool{}
	defer q.probe(probe)
	return q.each(ctx, sel, func(s *spool.Summary, d *spool.Delivery) error {
		if s.InDoubt {
			q.doubts.allow(d)
		}
		if s.Kept {
			q.wishes.late(d)
		}
		probe[s.Upstreams[s.Failover]] = true
		return q.change(d, s.Pending, spool.Settlement{Due: time.Now(), Failover: s.Failover, Warned: s.Warned}, "release", by, "")
	})
}

// Remove drops what is selected without telling anybody, also what can't be read.
func (q *Queue) Remove(ctx context.Context, sel Select, by string) (Result, error) {
	sel.damaged = func(s *spool.Summary) error {
		err := q.store.Discard(ctx, s.ID, s.Share)
		if err == nil {
			q.tell(&Operated{Verb: "remove", ID: s.ID, Share: s.Share, By: by, Recipients: s.Pending, Reason: "it could not be read"})
		}
		return err
	}
	return q.each(ctx, sel, func(s *spool.Summary, d *spool.Delivery) error {
		o := spool.Outcome{Stage: spool.StageLocal, Text: "removed by " + by, Verdict: spool.Removed}
		return q.change(d, s.Pending, ended(s, d, o), "remove", by, "")
	})
}

// Bounce returns what is selected to its sender, who is told the reason. What
// has no sender is left alone.
func (q *Queue) Bounce(ctx context.Context, sel Select, by, reason string) (Result, error) {
	text := "the administrator of this relay has returned it"
	if reason != "" {
		text += ": " + notice.Plain(reason, 500)
	}
	sel.before = time.Now() // not the notifications that this makes
	return q.each(ctx, sel, func(s *spool.Summary, d *spool.Delivery) error {
		if d.Envelope.From == "" {
			q.put(d, back(s))
			return errSenderless
		}
		detail, err := q.store.Detail(ctx, d.ID)
		if err != nil {
			q.put(d, back(s))
			return err
		}
		why := spool.Outcome{Stage: spool.StageLocal, Enhanced: "5.0.0", Text: text, Verdict: spool.Bounced}
		n, err := q.writeTaken([]*spool.Delivery{d}, notice.Failed, detail, &why, time.Now())
		switch end := ended(s, d, why); {
		case err != nil:
			q.put(d, back(s))
			return err
		case n == nil:
			return q.change(d, s.Pending, end, "bounce", by, reason)
		default:
			over, done, err := q.putNotified([]*written{n}, []spool.Ending{{Delivery: d, Settlement: end}}, func(int) spool.Settlement { return back(s) })
			if done {
				if len(d.Pending) == s.Pending {
					q.forgetEnded(d, &end)
				}
				q.changed(d, s.Pending, &end, "bounce", by, reason, over)
			}
			return err
		}
	})
}

// change settles for an operator, and reports. waiting is how many recipients
// the share had.
func (q *Queue) change(d *spool.Delivery, waiting int, s spool.Settlement, verb, by, reason string) error {
	settled, err := q.settle(d, s)
	if len(d.Pending) == waiting {
		q.forgetEnded(d, &s)
	}
	if errors.Is(err, spool.ErrLost) {
		return err
	} else if err != nil {
		return fmt.Errorf("%w, message %v: %w", ErrNotRecorded, d.ID, err)
	}
	q.changed(d, waiting, &s, verb, by, reason, settled.Over)
	return nil
}

// changed reports what was settled for an operator.
func (q *Queue) changed(d *spool.Delivery, waiting int, s *spool.Settlement, verb, by, reason string, over bool) {
	q.tell(&Operated{Verb: verb, ID: d.ID, Share: d.Share, By: by, Recipients: len(d.Pending), Reason: reason})
	if len(s.Outcomes) > 0 && len(d.Pending) == waiting {
		q.leaves(d)
	}
	if over {
		q.finished(d, time.Now(), new(Finished))
	}
}

// ErrNotRecorded says that an operation holds for as long as this process
// runs, and that a restart forgets it unless the spool can be written by then.
var ErrNotRecorded = errors.New("done, but not yet on disk")

// ErrNoUpstream says that there is neither an upstream nor mail of that name.
var ErrNoUpstream = errors.New("no such upstream")

// Pause stops deliveries to an upstream after those that are under way. It
// lasts until Resume, also over reloads and restarts. After ErrNotRecorded a
// restart would forget it; where relays share it, it is recorded when the
// database is back, unless one of them was told something else since.
func (q *Queue) Pause(upstream, by string) error { return q.setPause(upstream, by, true) }

// Resume ends a pause; the upstream is tried at once, also one that waits or
// is parked.
func (q *Queue) Resume(upstream, by string) error {
	err := q.setPause(upstream, by, false)
	if !errors.Is(err, ErrNoUpstream) {
		q.probe(map[string]bool{upstream: true})
	}
	return err
}

func (q *Queue) setPause(upstream, by string, paused bool) error {
	l := q.lane(upstream)
	if l == nil {
		return ErrNoUpstream
	}
	l.setPause(paused, by)
	if err := l.keepPause(); err != nil {
		if errors.Is(err, spool.ErrAway) {
			return fmt.Errorf("%w: this relay alone knows it until the database is back, and a restart of it forgets it: %w", ErrNotRecorded, err)
		}
		return fmt.Errorf("%w: a restart forgets it: %w", ErrNotRecorded, err)
	}
	return nil
}
