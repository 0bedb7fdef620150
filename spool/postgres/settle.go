package postgres

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"postern/spool"
)

// settling is what becomes of a claim, as rows.
type settling struct {
	claim    *claim
	left     []int // recipients; empty: the share is gone
	list     int   // failover
	due      int64
	attempts int
	held     bool
	kept     bool
	warned   bool
	doubt    bool
	outcomes []outcomeRow
	work     []due

	found bool // the claim was there
	over  bool
	tail  int // how many of the statements follow the first one
	lock  bool
}

// outcomeRow is what came of the last attempt for a recipient.
type outcomeRow struct {
	recipient int
	at        int64 // 0: not known
	text      string
}

func newOutcome(recipient int, o spool.Outcome, at time.Time) (r outcomeRow, err error) {
	b, err := json.Marshal(&o)
	r = outcomeRow{recipient: recipient, text: string(b)}
	if !at.IsZero() {
		r.at = at.UnixNano()
	}
	return r, err
}

// settling says what a settlement makes of a claim.
func (c *claim) settling(d *spool.Delivery, st spool.Settlement) (p *settling, err error) {
	if n := len(st.Outcomes); n > 0 && n != len(d.Pending) {
		return nil, spool.ErrInvalid
	}
	p = &settling{claim: c, left: c.d.Pending, list: st.Failover, attempts: c.attempts, held: st.Hold, kept: st.Hold && st.Kept,
		warned: c.d.Warned || st.Warned, doubt: c.d.InDoubt}
	if len(st.Outcomes) == 0 && c.attempt {
		p.attempts--
	}
	if len(st.Outcomes) > 0 {
		p.left = slices.DeleteFunc(slices.Clone(c.d.Pending), func(n int) bool { return slices.Contains(d.Pending, n) })
		now := time.Now()
		for i, o := range st.Outcomes {
			if o.Verdict == spool.Pending {
				p.left = append(p.left, d.Pending[i])
				p.doubt = p.doubt || c.dotted && !st.Answered && o.Code == 0
			}
			out, err := newOutcome(d.Pending[i], o, now)
			if err != nil {
				return nil, err
			}
			p.outcomes = append(p.outcomes, out)
		}
		slices.Sort(p.left)
	}
	if p.list < 0 || p.list >= len(c.list) {
		p.list = 0
	}
	at := st.Due
	if at.Before(c.d.Envelope.NotBefore) {
		at = c.d.Envelope.NotBefore
	}
	if !at.IsZero() {
		p.due = at.UnixNano()
	}
	if len(p.left) > 0 && !p.held {
		p.work = []due{{c.list[p.list], at}}
	}
	return p, nil
}

// alone tells whether the message has no other share.
func (c *claim) alone() bool {
	first := c.d.Envelope.Recipients[0].Upstreams
	return !slices.ContainsFunc(c.d.Envelope.Recipients, func(r spool.Recipient) bool { return !slices.Equal(r.Upstreams, first) })
}

// queue adds the statements to a batch. Those about the claim do nothing where
// it is over.
func (p *settling) queue(b *pgx.Batch) {
	id, number := int64(p.claim.d.ID), int64(p.claim.d.Token.Claim)
	p.lock, p.tail = false, 0
	if len(p.left) > 0 {
		recipients, at, texts := p.columns()
		b.Queue(`WITH s AS (
				UPDATE share SET claim = NULL, dotted = false, recipients = $4, failover = $5, lane = $6, due = $7, attempts = $8,
					held = $9, kept = $10, warned = $11, doubt = $12
				WHERE id = $1 AND share = $2 AND claim = $3 RETURNING 1),
			o AS (
				INSERT INTO outcome (id, recipient, at, outcome)
				SELECT $1, * FROM unnest($13::int[], $14::bigint[], $15::text[]) WHERE EXISTS (SELECT 1 FROM s)
				ON CONFLICT (id, recipient) DO UPDATE SET at = excluded.at, outcome = excluded.outcome)
			SELECT count(*) FROM s`,
			id, p.claim.d.Share, number, pack(p.left), p.list, p.claim.list[p.list], p.due, p.attempts,
			p.held, p.kept, p.warned, p.doubt, recipients, at, texts)
		return
	}
	alone := p.claim.alone()
	if alone {
		b.Queue(`WITH s AS (DELETE FROM share WHERE id = $1 AND share = $2 AND claim = $3 RETURNING 1) SELECT count(*) FROM s`, id, p.claim.d.Share, number)
	} else {
		p.lock = true // the last of several shares takes the message with it
		b.Queue(`SELECT count(*) FROM (SELECT 1 FROM message WHERE id = $1 FOR UPDATE) m`, id)
		recipients, at, texts := p.columns()
		b.Queue(`WITH s AS (DELETE FROM share WHERE id = $1 AND share = $2 AND claim = $3 RETURNING 1),
			o AS (
				INSERT INTO outcome (id, recipient, at, outcome)
				SELECT $1, * FROM unnest($4::int[], $5::bigint[], $6::text[]) WHERE EXISTS (SELECT 1 FROM s)
				ON CONFLICT (id, recipient) DO UPDATE SET at = excluded.at, outcome = excluded.outcome)
			SELECT count(*) FROM s`, id, p.claim.d.Share, number, recipients, at, texts)
	}
	b.Queue(`WITH m AS (DELETE FROM message WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM share WHERE id = $1) RETURNING 1) SELECT count(*) FROM m`, id)
	if p.claim.attempts > 1 || !alone || len(p.claim.d.Envelope.Recipients) > len(p.claim.d.Pending) {
		b.Queue(`DELETE FROM outcome o WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM message m WHERE m.id = o.id)`, id)
		p.tail++
	}
	if p.claim.d.Size > piece {
		b.Queue(`DELETE FROM body_part o WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM message m WHERE m.id = o.id)`, id)
		p.tail++
	}
}

