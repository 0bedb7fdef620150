package control

import (
	"context"
	"errors"
	"time"

	"postern/spool"
)

// List calls visit for each entry of src that f selects, in the order of
// acceptance, until visit returns an error. It holds one entry at a time.
func List(ctx context.Context, src spool.Reader, f Filter, visit func(*Entry) error) error {
	return walk(ctx, src, f, true, func(_ *spool.Summary, e *Entry) error { return visit(e) })
}

// walk visits the shares that f selects; the entry is nil unless detailed.
func walk(ctx context.Context, src spool.Reader, f Filter, detailed bool, visit func(*spool.Summary, *Entry) error) error {
	var ended error
	n, entries := 0, Entries{From: src, Filter: f}
	q := spool.Query{Upstream: f.Upstream, Held: f.Held && !f.Deferred && !f.Scheduled}
	err := src.Find(ctx, q, func(s spool.Summary) bool {
		if ended = ctx.Err(); ended != nil {
			return false
		}
		now := time.Now()
		if !f.MaySelect(&s, now) {
			return true
		}
		var e *Entry
		if detailed {
			if e, ended = entries.Of(ctx, &s, now); ended != nil {
				return false
			} else if e == nil {
				return true
			}
		}
		if ended = visit(&s, e); ended != nil {
			return false
		}
		n++
		return f.Limit <= 0 || n < f.Limit
	})
	if ended == nil {
		ended = err
	}
	return ended
}

// Entries describes shares as they are found, one after the other: those of one
// message follow each other, and it is read once.
type Entries struct {
	From   spool.Reader
	Filter Filter

	detail *spool.Detail // of the last message; nil: there was none
}

// Of describes a share that the filter may select; nil: it does not, or nothing of it
// waits any more. What cannot be read is selected by what its summary says, and not
// where the filter asks for more. The error is that of ctx, or of a store that does
// not answer.
func (x *Entries) Of(ctx context.Context, s *spool.Summary, now time.Time) (*Entry, error) {
	if x.detail == nil || x.detail.ID != s.ID {
		d, err := x.From.Detail(ctx, s.ID)
		switch {
		case err == nil:
			x.detail = d
		case errors.Is(err, spool.ErrNotFound): // it ended since
			return nil, nil
		case ctx.Err() != nil, errors.Is(err, spool.ErrAway), errors.Is(err, spool.ErrClosed):
			return nil, err
		case x.Filter.needsDetail():
			return nil, nil
		default:
			e := newEntry(s, now)
			e.Unreadable, e.Waits = true, waitsUnread
			if !errors.Is(err, spool.ErrDamaged) {
				e.Waits = "it cannot be read: " + err.Error()
			}
			return e, nil
		}
	}
	e := NewEntry(s, x.detail, now)
	if len(e.To) == 0 || !x.Filter.Selects(e) {
		return nil, nil
	}
	return e, nil
}

// waitsUnread is why a message waits that is damaged.
const waitsUnread = "what is kept of it cannot be read, and goes nowhere: `postern queue remove` ends it"
