package postgres

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"postern/spool"
	"postern/spool/journal"
)

// claim is a share that this relay has. Only whoever has a share changes it, so
// what is here is what the database has.
type claim struct {
	d        spool.Delivery // Pending: all recipients that the share owes
	list     []string
	attempts int
	attempt  bool
	dotted   bool
}

// columns of a share that a claim needs, behind id and share. Of a message that is not
// there the envelope is NULL.
const columns = upstreamsColumn + `, share.failover, ` + pendingColumn + `, share.attempts, share.doubt, share.warned, share.claim, coalesce(m.size, share.size), ` + envelopeColumn

func (s *Store) scanClaim(row pgx.Row, epoch uint64, more ...any) (*claim, error) {
	c, envelope, err := scanRow(row, epoch, more...)
	if err != nil {
		return nil, err
	}
	return c, c.read(envelope)
}

// scanRow is a claim without its envelope, which read decodes.
func scanRow(row pgx.Row, epoch uint64, more ...any) (c *claim, envelope []byte, err error) {
	c = &claim{}
	var id, number int64
	var list string
	var pending []byte
	into := append([]any{&id, &c.d.Share, &list, &c.d.Failover, &pending, &c.attempts, &c.d.InDoubt, &c.d.Warned, &number, &c.d.Size, &envelope}, more...)
	if err := row.Scan(into...); err != nil {
		return nil, nil, err
	}
	c.list = strings.Split(list, "\n")
	c.d.ID, c.d.Pending, c.d.Attempt = spool.ID(id), unpack(pending), c.attempts
	c.d.Token = spool.Token{Epoch: epoch, Claim: uint64(number)}
	c.d.Failover = min(max(c.d.Failover, 0), len(c.list)-1)
	c.d.Upstream = c.list[c.d.Failover]
	return c, envelope, nil
}

// read takes the envelope. The error is a spool.ErrDamaged, or one of the envelope.
func (c *claim) read(envelope []byte) (err error) {
	if envelope == nil {
		return errNoMessage
	}
	if c.d.Envelope, err = journal.DecodeEnvelope(envelope); err == nil {
		err = owes(c.d.Envelope, c.d.Pending, c.d.Failover)
	}
	if err == nil && c.d.Upstream == "" {
		err = fmt.Errorf("%w: a share has no upstream", spool.ErrDamaged)
	}
	return err
}

// pack writes indexes of recipients.
func pack(list []int) []byte {
	b := make([]byte, 0, 4*len(list))
	for _, n := range list {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	return b
}

func unpack(b []byte) []int {
	list := make([]int, len(b)/4)
	for i := range list {
		list[i] = int(binary.BigEndian.Uint32(b[4*i:]))
	}
	return list
}

// hand keeps a claim and returns a copy for its holder.
func (s *Store) hand(c *claim) *spool.Delivery {
	s.mu.Lock()
	s.claims[int64(c.d.Token.Claim)] = c
	s.mu.Unlock()
	d := c.d
	d.Pending = slices.Clone(d.Pending)
	return &d
}

// Claim implements spool.Store. Of each sender and priority the first ones are
// looked up, so that what is not due yet, and a long queue of one sender, costs
// nothing.
func (s *Store) Claim(ctx context.Context, l spool.Lease, now time.Time, most int, retry spool.Schedule) ([]*spool.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	s.mu.Lock()
	has := s.lanes[l.Upstream]
	if has == nil || has.epoch != l.Epoch {
		s.mu.Unlock()
		return nil, spool.ErrLost
	}
	turn, dirty := has.turn, has.dirty
	s.mu.Unlock()
	if dirty {
		if err := s.undo(ctx, l, now); err != nil {
			return nil, err
		}
	}
	s.claiming.RLock()
	defer s.claiming.RUnlock()
	var found []ranked
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if ok, err := s.holds(ctx, tx, l.Upstream, l.Epoch); err != nil || !ok {
			return cmp.Or(err, error(spool.ErrLost))
		}
		var err error
		found, err = s.pick(ctx, tx, l, now, most, retry, turn)
		return err
	})
	s.mu.Lock()
	has = s.lanes[l.Upstream]
	if err == nil && (has == nil || has.epoch != l.Epoch) {
		err = spool.ErrLost // while we asked
	}
	if err == nil && len(found) > 0 {
		has.turn = found[len(found)-1].sender
	}
	s.mu.Unlock()
	if err != nil {
		s.unsure(l.Upstream, err)
		return nil, err
	}
	out := make([]*spool.Delivery, len(found))
	for i, f := range found {
		out[i] = s.hand(f.claim)
	}
	return out, nil
}

