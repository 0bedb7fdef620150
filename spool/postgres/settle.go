package postgres

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"postern/spool"
)

// settling is what becomes of a claim.
type settling struct {
	ending
	work []due

	found bool // the claim was there
	over  bool
	tail  int  // how many of the statements follow the first one
	lock  bool // the first one locks the message
	late  bool // it has waited for the database
}

// ending is what is written of a settlement. Those that wait for the database
// are in the outbox in this form: a field keeps its name and its meaning.
type ending struct {
	ID       int64        `json:"id"`
	Share    int          `json:"share"`
	Claim    int64        `json:"claim"`
	Epoch    uint64       `json:"epoch"`
	Left     []int        `json:"left,omitempty"` // recipients; empty: the share is gone
	Failover int          `json:"failover,omitempty"`
	Lane     string       `json:"lane"`
	Due      int64        `json:"due,omitempty"`
	Attempts int          `json:"attempts,omitempty"`
	Held     bool         `json:"held,omitempty"`
	Kept     bool         `json:"kept,omitempty"`
	Warned   bool         `json:"warned,omitempty"`
	Doubt    bool         `json:"doubt,omitempty"`
	Outcomes []outcomeRow `json:"outcomes,omitempty"`
	Shares   bool         `json:"shares,omitempty"` // the message has others
	Before   bool         `json:"before,omitempty"` // it may have outcomes of before
	Size     int64        `json:"size"`             // of the message, in bytes
}

func (e *ending) token() spool.Token { return spool.Token{Epoch: e.Epoch, Claim: uint64(e.Claim)} }

// outcomeRow is what came of the last attempt for a recipient.
type outcomeRow struct {
	Recipient int    `json:"recipient"`
	At        int64  `json:"at,omitempty"` // 0: not known
	Text      string `json:"text"`
}

func newOutcome(recipient int, o spool.Outcome, at time.Time) (r outcomeRow, err error) {
	b, err := json.Marshal(&o)
	r = outcomeRow{Recipient: recipient, Text: string(b)}
	if !at.IsZero() {
		r.At = at.UnixNano()
	}
	return r, err
}

