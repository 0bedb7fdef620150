package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"postern/spool"
	"postern/spool/journal"
)

// piece is how many bytes of a content are kept together: one of up to this is
// in the row of its message.
const piece = 256 << 10

type draft struct {
	s      *Store
	id     spool.ID
	buf    []byte
	size   int64
	pieces int
	failed error
	over   bool
}

// Create implements spool.Store.
func (s *Store) Create(ctx context.Context) (spool.Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.mayAsk(ctx); err != nil {
		return nil, err
	}
	if err := s.room(ctx); err != nil {
		return nil, err
	}
	return &draft{s: s, id: s.nextID()}, nil
}

func (d *draft) ID() spool.ID { return d.id }

func (d *draft) Write(p []byte) (n int, err error) {
	if d.over || d.failed != nil {
		return 0, cmp.Or(d.failed, errOver)
	}
	for len(p) > 0 {
		if len(d.buf) == piece {
			if d.failed = d.put(); d.failed != nil {
				return n, d.failed
			}
		}
		k := min(len(p), piece-len(d.buf))
		d.buf = append(d.buf, p[:k]...)
		p, n = p[k:], n+k
		d.size += int64(k)
	}
	return n, nil
}

var errOver = errors.New("the draft has ended")

// put writes a piece. Without its message it is nothing.
func (d *draft) put() error {
	ctx, cancel := context.WithTimeout(d.s.ctx, callTimeout)
	defer cancel()
	_, err := d.s.pool.Exec(ctx, `INSERT INTO body_part (id, n, data) VALUES ($1, $2, $3)`, int64(d.id), d.pieces, d.buf)
	d.pieces++
	d.buf = d.buf[:0]
	return err
}

// Discard implements spool.Draft.
func (d *draft) Discard() {
	if d.over {
		return
	}
	d.over = true
	d.drop()
}

// drop removes pieces that were written. What is left of them is swept later.
func (d *draft) drop() {
	d.buf = nil
	if d.pieces > 0 {
		ctx, cancel := context.WithTimeout(d.s.ctx, callTimeout)
		defer cancel()
		_, _ = d.s.pool.Exec(ctx, `DELETE FROM body_part WHERE id = $1`, int64(d.id))
	}
}

// Commit implements spool.Draft.
func (d *draft) Commit(ctx context.Context, env *spool.Envelope) error {
	return d.commit(ctx, env, nil)
}

// commit is Commit. stood is how a message that is adopted stood; nil: it begins.
func (d *draft) commit(ctx context.Context, env *spool.Envelope, stood []spool.RecipientState) error {
	m, err := d.end(ctx, env, stood)
	if err == nil {
		err = d.s.keys.room(d.s, env.Key)
	}
	if err == nil {
		err = d.s.accept(m)
	}
	if err != nil {
		d.drop()
	}
	return err
}

// end ends the draft, and makes of it what is to be written.
func (d *draft) end(ctx context.Context, env *spool.Envelope, stood []spool.RecipientState) (*message, error) {
	if d.over {
		return nil, errOver
	}
	d.over = true
	if err := cmp.Or(ctx.Err(), d.failed); err != nil {
		return nil, err
	}
	if d.pieces > 0 {
		if err := d.put(); err != nil {
			return nil, err
		}
	}
	return d.s.message(d.id, env, d.buf, d.size, d.pieces, stood)
}

// message is a message with its shares, as rows.
type message struct {
	id       int64
	envelope []byte
	size     int64
	body     []byte // nil: in pieces
	key      *spool.Key
	shares   []row
	ended    []outcomeRow
	work     []due
}

// row is a share to be inserted.
type row struct {
	number                      int
	lane, upstreams             string
	failover                    int
	recipients                  []int
	accepted, notBefore         int64
	deadline                    int64
	priority                    int
	sender                      int64
	attempts                    int
	due                         int64
	held, kept, warned, inDoubt bool
}

// due is when something became due for an upstream.
type due struct {
	upstream string
	at       time.Time
}

// message makes rows of an envelope.
func (s *Store) message(id spool.ID, env *spool.Envelope, body []byte, size int64, pieces int, stood []spool.RecipientState) (*message, error) {
	m := &message{id: int64(id), key: env.Key, size: size + int64(len(env.Prefix))}
	var err error
	if m.envelope, err = journal.EncodeEnvelope(env, size); err != nil {
		return nil, err
	}
	if pieces == 0 {
		m.body = append(make([]byte, 0, len(body)), body...)
	}
	begin := row{accepted: env.Accepted.UnixNano(), due: env.Begins().UnixNano(), priority: env.Priority, held: env.Hold, sender: int64(journal.Turn(env))}
	if env.NotBefore.After(env.Accepted) {
		begin.notBefore = env.NotBefore.UnixNano()
	}
	if env.DeliverBy != nil {
		begin.deadline = env.DeliverBy.Deadline.UnixNano()
	}
	for i, r := range env.Recipients {
		list := strings.Join(r.Upstreams, "\n")
		if strings.Count(list, "\n") != len(r.Upstreams)-1 {
			return nil, fmt.Errorf("%w: a line break in the name of an upstream", spool.ErrInvalid)
		}
		k := slices.IndexFunc(m.shares, func(o row) bool { return o.upstreams == list })
		if k < 0 {
			k = len(m.shares)
			one := begin
			one.number, one.upstreams, one.lane = k, list, r.Upstreams[0]
			m.shares = append(m.shares, one)
		}
		if stood == nil {
			m.shares[k].recipients = append(m.shares[k].recipients, i)
		} else if err := m.stand(k, i, &stood[i]); err != nil {
			return nil, err
		}
	}
	m.shares = slices.DeleteFunc(m.shares, func(r row) bool { return len(r.recipients) == 0 })
	for _, r := range m.shares {
		if !r.held {
			m.work = append(m.work, due{r.lane, time.Unix(0, r.due)})
		}
	}
	return m, nil
}

