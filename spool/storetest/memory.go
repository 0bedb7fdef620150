package storetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"postern/spool"
)

// Memory is a spool.Store without a disk. Its methods may be called
// concurrently.
type Memory struct {
	mu       sync.Mutex // guards what follows
	epoch    uint64
	claims   uint64 // that were made in this epoch
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
	claimed  spool.Token // zero: nobody has it
	attempt  bool        // the claim is one
	doubt    bool
	dotted   bool
	warned   bool
}

// NewMemory makes an empty one.
func NewMemory() *Memory {
	return &Memory{epoch: 1, messages: map[spool.ID]*memMessage{}, wake: func(string, time.Time) {}}
}

type memDraft struct {
	m    *Memory
	id   spool.ID
	buf  bytes.Buffer
	over bool
}

func (d *memDraft) ID() spool.ID                { return d.id }
func (d *memDraft) Write(p []byte) (int, error) { return d.buf.Write(p) }
func (d *memDraft) Discard()                    { d.over = true }

// Create implements spool.Store.
func (m *Memory) Create(ctx context.Context) (spool.Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nextID++
	return &memDraft{m: m, id: m.nextID}, nil
}

var errOver = errors.New("the draft has ended")

func (d *memDraft) Commit(ctx context.Context, env *spool.Envelope) error {
	if d.over {
		return errOver
	}
	d.over = true
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(env.Recipients) == 0 || slices.ContainsFunc(env.Recipients, func(r spool.Recipient) bool { return len(r.Upstreams) == 0 }) {
		return spool.ErrInvalid
	}
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

func (m *Memory) sorted() []spool.ID {
	ids := make([]spool.ID, 0, len(m.messages))
	for id := range m.messages {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// claim makes a claim of a share. mu is held.
func (m *Memory) claim(s *memShare, id spool.ID, n int, msg *memMessage) *spool.Delivery {
	m.claims++
	return &spool.Delivery{ID: id, Token: spool.Token{Epoch: m.epoch, Claim: m.claims}, Share: n, Upstream: s.list[s.failover], Attempt: s.attempts, Failover: s.failover,
		InDoubt: s.doubt, Warned: s.warned, Envelope: msg.env, Pending: slices.Clone(s.rcpts), Size: int64(len(msg.content))}
}

// Claim implements spool.Store.
func (m *Memory) Claim(ctx context.Context, upstream string, now time.Time, most int, retry spool.Schedule) ([]*spool.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
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
			if s != nil && len(s.rcpts) > 0 && s.claimed.Claim == 0 && !s.held && s.list[s.failover] == upstream && !s.due.After(now) {
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
		d := m.claim(f.s, f.id, f.n, m.messages[f.id])
		f.s.claimed = d.Token
		out = append(out, d)
	}
	return out, nil
}

// Take implements spool.Store.
func (m *Memory) Take(ctx context.Context, id spool.ID, share int) (*spool.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	msg := m.messages[id]
	if msg == nil || share >= len(msg.shares) || len(msg.shares[share].rcpts) == 0 {
		return nil, spool.ErrNotFound
	}
	s := msg.shares[share]
	if s.claimed.Claim != 0 {
		return nil, spool.ErrClaimed
	}
	s.attempt = false
	d := m.claim(s, id, share, msg)
	s.claimed = d.Token
	return d, nil
}

// DotSent implements spool.Store.
func (m *Memory) DotSent(ctx context.Context, d *spool.Delivery) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.share(d)
	if s == nil {
		return spool.ErrLost
	}
	s.dotted = true
	return nil
}

// share is what d is the claim of; nil: of nothing any more. mu is held.
func (m *Memory) share(d *spool.Delivery) *memShare {
	msg := m.messages[d.ID]
	if msg == nil || d.Token.Claim == 0 || d.Share >= len(msg.shares) || msg.shares[d.Share].claimed != d.Token {
		return nil
	}
	return msg.shares[d.Share]
}

// Settle implements spool.Store.
func (m *Memory) Settle(_ context.Context, d *spool.Delivery, st spool.Settlement) error {
	if n := len(st.Outcomes); n > 0 && n != len(d.Pending) {
		return spool.ErrInvalid
	}
	m.mu.Lock()
	s := m.share(d)
	if s == nil {
		defer m.mu.Unlock()
		if d.Token.Epoch != m.epoch || d.Token.Claim == 0 || d.Token.Claim > m.claims {
			return spool.ErrLost
		}
		return nil
	}
	msg := m.messages[d.ID]
	dotted := s.dotted && !st.Answered
	s.claimed, s.dotted = spool.Token{}, false
	if len(st.Outcomes) == 0 && s.attempt {
		s.attempts--
	}
	if len(st.Outcomes) > 0 {
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
	if st.Failover < 0 || st.Failover >= len(s.list) {
		st.Failover = 0
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

// NextDue implements spool.Store.
func (m *Memory) NextDue(ctx context.Context, upstream string) (next time.Time, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, msg := range m.messages {
		for _, s := range msg.shares {
			if len(s.rcpts) > 0 && s.claimed.Claim == 0 && !s.held && s.list[s.failover] == upstream && (!ok || s.due.Before(next)) {
				next, ok = s.due, true
			}
		}
	}
	return next, ok, nil
}

// OnWork implements spool.Store.
func (m *Memory) OnWork(wake func(string, time.Time)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wake = wake
}

// Upstreams implements spool.Store.
func (m *Memory) Upstreams(ctx context.Context) (map[string]int, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
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
			r.Share, r.Upstream, r.Attempts, r.Due, r.Held, r.InDoubt, r.Kept = n, s.list[s.failover], s.attempts, s.due, s.held, s.doubt, s.kept
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
	if q.Upstream != "" && s.Upstreams[s.Failover] != q.Upstream || q.Held && !s.Held || q.Choice && len(s.Upstreams) < 2 {
		return false
	}
	a := q.Age
	return a == nil || s.Accepted.Before(a.Accepted) || s.Accepted.Before(a.Unwarned) && !s.Warned || a.Kept && s.Kept ||
		!s.Deadline.IsZero() && s.Deadline.Before(a.Deadline) || !a.DueAfter.IsZero() && s.Due.After(a.DueAfter)
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

// Crash forgets every claim and whom to wake, as the end of the process does.
// Everything that was committed and settled stays.
func (m *Memory) Crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wake = func(string, time.Time) {}
	m.epoch, m.claims = m.epoch+1, 0
	for _, msg := range m.messages {
		for _, s := range msg.shares {
			if s.claimed.Claim != 0 {
				s.doubt = s.doubt || s.dotted
				s.claimed = spool.Token{}
			}
		}
	}
}

// Shift makes every time on record what it would be had the clock been set by
// jump since.
func (m *Memory) Shift(jump time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, msg := range m.messages {
		env := *msg.env
		env.Accepted = env.Accepted.Add(-jump)
		msg.env = &env
		for i := range msg.lastAt {
			msg.lastAt[i] = msg.lastAt[i].Add(-jump)
		}
		for _, s := range msg.shares {
			s.due = s.due.Add(-jump)
		}
	}
}
