package queue

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"postern/spool"
)

// memory is a spool.Store without a disk.
type memory struct {
	mu       sync.Mutex
	nextID   spool.ID
	messages map[spool.ID]*memMessage
	wake     func(string, time.Time)
}

type memMessage struct {
	env     *spool.Envelope
	content []byte
	status  []spool.Status
	last    []*spool.Outcome
	lastAt  []time.Time
	shares  []*memShare
}

type memShare struct {
	list     []string
	rcpts    []int
	failover int
	attempts int
	due      time.Time
	held     bool
	kept     bool
	claimed  *spool.Delivery
	attempt  bool // the claim is one
	doubt    bool
	dotted   bool
	warned   bool
}

func newMemory() *memory {
	return &memory{messages: map[spool.ID]*memMessage{}, wake: func(string, time.Time) {}}
}

type memDraft struct {
	m   *memory
	id  spool.ID
	buf bytes.Buffer
}

func (d *memDraft) ID() spool.ID                { return d.id }
func (d *memDraft) Write(p []byte) (int, error) { return d.buf.Write(p) }
func (d *memDraft) Discard()                    {}

func (m *memory) Create(context.Context) (spool.Draft, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nextID++
	return &memDraft{m: m, id: m.nextID}, nil
}

func (d *memDraft) Commit(_ context.Context, env *spool.Envelope) error {
	msg := &memMessage{env: env, content: d.buf.Bytes(), status: make([]spool.Status, len(env.Recipients)),
		last: make([]*spool.Outcome, len(env.Recipients)), lastAt: make([]time.Time, len(env.Recipients))}
	for i, r := range env.Recipients {
		k := slices.IndexFunc(msg.shares, func(s *memShare) bool { return slices.Equal(s.list, r.Upstreams) })
		if k < 0 {
			k = len(msg.shares)
			msg.shares = append(msg.shares, &memShare{list: r.Upstreams, due: env.Accepted, held: env.Hold})
		}
		msg.shares[k].rcpts = append(msg.shares[k].rcpts, i)
	}
	d.m.mu.Lock()
	d.m.messages[d.id] = msg
	wake := d.m.wake
	d.m.mu.Unlock()
	for _, r := range env.Recipients {
		if !env.Hold {
			wake(r.Upstreams[0], env.Accepted)
		}
	}
	return nil
}