// unsure notes that claims may have been made in a lane of which this relay does
// not know.
func (s *Store) unsure(upstream string, err error) {
	if errors.Is(err, spool.ErrLost) || errors.Is(err, spool.ErrClaimed) || errors.Is(err, spool.ErrLeased) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if has := s.lanes[upstream]; has != nil {
		has.dirty = true
	}
}

// ranked is a claim with its place among those that were made with it.
type ranked struct {
	claim  *claim
	place  int
	sender int64
}

// claimDue claims what is due, in fair turns: for each sender and priority the first
// rows are looked up.
const claimDue = `
	WITH RECURSIVE group_of(sender, priority) AS (
		(SELECT sender, priority FROM share WHERE lane = $1 AND claim IS NULL AND NOT held ORDER BY sender, priority LIMIT 1)
		UNION ALL
		SELECT next.sender, next.priority FROM group_of g CROSS JOIN LATERAL (
			SELECT s.sender, s.priority FROM share s WHERE s.lane = $1 AND s.claim IS NULL AND NOT s.held
			AND (s.sender, s.priority) > (g.sender, g.priority) ORDER BY s.sender, s.priority LIMIT 1) next),
	first AS (
		SELECT f.id, f.share, f.due, g.sender, g.priority,
			row_number() OVER (PARTITION BY g.sender, g.priority ORDER BY f.due, f.id) AS turn
		FROM group_of g CROSS JOIN LATERAL (
			SELECT id, share, due FROM share s WHERE s.lane = $1 AND s.sender = g.sender AND s.priority = g.priority
			AND s.claim IS NULL AND NOT s.held AND s.due <= $2 ORDER BY s.due, s.id LIMIT $3) f),
	ready AS (
		SELECT id, share, sender, row_number() OVER (ORDER BY priority DESC, turn, (sender > $4) DESC, sender, due, id) AS place
		FROM first ORDER BY place LIMIT $3)
	UPDATE share SET attempts = share.attempts + 1, attempt = true, dotted = false, claim = nextval('claim'), was = NULL,
		due = $2 + coalesce(($5::bigint[])[least(share.attempts + 1, cardinality($5::bigint[]))] * (1 - $6 + 2 * $6 * random()), 0)::bigint
	FROM ready LEFT JOIN message m ON m.id = ready.id
	WHERE share.id = ready.id AND share.share = ready.share AND share.claim IS NULL
	RETURNING share.id, share.share, ` + columns + `, ready.place, ready.sender`

func (s *Store) pick(ctx context.Context, tx pgx.Tx, l spool.Lease, now time.Time, most int, retry spool.Schedule, turn int64) (found []ranked, err error) {
	steps := make([]int64, len(retry.Steps))
	for i, d := range retry.Steps {
		steps[i] = int64(d)
	}
	rows, err := tx.Query(ctx, claimDue, l.Upstream, now.UnixNano(), most, turn, steps, retry.Jitter)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var bad []damaged
	var left []*claim
	held := 0
	for rows.Next() {
		var f ranked
		var envelope []byte
		if f.claim, envelope, err = scanRow(rows, l.Epoch, &f.place, &f.sender); err != nil {
			return nil, err
		}
		if held += len(envelope); held > s.envelopes && len(found) > 0 {
			left = append(left, f.claim)
			continue
		}
		if err := f.claim.read(envelope); err != nil {
			bad = append(bad, damaged{f.claim.d.ID, f.claim.d.Share, err})
			continue
		}
		f.claim.attempt = true
		found = append(found, f)
	}
	slices.SortFunc(found, func(a, b ranked) int { return cmp.Compare(a.place, b.place) })
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if err := leave(ctx, tx, left, now); err != nil {
		return nil, err
	}
	return found, s.setAside(ctx, tx, bad)
}

// maxEnvelopes bounds the envelopes of what is claimed at once, as the database has
// them, in bytes. One is taken whatever its size.
const maxEnvelopes = 32 << 20

// leave leaves for the next claim what is too much for this one.
func leave(ctx context.Context, tx pgx.Tx, left []*claim, now time.Time) error {
	for _, c := range left {
		if _, err := tx.Exec(ctx, `UPDATE share SET claim = NULL, attempt = false, attempts = attempts - 1, due = $3 WHERE id = $1 AND share = $2`,
			int64(c.d.ID), c.d.Share, now.UnixNano()); err != nil {
			return err
		}
	}
	return nil
}