// stand makes a share stand as a recipient of it did elsewhere.
func (m *message) stand(k, i int, r *spool.RecipientState) error {
	if r.Last != nil || r.Status != spool.Pending {
		last := spool.Outcome{Verdict: r.Status}
		if r.Last != nil {
			last = *r.Last
			last.Verdict = r.Status
		}
		out, err := newOutcome(i, last, r.LastAt)
		if err != nil {
			return err
		}
		m.ended = append(m.ended, out)
	}
	if r.Status != spool.Pending {
		return nil
	}
	one := &m.shares[k]
	if at := r.Due.UnixNano(); len(one.recipients) == 0 || at < one.due {
		one.due = at
		one.failover = max(slices.Index(strings.Split(one.upstreams, "\n"), r.Upstream), 0)
		one.lane = strings.Split(one.upstreams, "\n")[one.failover]
	}
	one.held = r.Held || len(one.recipients) > 0 && one.held
	one.attempts = max(one.attempts, r.Attempts)
	one.kept, one.inDoubt, one.warned = one.kept || r.Kept, one.inDoubt || r.InDoubt, one.warned || r.Warned
	one.recipients = append(one.recipients, i)
	return nil
}

// queue adds the rows of a message to a batch.
func (m *message) queue(b *pgx.Batch) int {
	b.Queue(`INSERT INTO message (id, envelope, size, body) VALUES ($1, $2, $3, $4)`, m.id, m.envelope, m.size, m.body)
	for _, r := range m.shares {
		b.Queue(`INSERT INTO share (id, share, lane, upstreams, failover, recipients, size, accepted, not_before, deadline, priority, sender,
				attempts, due, held, kept, warned, doubt, dotted, attempt)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, false, false)`,
			m.id, r.number, r.lane, r.upstreams, r.failover, pack(r.recipients), m.size, r.accepted, r.notBefore, r.deadline, r.priority, r.sender,
			r.attempts, r.due, r.held, r.kept, r.warned, r.inDoubt)
	}
	for _, o := range m.ended {
		b.Queue(`INSERT INTO outcome (id, recipient, at, outcome) VALUES ($1, $2, $3, $4)`, m.id, o.Recipient, o.At, o.Text)
	}
	return 1 + len(m.shares) + len(m.ended)
}

// skip reads so many results.
func skip(r pgx.BatchResults, n int) error {
	for range n {
		if _, err := r.Exec(); err != nil {
			return err
		}
	}
	return nil
}

// accept makes a message durable.
func (s *Store) accept(m *message) error {
	if m.key != nil {
		return s.acceptOnce(m)
	}
	n := 0
	w := newWrite(func(b *pgx.Batch) { n = m.queue(b) }, func(r pgx.BatchResults) error { return skip(r, n) })
	err := s.write(w)
	if err != nil && w.pid != 0 {
		err = s.askOrRemove(w.pid, m.id, err)
	}
	if err == nil {
		s.accepted(m)
	}
	return err
}

// shortOutage is how long a connection that broke is tried anew for: a client
// waits for the answer.
const shortOutage = 2 * time.Second

// ask finds out whether a message was committed, where the answer was lost. open:
// that can't be found out.
func (s *Store) ask(pid uint32, id int64, lost error) (open bool, err error) {
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	var there bool
	for begun := time.Now(); ; {
		if err = s.ended(ctx, pid); err == nil {
			err = s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM message WHERE id = $1)`, id).Scan(&there)
		}
		if err == nil || refused(err) || time.Since(begun) > shortOutage || !sleep(ctx, 50*time.Millisecond) {
			break
		}
	}
	switch {
	case err != nil:
		return true, lost
	case there:
		return false, nil
	}
	return false, lost
}

// askOrRemove is ask for a message whose sender is told. What can't be found out
// is not accepted, and removed as soon as that is possible.
func (s *Store) askOrRemove(pid uint32, id int64, lost error) error {
	open, err := s.ask(pid, id, lost)
	if open {
		s.doubt(doubtful{pid, id})
	}
	return err
}

// accepted tells of a message that is durable.
func (s *Store) accepted(m *message) {
	s.counts.add(1, m.size)
	s.tellAll(m.work)
}

// Adopt implements spool.Store.
func (s *Store) Adopt(ctx context.Context, draft_ spool.Draft, m *spool.Detail) error {
	d, ok := draft_.(*draft)
	if !ok || d.s != s || m.Envelope == nil || len(m.Recipients) != len(m.Envelope.Recipients) ||
		!slices.ContainsFunc(m.Recipients, func(r spool.RecipientState) bool { return r.Status == spool.Pending }) {
		draft_.Discard()
		return fmt.Errorf("%w: a draft of another store, half a message, or nothing of it is owed", spool.ErrInvalid)
	}
	return d.commit(ctx, m.Envelope, m.Recipients)
}