func (p *settling) columns() (recipients []int32, at []int64, texts []string) {
	for _, o := range p.outcomes {
		recipients, at, texts = append(recipients, int32(o.recipient)), append(at, o.at), append(texts, o.text)
	}
	return recipients, at, texts
}

// read reads what the statements have answered.
func (p *settling) read(r pgx.BatchResults) error {
	var n int
	if p.lock {
		if err := r.QueryRow().Scan(&n); err != nil {
			return err
		}
	}
	if err := r.QueryRow().Scan(&n); err != nil {
		return err
	}
	p.found = n > 0
	if len(p.left) > 0 {
		return nil
	}
	if err := r.QueryRow().Scan(&n); err != nil {
		return err
	}
	p.over = n > 0
	return skip(r, p.tail)
}

// Settle implements spool.Store.
func (s *Store) Settle(ctx context.Context, d *spool.Delivery, st spool.Settlement) (settled spool.Settled, err error) {
	if n := len(st.Outcomes); n > 0 && n != len(d.Pending) {
		return settled, spool.ErrInvalid
	}
	s.mu.Lock()
	c := s.claims[int64(d.Token.Claim)]
	if c != nil && c.d.Token == d.Token {
		delete(s.claims, int64(d.Token.Claim))
		s.ending[int64(d.Token.Claim)] = true
	}
	s.mu.Unlock()
	if c == nil || c.d.Token != d.Token {
		return s.before(d)
	}
	defer func() {
		s.mu.Lock()
		delete(s.ending, int64(d.Token.Claim))
		s.mu.Unlock()
	}()
	p, err := c.settling(d, st)
	if err != nil {
		s.mu.Lock()
		s.claims[int64(d.Token.Claim)] = c
		s.mu.Unlock()
		return settled, err
	}
	if err := s.write(newWrite(p.queue, p.read)); err != nil {
		s.postpone(p)
		return settled, err
	}
	if !p.found {
		return settled, spool.ErrLost
	}
	s.settled(p)
	return spool.Settled{Over: p.over}, nil
}

// settled tells of what is on record now.
func (s *Store) settled(p *settling) {
	if p.over {
		s.counts.add(-1, -p.claim.d.Size)
	}
	s.tellAll(p.work)
}

// before says what a settlement is of that is no claim of this relay: one that
// was settled before, or a lost one.
func (s *Store) before(d *spool.Delivery) (settled spool.Settled, err error) {
	s.mu.Lock()
	waits := slices.ContainsFunc(s.outbox, func(p *settling) bool { return p.claim.d.Token == d.Token })
	has := s.lanes[d.Upstream]
	s.mu.Unlock()
	if waits {
		return spool.Settled{Before: true}, nil
	}
	if d.Token.Claim == 0 || has == nil || has.epoch != d.Token.Epoch {
		return settled, spool.ErrLost
	}
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	var ours, made, there bool
	err = s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM lane WHERE name = $1 AND epoch = $2 AND holder = $3),
		$4 <= (SELECT last_value FROM claim), EXISTS (SELECT 1 FROM message WHERE id = $5)`,
		d.Upstream, int64(d.Token.Epoch), s.incarnation, int64(d.Token.Claim), int64(d.ID)).Scan(&ours, &made, &there)
	if err != nil {
		return settled, err
	}
	if !ours || !made {
		return settled, spool.ErrLost
	}
	return spool.Settled{Before: true, Over: !there}, nil
}

// postpone keeps a settlement until the database takes it. Only the epoch of its
// lane ends it before.
func (s *Store) postpone(p *settling) {
	s.mu.Lock()
	s.outbox = append(s.outbox, p)
	n := len(s.outbox)
	s.mu.Unlock()
	if n == 1 {
		s.work.Go(s.catchUp)
	}
	s.opts.Events(&Behind{n})
}

// catchUp writes the outbox as soon as the database answers.
func (s *Store) catchUp() {
	for sleep(s.ctx, time.Second) {
		s.mu.Lock()
		n := len(s.outbox)
		s.mu.Unlock()
		if n == 0 || s.write(newWrite(func(*pgx.Batch) {}, func(pgx.BatchResults) error { return nil })) == nil {
			return
		}
	}
}

// flush writes the outbox, in order, and withdraws what was refused. It is
// called by one at a time but for the end.
func (s *Store) flush(ctx context.Context) error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	if err := s.withdraw(ctx); err != nil {
		return err
	}
	for written := 0; ; written++ {
		s.mu.Lock()
		var p *settling
		if len(s.outbox) > 0 {
			p = s.outbox[0]
		}
		s.mu.Unlock()
		if p == nil {
			if written > 0 {
				s.opts.Events(&CaughtUp{written})
			}
			return nil
		}
		if _, err := s.send(ctx, []*write{newWrite(p.queue, p.read)}); err != nil {
			return err
		}
		s.mu.Lock()
		s.outbox = s.outbox[1:]
		s.mu.Unlock()
		s.settled(p)
	}
}