func (m *memory) sorted() []spool.ID {
	ids := make([]spool.ID, 0, len(m.messages))
	for id := range m.messages {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (s *memShare) delivery(id spool.ID, n int, msg *memMessage) *spool.Delivery {
	return &spool.Delivery{ID: id, Share: n, Upstream: s.list[s.failover], Attempt: s.attempts, Failover: s.failover,
		InDoubt: s.doubt, Warned: s.warned, Envelope: msg.env, Pending: slices.Clone(s.rcpts), Size: int64(len(msg.content))}
}

func (m *memory) Claim(_ context.Context, upstream string, now time.Time, most int, retry spool.Schedule) ([]*spool.Delivery, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	type found struct {
		id spool.ID
		n  int
		s  *memShare
	}
	var all []found
	for id, msg := range m.messages {
		for n, s := range msg.shares {
			if s != nil && len(s.rcpts) > 0 && s.claimed == nil && !s.held && s.list[s.failover] == upstream && !s.due.After(now) {
				all = append(all, found{id, n, s})
			}
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		pa, pb := m.messages[a.id].env.Priority, m.messages[b.id].env.Priority
		return cmp.Or(cmp.Compare(pb, pa), a.s.due.Compare(b.s.due), cmp.Compare(a.id, b.id))
	})
	var out []*spool.Delivery
	for _, f := range all[:min(most, len(all))] {
		f.s.attempts++
		f.s.due = retry.Next(now, f.s.attempts)
		f.s.attempt, f.s.dotted = true, false
		f.s.claimed = f.s.delivery(f.id, f.n, m.messages[f.id])
		out = append(out, f.s.claimed)
	}
	return out, nil
}

func (m *memory) Take(_ context.Context, id spool.ID, share int) (*spool.Delivery, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	msg := m.messages[id]
	if msg == nil || share >= len(msg.shares) || len(msg.shares[share].rcpts) == 0 {
		return nil, spool.ErrNotFound
	}
	s := msg.shares[share]
	if s.claimed != nil {
		return nil, spool.ErrClaimed
	}
	s.attempt = false
	s.claimed = s.delivery(id, share, msg)
	return s.claimed, nil
}

func (m *memory) DotSent(_ context.Context, d *spool.Delivery) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages[d.ID].shares[d.Share].dotted = true
	return nil
}

func (m *memory) Settle(_ context.Context, d *spool.Delivery, st spool.Settlement) error {
	m.mu.Lock()
	msg := m.messages[d.ID]
	if msg == nil || msg.shares[d.Share].claimed != d {
		m.mu.Unlock()
		panic("settled without a claim")
	}
	s := msg.shares[d.Share]
	dotted := s.dotted && !st.Answered
	s.claimed, s.dotted = nil, false
	if len(st.Outcomes) == 0 && s.attempt {
		s.attempts--
	}
	if len(st.Outcomes) > 0 {
		if len(st.Outcomes) != len(d.Pending) {
			panic("wrong number of outcomes")
		}
		s.rcpts = slices.DeleteFunc(slices.Clone(s.rcpts), func(n int) bool { return slices.Contains(d.Pending, n) })
		for i, o := range st.Outcomes {
			n := d.Pending[i]
			msg.last[n], msg.lastAt[n] = &o, time.Now()
			msg.status[n] = o.Verdict
			if o.Verdict == spool.Pending {
				s.rcpts = append(s.rcpts, n)
				s.doubt = s.doubt || dotted && o.Code == 0
			}
		}
		slices.Sort(s.rcpts)
	}
	s.failover, s.due, s.held, s.warned = st.Failover, st.Due, st.Hold, s.warned || st.Warned
	s.kept = st.Hold && st.Kept
	left := 0
	for _, other := range msg.shares {
		left += len(other.rcpts)
	}
	if left == 0 {
		delete(m.messages, d.ID)
	}
	wake, name, due, work := m.wake, s.list[s.failover], s.due, len(s.rcpts) > 0 && !s.held
	m.mu.Unlock()
	if work {
		wake(name, due)
	}
	return nil
}

func (m *memory) NextDue(_ context.Context, upstream string) (next time.Time, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, msg := range m.messages {
		for _, s := range msg.shares {
			if len(s.rcpts) > 0 && s.claimed == nil && !s.held && s.list[s.failover] == upstream && (!ok || s.due.Before(next)) {
				next, ok = s.due, true
			}
		}
	}
	return next, ok, nil
}

func (m *memory) OnWork(wake func(string, time.Time)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wake = wake
}

func (m *memory) Upstreams(context.Context) (map[string]int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := map[string]int{}
	for _, msg := range m.messages {
		for _, s := range msg.shares {
			if len(s.rcpts) > 0 {
				n[s.list[s.failover]]++
			}
		}
	}
	return n, nil
}

type memContent struct{ *bytes.Reader }

func (memContent) Close() error { return nil }

func (m *memory) Content(_ context.Context, id spool.ID) (spool.Content, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	msg := m.messages[id]
	if msg == nil {
		return nil, spool.ErrNotFound
	}
	return memContent{bytes.NewReader(msg.content)}, nil
}

func (m *memory) Detail(_ context.Context, id spool.ID) (*spool.Detail, error) {
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
			r.Share, r.Upstream, r.Attempts, r.Due, r.Held, r.InDoubt, r.Kept = n, s.list[s.failover], s.attempts, s.due, s.held, s.doubt, s.kept
		}
	}
	return d, nil
}

func (m *memory) Shares(ctx context.Context, id spool.ID) (all []spool.Summary, err error) {
	m.Find(ctx, spool.Query{}, func(s spool.Summary) bool {
		if s.ID == id {
			all = append(all, s)
		}
		return s.ID <= id
	})
	if len(all) == 0 {
		err = spool.ErrNotFound
	}
	return all, err
}

// selects is what a Query means.
func selects(q *spool.Query, s *spool.Summary) bool {
	if q.Upstream != "" && s.Upstreams[s.Failover] != q.Upstream || q.Held && !s.Held || q.Choice && len(s.Upstreams) < 2 {
		return false
	}
	a := q.Age
	return a == nil || s.Accepted.Before(a.Accepted) || s.Accepted.Before(a.Unwarned) && !s.Warned || a.Kept && s.Kept ||
		!s.Deadline.IsZero() && s.Deadline.Before(a.Deadline) || !a.DueAfter.IsZero() && s.Due.After(a.DueAfter)
}

func (m *memory) Find(_ context.Context, q spool.Query, visit func(spool.Summary) bool) error {
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
					Priority: msg.env.Priority, Held: s.held, Claimed: s.claimed != nil, InDoubt: s.doubt, Warned: s.warned, Kept: s.kept}
				if msg.env.DeliverBy != nil {
					sum.Deadline = msg.env.DeliverBy.Deadline
				}
				if selects(&q, &sum) {
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

// crash forgets every claim, as the end of the process does.
func (m *memory) crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wake = func(string, time.Time) {}
	for _, msg := range m.messages {
		for _, s := range msg.shares {
			if s.claimed != nil {
				s.doubt = s.doubt || s.dotted
				s.claimed = nil
			}
		}
	}
}
