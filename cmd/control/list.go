package control

import (
	"context"
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
	var (
		ended  error
		n      int
		detail *spool.Detail // of the last message: its shares follow each other
	)
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
			if detail == nil || detail.ID != s.ID {
				d, err := src.Detail(ctx, s.ID)
				if err != nil {
					return true // it ended since, or is damaged, which the spool reports
				}
				detail = d
			}
			e = NewEntry(&s, detail, now)
			if len(e.To) == 0 || !f.Selects(e) {
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