// undoAll looks for such claims in all lanes where there may be some. What they
// hold back is due again, and nobody else would see it.
func (s *Store) undoAll(ctx context.Context) error {
	s.mu.Lock()
	var unsure []spool.Lease
	for name, l := range s.lanes {
		if l.dirty {
			unsure = append(unsure, spool.Lease{Upstream: name, Epoch: l.epoch})
		}
	}
	s.mu.Unlock()
	for _, l := range unsure {
		err := s.undo(ctx, l, time.Now())
		if errors.Is(err, spool.ErrLost) {
			continue
		}
		if err != nil {
			return err
		}
		s.wakeLane(l.Upstream, time.Now())
	}
	return nil
}

// undo ends claims of a lane of which this relay does not know, since the answer
// to them was lost.
func (s *Store) undo(ctx context.Context, l spool.Lease, now time.Time) error {
	s.claiming.Lock()
	defer s.claiming.Unlock()
	s.mu.Lock()
	known := make([]int64, 0, len(s.claims)+len(s.outbox.ends))
	for n := range s.claims {
		known = append(known, n)
	}
	for n := range s.ending {
		known = append(known, n)
	}
	for _, p := range s.outbox.ends {
		known = append(known, p.Claim)
	}
	s.mu.Unlock()
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if ok, err := s.holds(ctx, tx, l.Upstream, l.Epoch); err != nil || !ok {
			return cmp.Or(err, error(spool.ErrLost))
		}
		_, err := tx.Exec(ctx, `UPDATE share SET claim = NULL, dotted = false, attempts = attempts - attempt::int,
				due = CASE WHEN attempt THEN $3 ELSE due END
			WHERE lane = $1 AND claim IS NOT NULL AND NOT claim = ANY($2)`, l.Upstream, known, now.UnixNano())
		return err
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if has := s.lanes[l.Upstream]; err == nil && has != nil && has.epoch == l.Epoch {
		has.dirty = false
	}
	return err
}

// Take implements spool.Store.
func (s *Store) Take(ctx context.Context, id spool.ID, share int) (*spool.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	var c *claim
	s.claiming.RLock()
	defer s.claiming.RUnlock()
	upstream, err := s.underLease(ctx, id, share, func(tx pgx.Tx, upstream string, epoch uint64) (err error) {
		c, err = s.takeIn(ctx, tx, id, share, upstream, epoch)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, spool.ErrNotFound
	}
	if err != nil {
		s.unsure(upstream, err)
		return nil, err
	}
	return s.hand(c), nil
}

// underLease has do change a share under the lease of its lane, which is taken where
// nobody has it. pgx.ErrNoRows: there is no such share.
func (s *Store) underLease(ctx context.Context, id spool.ID, share int, do func(tx pgx.Tx, upstream string, epoch uint64) error) (upstream string, err error) {
	var epoch uint64
	var taken *LaneTaken
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `SELECT lane FROM share WHERE id = $1 AND share = $2`, int64(id), share).Scan(&upstream)
		if err != nil {
			return err
		}
		if epoch, taken, err = s.leaseIn(ctx, tx, upstream); err != nil {
			return err
		}
		return do(tx, upstream, epoch)
	})
	if err == nil {
		s.have(upstream, epoch, taken)
	}
	return upstream, err
}

// takeIn claims a share of a lane for Take. spool.ErrClaimed; spool.ErrDamaged.
func (s *Store) takeIn(ctx context.Context, tx pgx.Tx, id spool.ID, share int, upstream string, epoch uint64) (*claim, error) {
	c, err := s.scanClaim(tx.QueryRow(ctx, `UPDATE share SET attempt = false, dotted = false, claim = nextval('claim'), was = NULL
		FROM (SELECT $1::bigint AS id) one LEFT JOIN message m ON m.id = one.id
		WHERE share.id = $1 AND share.share = $2 AND share.lane = $3 AND share.claim IS NULL
		RETURNING share.id, share.share, `+columns, int64(id), share, upstream), epoch)
	if errors.Is(err, pgx.ErrNoRows) {
		err = spool.ErrClaimed
	}
	return c, err
}

// DotSent implements spool.Store.
func (s *Store) DotSent(ctx context.Context, d *spool.Delivery) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	c := s.claims[int64(d.Token.Claim)]
	s.mu.Unlock()
	if c == nil || c.d.Token != d.Token {
		return spool.ErrLost
	}
	var rows int64
	w := newWrite(func(b *pgx.Batch) {
		b.Queue(`UPDATE share SET dotted = true WHERE id = $1 AND share = $2 AND claim = $3`, int64(d.ID), d.Share, int64(d.Token.Claim))
	}, func(r pgx.BatchResults) error {
		tag, err := r.Exec()
		rows = tag.RowsAffected()
		return err
	})
	if err := s.write(w); err != nil {
		return err
	}
	if rows == 0 {
		return spool.ErrLost
	}
	s.mu.Lock()
	c.dotted = true
	s.mu.Unlock()
	return nil
}
