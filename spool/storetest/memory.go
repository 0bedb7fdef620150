package storetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"postern/spool"
)

// Memory is a spool.Store without a disk, as one relay has it. Its methods may
// be called concurrently.
type Memory struct {
	*shared
	name string                  // of the relay
	wake func(string, time.Time) // shared.mu guards it
}

// shared is what all relays have in common.
type shared struct {
	term time.Duration // of a lease; 0: it has no end

	mu       sync.Mutex // guards what follows
	relays   []*Memory
	lanes    map[string]*memLane
	epochs   uint64 // that there have been
	claims   uint64 // that were made
	limit    int    // messages; 0: any number
	nextID   spool.ID
	messages map[spool.ID]*memMessage
	most     int // keys; 0: any number
	keys     map[spool.KeyName]memKey
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

// NewMemory makes an empty one for a single relay, whose leases have no end.
func NewMemory() *Memory { return NewShared(0, "")[0] }

// NewShared makes an empty one that several relays share. Their leases last for
// term; 0: they have no end.
func NewShared(term time.Duration, names ...string) []*Memory {
	s := &shared{term: term, lanes: map[string]*memLane{}, messages: map[spool.ID]*memMessage{}, keys: map[spool.KeyName]memKey{}}
	for _, name := range names {
		s.relays = append(s.relays, &Memory{shared: s, name: name, wake: func(string, time.Time) {}})
	}
	return s.relays
}

// tell wakes all relays. mu is not held.
func (s *shared) tell(upstream string, due time.Time) {
	for _, m := range s.relays {
		s.mu.Lock()
		wake := m.wake
		s.mu.Unlock()
		wake(upstream, due)
	}
}

// Limit makes Create answer ErrFull while there are so many messages; 0: never.
func (m *Memory) Limit(messages int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit = messages
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
	if m.limit > 0 && len(m.messages) >= m.limit {
		return nil, spool.ErrFull
	}
	m.nextID++
	return &memDraft{m: m, id: m.nextID}, nil
}

var errOver = errors.New("the draft has ended")

func (d *memDraft) Commit(ctx context.Context, env *spool.Envelope) error {
	return d.commit(ctx, env, nil)
}

// commit is Commit. stand, which may be nil, changes how the message begins,
// and returns what is due of it.
func (d *memDraft) commit(ctx context.Context, env *spool.Envelope, stand func(*memMessage) []due) error {
	msg, work, err := d.begin(ctx, env)
	if err != nil {
		return err
	}
	if stand != nil {
		work = stand(msg)
	}
	d.m.mu.Lock()
	if k := env.Key; k != nil {
		if err := d.m.known(k); err != nil {
			d.m.mu.Unlock()
			return err
		}
		d.m.keys[k.Name] = memKey{*k, d.id}
	}
	d.m.messages[d.id] = msg
	d.m.mu.Unlock()
	d.m.tellAll(work)
	return nil
}

// begin ends the draft and makes the message, which is not accepted yet.
func (d *memDraft) begin(ctx context.Context, env *spool.Envelope) (*memMessage, []due, error) {
	if d.over {
		return nil, nil, errOver
	}
	d.over = true
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if len(env.Recipients) == 0 || slices.ContainsFunc(env.Recipients, func(r spool.Recipient) bool { return len(r.Upstreams) == 0 }) ||
		env.Key != nil && env.Key.Name == (spool.KeyName{}) {
		return nil, nil, spool.ErrInvalid
	}
	msg := &memMessage{env: env, content: append(slices.Clip(env.Prefix), d.buf.Bytes()...), status: make([]spool.Status, len(env.Recipients)),
		last: make([]*spool.Outcome, len(env.Recipients)), lastAt: make([]time.Time, len(env.Recipients))}
	var work []due
	for i, r := range env.Recipients {
		k := slices.IndexFunc(msg.shares, func(s *memShare) bool { return slices.Equal(s.list, r.Upstreams) })
		if k < 0 {
			k = len(msg.shares)
			msg.shares = append(msg.shares, &memShare{list: r.Upstreams, due: env.Begins(), held: env.Hold})
			if !env.Hold {
				work = append(work, due{r.Upstreams[0], env.Begins()})
			}
		}
		msg.shares[k].rcpts = append(msg.shares[k].rcpts, i)
	}
	return msg, work, nil
}

// Notify implements spool.Store.
func (m *Memory) Notify(ctx context.Context, notices []spool.Notice, ends ...spool.Ending) (settled spool.Settled, err error) {
	made := map[spool.ID]*memMessage{}
	var work []due
	for _, n := range notices {
		d, ok := n.Draft.(*memDraft)
		if !ok || n.Envelope.Key != nil {
			n.Draft.Discard()
			err = cmp.Or(err, spool.ErrInvalid)
			continue
		}
		msg, soon, failed := d.begin(ctx, n.Envelope)
		made[d.id], work, err = msg, append(work, soon...), cmp.Or(err, failed)
	}
	if err != nil {
		return settled, err
	}
	m.mu.Lock()
	settled, err = m.mayNotify(notices, ends)
	if err == nil && !settled.Before {
		maps.Copy(m.messages, made)
		for _, e := range ends {
			work = append(work, m.settle(m.share(e.Delivery), e.Delivery, e.Settlement)...)
		}
		settled.Over = m.messages[ends[0].Delivery.ID] == nil
	}
	m.mu.Unlock()
	if err == nil && !settled.Before {
		m.tellAll(work)
	}
	return settled, err
}

// mayNotify says whether claims can be settled together. mu is held.
func (m *Memory) mayNotify(notices []spool.Notice, ends []spool.Ending) (settled spool.Settled, err error) {
	if len(notices) == 0 || len(ends) == 0 {
		return settled, spool.ErrInvalid
	}
	before := 0
	for i, e := range ends {
		again := slices.ContainsFunc(ends[:i], func(o spool.Ending) bool {
			return o.Delivery.ID != e.Delivery.ID || o.Delivery.Share == e.Delivery.Share
		})
		if n := len(e.Settlement.Outcomes); n > 0 && n != len(e.Delivery.Pending) || again {
			return settled, spool.ErrInvalid
		}
		if m.share(e.Delivery) == nil {
			if !m.wasSettled(e.Delivery) {
				return settled, spool.ErrLost
			}
			before++
		}
	}
	switch before {
	case 0:
		return settled, nil
	case len(ends):
		return spool.Settled{Before: true, Over: m.messages[ends[0].Delivery.ID] == nil}, nil
	}
	return settled, spool.ErrLost
}

// tellAll tells what became due. mu is not held.
func (s *shared) tellAll(work []due) {
	for _, w := range work {
		s.tell(w.upstream, w.at)
	}
}

// due is when something became due for an upstream.
type due struct {
	upstream string
	at       time.Time
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
func (m *Memory) claim(epoch uint64, s *memShare, id spool.ID, n int, msg *memMessage) *spool.Delivery {
	m.claims++
	s.claimed, s.dotted = spool.Token{Epoch: epoch, Claim: m.claims}, false
	return &spool.Delivery{ID: id, Token: s.claimed, Share: n, Upstream: s.list[s.failover], Attempt: s.attempts, Failover: s.failover,
		InDoubt: s.doubt, Warned: s.warned, Envelope: msg.env, Pending: slices.Clone(s.rcpts), Size: int64(len(msg.content))}
}

// Claim implements spool.Store.
func (m *Memory) Claim(ctx context.Context, lease spool.Lease, now time.Time, most int, retry spool.Schedule) ([]*spool.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.holds(lease) {
		return nil, spool.ErrLost
	}
	type found struct {
		id spool.ID
		n  int
		s  *memShare
	}
	var all []found
	for id, msg := range m.messages {
		for n, s := range msg.shares {
			if s.waits() && s.list[s.failover] == lease.Upstream && !s.due.After(now) {
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
		f.s.attempt = true
		out = append(out, m.claim(lease.Epoch, f.s, f.id, f.n, m.messages[f.id]))
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
	lease, err := m.lease(s.list[s.failover])
	if err != nil {
		return nil, err
	}
	if s.claimed.Claim != 0 {
		return nil, spool.ErrClaimed
	}
	s.attempt = false
	return m.claim(lease.Epoch, s, id, share, msg), nil
}

// Discard implements spool.Store. Nothing is ever damaged.
func (m *Memory) Discard(ctx context.Context, id spool.ID, share int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	msg := m.messages[id]
	if msg == nil || share >= len(msg.shares) || len(msg.shares[share].rcpts) == 0 {
		return spool.ErrNotFound
	}
	s := msg.shares[share]
	if _, err := m.lease(s.list[s.failover]); err != nil {
		return err
	} else if s.claimed.Claim != 0 {
		return spool.ErrClaimed
	}
	return spool.ErrInvalid
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

// wasSettled tells whether d, which is no claim any more, was settled, and not
// lost. mu is held.
func (m *Memory) wasSettled(d *spool.Delivery) bool {
	return d.Token.Claim != 0 && d.Token.Claim <= m.claims && m.holds(spool.Lease{Upstream: d.Upstream, Epoch: d.Token.Epoch})
}

// Settle implements spool.Store.
func (m *Memory) Settle(_ context.Context, d *spool.Delivery, st spool.Settlement) (settled spool.Settled, err error) {
	if n := len(st.Outcomes); n > 0 && n != len(d.Pending) {
		return settled, spool.ErrInvalid
	}
	m.mu.Lock()
	var work []due
	if s := m.share(d); s != nil {
		work = m.settle(s, d, st)
	} else if settled.Before = m.wasSettled(d); !settled.Before {
		err = spool.ErrLost
	}
	settled.Over = err == nil && m.messages[d.ID] == nil
	m.mu.Unlock()
	m.tellAll(work)
	return settled, err
}

// settle settles a claim, and tells what became due. mu is held.
func (m *Memory) settle(s *memShare, d *spool.Delivery, st spool.Settlement) []due {
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
	if st.Due.Before(msg.env.NotBefore) {
		st.Due = msg.env.NotBefore
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
	if len(s.rcpts) > 0 && !s.held {
		return []due{{s.list[s.failover], s.due}}
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
			if s.waits() && s.list[s.failover] == upstream && (!ok || s.due.Before(next)) {
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

// Shift makes every time on record what it would be had the clock been set by
// jump since.
func (m *Memory) Shift(jump time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, msg := range m.messages {
		env := *msg.env
		env.Accepted = env.Accepted.Add(-jump)
		if !env.NotBefore.IsZero() {
			env.NotBefore = env.NotBefore.Add(-jump)
		}
		msg.env = &env
		for i := range msg.lastAt {
			msg.lastAt[i] = msg.lastAt[i].Add(-jump)
		}
		for _, s := range msg.shares {
			s.due = s.due.Add(-jump)
		}
	}
}
