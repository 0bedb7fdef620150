package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/spool"
)

// errSenderless is for each: the share was left as it was.
var errSenderless = errors.New("there is no sender")

// each claims what is selected, share by share, and gives it to act, which
// settles it. The first error of act ends it; what cannot be read is passed
// over, and told at the end.
func (q *Queue) each(ctx context.Context, sel Select, act func(*spool.Summary, *spool.Delivery) error) (Result, error) {
	q.admin.Lock()
	defer q.admin.Unlock()
	sel.IDs = slices.Compact(slices.Sorted(slices.Values(sel.IDs)))
	sel.Shares = slices.SortedFunc(slices.Values(sel.Shares), Share.compare)
	var r Result
	var failed, unread error
	var at visited
	seen := map[spool.ID]bool{}
	others := map[string]*spool.Leased{} // by upstream
	ended := q.find(ctx, &sel, func(s spool.Summary) bool {
		if failed = ctx.Err(); failed != nil {
			return false
		}
		at.next(&r, s.ID)
		if sel.names(s.ID) {
			seen[s.ID] = true
		}
		if n := len(r.Held); sel.free && s.Held && !s.Kept && sel.meant(&s) && (n == 0 || r.Held[n-1] != s.ID) {
			r.Held = append(r.Held, s.ID)
		}
		if n := len(r.Scheduled); sel.free && s.NotBefore.After(time.Now()) && !s.Held && sel.meant(&s) && (n == 0 || r.Scheduled[n-1] != s.ID) {
			r.Scheduled = append(r.Scheduled, s.ID)
		}
		if !sel.matches(&s) {
			at.more = true
			return true
		}
		lane := s.Upstreams[s.Failover]
		if other := others[lane]; other != nil && time.Now().Before(other.Until) {
			r.leave(&sel, &s, other)
			at.more = true
			return true
		}
		d, err := q.takeForOperator(ctx, &s)
		var other *spool.Leased
		changed := false
		switch {
		case errors.As(err, &other):
			others[lane] = other
			r.leave(&sel, &s, other)
		case errors.Is(err, spool.ErrNotFound): // gone meanwhile
		case errors.Is(err, spool.ErrDamaged):
			if changed, err = sel.discard(&s); err != nil {
				unread = fmt.Errorf("message %s: %w", s.ID, err)
			}
			if changed {
				r.Recipients += s.Pending
			} else if n := len(r.Unreadable); n == 0 || r.Unreadable[n-1] != s.ID {
				r.Unreadable = append(r.Unreadable, s.ID)
			}
		case errors.Is(err, spool.ErrClaimed):
			r.Busy = append(r.Busy, s.ID)
		case err != nil:
			unread = fmt.Errorf("message %s: %w", s.ID, err)
		default:
			if !sel.narrow(d) {
				q.put(d, back(&s)) // those that were meant have ended meanwhile
				break
			}
			n := len(d.Pending)
			if failed = act(&s, d); errors.Is(failed, errSenderless) {
				failed = nil
				if k := len(r.Senderless); k == 0 || r.Senderless[k-1] != s.ID {
					r.Senderless = append(r.Senderless, s.ID)
				}
				break
			}
			if errors.Is(failed, spool.ErrLost) {
				failed = nil
				r.Busy = append(r.Busy, s.ID) // somebody else has it
				break
			}
			if changed = failed == nil; changed {
				r.Recipients += n
			}
		}
		if changed && !at.changed && !sel.counted(s.ID) {
			r.Done++
		}
		at.changed, at.more = at.changed || changed, at.more || !changed
		return failed == nil
	})
	at.next(&r, 0)
	if failed == nil {
		failed = ended
	}
	for _, id := range sel.IDs {
		if !seen[id] && failed == nil {
			r.Missing = append(r.Missing, id)
		}
	}
	if failed == nil {
		failed = unread
	}
	return r, failed
}

// visited is what was done of a message, while its shares are visited.
type visited struct {
	id            spool.ID
	changed, more bool // something of it was, and something is as it was
}

// mostSplit is how many messages are kept in mind so that each is counted once.
const mostSplit = 100_000