// settling says what a settlement makes of a claim.
func (c *claim) settling(d *spool.Delivery, st spool.Settlement) (p *settling, err error) {
	if n := len(st.Outcomes); n > 0 && n != len(d.Pending) {
		return nil, spool.ErrInvalid
	}
	p = &settling{ending: ending{ID: int64(c.d.ID), Share: c.d.Share, Claim: int64(c.d.Token.Claim), Epoch: c.d.Token.Epoch,
		Left: c.d.Pending, Failover: st.Failover, Attempts: c.attempts, Held: st.Hold, Kept: st.Hold && st.Kept,
		Warned: c.d.Warned || st.Warned, Doubt: c.d.InDoubt, Size: c.d.Size, Shares: !c.alone()}}
	p.Before = c.attempts > 1 || p.Shares || len(c.d.Envelope.Recipients) > len(c.d.Pending)
	if len(st.Outcomes) == 0 && c.attempt {
		p.Attempts--
	}
	if len(st.Outcomes) > 0 {
		p.Left = slices.DeleteFunc(slices.Clone(c.d.Pending), func(n int) bool { return slices.Contains(d.Pending, n) })
		now := time.Now()
		for i, o := range st.Outcomes {
			if o.Verdict == spool.Pending {
				p.Left = append(p.Left, d.Pending[i])
				p.Doubt = p.Doubt || c.dotted && !st.Answered && o.Code == 0
			}
			out, err := newOutcome(d.Pending[i], o, now)
			if err != nil {
				return nil, err
			}
			p.Outcomes = append(p.Outcomes, out)
		}
		slices.Sort(p.Left)
	}
	if p.Failover < 0 || p.Failover >= len(c.list) {
		p.Failover = 0
	}
	at := st.Due
	if at.Before(c.d.Envelope.NotBefore) {
		at = c.d.Envelope.NotBefore
	}
	if !at.IsZero() {
		p.Due = at.UnixNano()
	}
	p.Lane = c.list[p.Failover]
	if len(p.Left) > 0 && !p.Held {
		p.work = []due{{p.Lane, at}}
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
	id, number := p.ID, p.Claim
	p.lock, p.tail = false, 0
	whose := "claim = $3"
	if p.late { // also where nobody has begun anything since it was taken away
		whose = "(claim = $3 OR claim IS NULL AND was = $3)"
	}
	if len(p.Left) > 0 {
		recipients, at, texts := p.columns()
		b.Queue(`WITH s AS (
				UPDATE share SET claim = NULL, was = NULL, dotted = false, recipients = $4, failover = $5, lane = $6, due = $7, attempts = $8,
					held = $9, kept = $10, warned = $11, doubt = $12
				WHERE id = $1 AND share = $2 AND `+whose+` RETURNING 1),
			o AS (
				INSERT INTO outcome (id, recipient, at, outcome)
				SELECT $1, * FROM unnest($13::int[], $14::bigint[], $15::text[]) WHERE EXISTS (SELECT 1 FROM s)
				ON CONFLICT (id, recipient) DO UPDATE SET at = excluded.at, outcome = excluded.outcome)
			SELECT count(*) FROM s`,
			id, p.Share, number, pack(p.Left), p.Failover, p.Lane, p.Due, p.Attempts,
			p.Held, p.Kept, p.Warned, p.Doubt, recipients, at, texts)
		return
	}
	if !p.Shares {
		b.Queue(`WITH s AS (DELETE FROM share WHERE id = $1 AND share = $2 AND `+whose+` RETURNING 1) SELECT count(*) FROM s`, id, p.Share, number)
	} else {
		p.lock = true // the last of several shares takes the message with it
		b.Queue(lockMessage, id)
		recipients, at, texts := p.columns()
		b.Queue(`WITH s AS (DELETE FROM share WHERE id = $1 AND share = $2 AND `+whose+` RETURNING 1),
			o AS (
				INSERT INTO outcome (id, recipient, at, outcome)
				SELECT $1, * FROM unnest($4::int[], $5::bigint[], $6::text[]) WHERE EXISTS (SELECT 1 FROM s)
				ON CONFLICT (id, recipient) DO UPDATE SET at = excluded.at, outcome = excluded.outcome)
			SELECT count(*) FROM s`, id, p.Share, number, recipients, at, texts)
	}
	b.Queue(endMessage, id)
	if p.Before {
		b.Queue(endOutcomes, id)
		p.tail++
	}
	if p.Size > piece {
		b.Queue(endParts, id)
		p.tail++
	}
}

// What goes with the last share of a message.
const (
	lockMessage = `SELECT count(*) FROM (SELECT 1 FROM message WHERE id = $1 FOR UPDATE) m`
	endMessage  = `WITH m AS (DELETE FROM message WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM share WHERE id = $1) RETURNING 1) SELECT count(*) FROM m`
	endOutcomes = `DELETE FROM outcome o WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM message m WHERE m.id = o.id)`
	endParts    = `DELETE FROM body_part o WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM message m WHERE m.id = o.id)`
)

func (p *settling) columns() (recipients []int32, at []int64, texts []string) {
	for _, o := range p.Outcomes {
		recipients, at, texts = append(recipients, int32(o.Recipient)), append(at, o.At), append(texts, o.Text)
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
	if len(p.Left) > 0 {
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
	if err := s.writeEnding(p); err != nil {
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
		s.counts.add(-1, -p.Size)
	}
	s.tellAll(p.work)
}

// before says what a settlement is of that is no claim of this relay: one that
// was settled before, or a lost one.
func (s *Store) before(d *spool.Delivery) (settled spool.Settled, err error) {
	s.mu.Lock()
	waits := slices.ContainsFunc(s.outbox.ends, func(p *settling) bool { return p.token() == d.Token })
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
		d.Upstream, int64(d.Token.Epoch), s.incarnation.Load(), int64(d.Token.Claim), int64(d.ID)).Scan(&ours, &made, &there)
	if err != nil {
		return settled, err
	}
	if !ours || !made {
		return settled, spool.ErrLost
	}
	return spool.Settled{Before: true, Over: !there}, nil
}
