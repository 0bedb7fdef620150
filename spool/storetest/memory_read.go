package storetest

import (
	"bytes"
	"context"
	"time"

	"postern/spool"
)

// Lanes implements spool.Store.
func (m *Memory) Lanes(ctx context.Context) (map[string]spool.LaneState, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	lanes := map[string]spool.LaneState{}
	for _, msg := range m.messages {
		for _, s := range msg.shares {
			if len(s.rcpts) == 0 {
				continue
			}
			l := lanes[s.list[s.failover]]
			l.Shares++
			next := &l.Due
			if !msg.env.NotBefore.IsZero() && !s.due.After(msg.env.NotBefore) {
				next = &l.Scheduled
			}
			if s.waits() && (next.IsZero() || s.due.Before(*next)) {
				*next = s.due
			}
			lanes[s.list[s.failover]] = l
		}
	}
	return lanes, nil
}

// waits tells whether a share is neither held nor claimed.
func (s *memShare) waits() bool { return len(s.rcpts) > 0 && s.claimed.Claim == 0 && !s.held }

// Usage implements spool.Store.
func (m *Memory) Usage(ctx context.Context) (u spool.Usage, err error) {
	u.Free = -1
	m.mu.Lock()
	u.Messages, u.MaxMessages = len(m.messages), m.limit
	u.Full = m.limit > 0 && u.Messages >= m.limit
	for _, msg := range m.messages {
		u.Live += int64(len(msg.content))
	}
	m.mu.Unlock()
	u.Disk = u.Live
	err = m.Find(ctx, spool.Query{}, func(s spool.Summary) bool {
		if u.Shares++; s.Kept {
			u.Kept++
		}
		return true
	})
	return u, err
}

// Tally implements spool.Store.
func (m *Memory) Tally(ctx context.Context, now time.Time) (t spool.Tally, err error) {
	step := func(t time.Time) int64 { return t.UnixNano() / int64(spool.TallyStep) }
	err = m.Find(ctx, spool.Query{}, func(s spool.Summary) bool {
		switch {
		case s.Claimed:
			t.Claimed++
		case s.Held:
			t.Held++
		case step(s.Due) <= step(now):
			t.Due++
		case !s.Due.After(s.NotBefore):
			t.Scheduled++
		default:
			t.Deferred++
		}
		return true
	})
	return t, err
}

type memContent struct{ *bytes.Reader }

func (memContent) Close() error { return nil }

// Content implements spool.Store.
func (m *Memory) Content(ctx context.Context, id spool.ID) (spool.Content, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	msg := m.messages[id]
	if msg == nil {
		return nil, spool.ErrNotFound
	}
	return memContent{bytes.NewReader(msg.content)}, nil
}

// Detail implements spool.Store.
func (m *Memory) Detail(ctx context.Context, id spool.ID) (*spool.Detail, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	msg := m.messages[id]
	if msg == nil {
		return nil, spool.ErrNotFound
	}
	d := &spool.Detail{ID: id, Size: int64(len(msg.content)), Envelope: msg.env}
	d.Recipients = make([]spool.RecipientState, len(msg.env.Recipients))
	for i := range d.Recipients {
		d.Recipients[i] = spool.RecipientState{Status: msg.status[i], Last: msg.last[i], LastAt: msg.lastAt[i]}
	}
	for n, s := range msg.shares {
		for _, i := range s.rcpts {
			r := &d.Recipients[i]
			r.Share, r.Upstream, r.Attempts, r.Due = n, s.list[s.failover], s.attempts, s.due
			r.Held, r.InDoubt, r.Kept, r.Warned = s.held, s.doubt, s.kept, s.warned
		}
	}
	return d, nil
}

// Shares implements spool.Store.
func (m *Memory) Shares(ctx context.Context, id spool.ID) (all []spool.Summary, err error) {
	err = m.Find(ctx, spool.Query{}, func(s spool.Summary) bool {
		if s.ID == id {
			all = append(all, s)
		}
		return s.ID <= id
	})
	if err == nil && len(all) == 0 {
		err = spool.ErrNotFound
	}
	return all, err
}

// Selects says what a query means: whether q selects a share.
func Selects(q *spool.Query, s *spool.Summary) bool {
	if s.ID <= q.After || q.Upstream != "" && s.Upstreams[s.Failover] != q.Upstream || q.Held && !s.Held || q.Choice && len(s.Upstreams) < 2 {
		return false
	}
	a := q.Age
	return a == nil || s.Begins().Before(a.Begun) || s.Begins().Before(a.Unwarned) && !s.Warned || a.Kept && s.Kept ||
		!s.Deadline.IsZero() && s.Deadline.Before(a.Deadline) || !a.DueAfter.IsZero() && s.Due.After(a.DueAfter) && s.Due.After(s.NotBefore)
}

// Find implements spool.Store.
func (m *Memory) Find(ctx context.Context, q spool.Query, visit func(spool.Summary) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	ids := m.sorted()
	m.mu.Unlock()
	for _, id := range ids {
		m.mu.Lock()
		var all []spool.Summary
		if msg := m.messages[id]; msg != nil {
			for n, s := range msg.shares {
				if len(s.rcpts) == 0 {
					continue
				}
				sum := spool.Summary{ID: id, Share: n, Accepted: msg.env.Accepted, Size: int64(len(msg.content)),
					Upstreams: s.list, Failover: s.failover, Pending: len(s.rcpts), Attempts: s.attempts, Due: s.due,
					Priority: msg.env.Priority, Held: s.held, Claimed: s.claimed.Claim != 0, InDoubt: s.doubt, Warned: s.warned, Kept: s.kept}
				if msg.env.DeliverBy != nil {
					sum.Deadline = msg.env.DeliverBy.Deadline
				}
				if msg.env.NotBefore.After(msg.env.Accepted) {
					sum.NotBefore = msg.env.NotBefore
				}
				if Selects(&q, &sum) {
					all = append(all, sum)
				}
			}
		}
		m.mu.Unlock()
		for _, s := range all {
			if !visit(s) {
				return nil
			}
		}
	}
	return nil
}