// next goes on with a message.
func (p *visited) next(r *Result, id spool.ID) {
	if id == p.id {
		return
	}
	if p.changed && p.more && len(r.Split) < mostSplit {
		r.Split = append(r.Split, p.id)
	}
	*p = visited{id: id}
}

// find visits what may be selected, in ID order. Messages that are named are
// asked for one by one.
func (q *Queue) find(ctx context.Context, sel *Select, visit func(spool.Summary) bool) error {
	if sel.All || len(sel.IDs)+len(sel.Shares) == 0 {
		if !sel.All && sel.Upstream == "" {
			return nil
		}
		return q.store.Find(ctx, spool.Query{Upstream: sel.Upstream, Held: sel.held}, visit)
	}
	ids := slices.Clone(sel.IDs)
	for _, s := range sel.Shares {
		ids = append(ids, s.ID)
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		shares, err := q.store.Shares(ctx, id)
		if err != nil && !errors.Is(err, spool.ErrNotFound) {
			return err
		}
		for i := range shares {
			if !visit(shares[i]) {
				return nil
			}
		}
	}
	return nil
}

// narrow leaves in d the recipients that are meant; false: none of them waits.
// Recipients that a claim does not name any more stay as they are when it is
// settled.
func (s *Select) narrow(d *spool.Delivery) bool {
	only, limited := s.Only[Share{d.ID, d.Share}]
	if limited {
		d.Pending = slices.DeleteFunc(slices.Clone(d.Pending), func(i int) bool { return !slices.Contains(only, i) })
	}
	return len(d.Pending) > 0
}

// discard does what is done with a share that can't be read; false: nothing, as
// nothing is to be done, some of its recipients alone are meant, or the store has
// set it aside.
func (s *Select) discard(m *spool.Summary) (done bool, err error) {
	if _, limited := s.Only[Share{m.ID, m.Share}]; limited || s.damaged == nil {
		return false, nil
	}
	err = s.damaged(m)
	if errors.Is(err, spool.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// back is the settlement that leaves a share as it was.
func back(s *spool.Summary) spool.Settlement {
	return spool.Settlement{Due: s.Due, Failover: s.Failover, Hold: s.Held, Kept: s.Kept, Warned: s.Warned}
}

// ended is the settlement by which an operator ends recipients; the others of
// the share, where there are any, stay as they were.
func ended(s *spool.Summary, d *spool.Delivery, o spool.Outcome) spool.Settlement {
	e := back(s)
	e.Outcomes = repeat(o, len(d.Pending))
	return e
}

// takeForOperator claims a share, also from a lane that has not begun with it.
func (q *Queue) takeForOperator(ctx context.Context, s *spool.Summary) (*spool.Delivery, error) {
	d, err := q.store.Take(ctx, s.ID, s.Share)
	if errors.Is(err, spool.ErrClaimed) {
		if l := q.lane(s.Upstreams[s.Failover]); l != nil {
			if d := l.pluck(s.ID, s.Share); d != nil {
				return d, nil
			}
		}
	}
	return d, err
}

// leave notes a share that another relay has to see to.
func (r *Result) leave(sel *Select, s *spool.Summary, other *spool.Leased) {
	if r.Elsewhere == nil {
		r.Elsewhere = map[string][]Share{}
	}
	named := r.Elsewhere[other.Holder]
	if !sel.All && len(sel.IDs)+len(sel.Shares) > 0 {
		named = append(named, Share{s.ID, s.Share})
	}
	r.Elsewhere[other.Holder] = named
}

// Add adds what the same operation has come to elsewhere.
func (r *Result) Add(o *Result) {
	r.Done += o.Done
	r.Recipients += o.Recipients
	for _, list := range [...]struct{ into, more *[]spool.ID }{
		{&r.Busy, &o.Busy}, {&r.Missing, &o.Missing}, {&r.Held, &o.Held}, {&r.Scheduled, &o.Scheduled}, {&r.Senderless, &o.Senderless}, {&r.Unreadable, &o.Unreadable}, {&r.Split, &o.Split},
	} {
		if len(*list.more) > 0 {
			*list.into = slices.Compact(slices.Sorted(slices.Values(append(*list.into, *list.more...))))
		}
	}
}
