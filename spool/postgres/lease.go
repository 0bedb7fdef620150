package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"postern/spool"
)

// Lease implements spool.Store.
func (s *Store) Lease(ctx context.Context, upstream string) (l spool.Lease, err error) {
	if err := ctx.Err(); err != nil {
		return l, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.beatWithin())
	defer cancel()
	begun := time.Now()
	var taken *LaneTaken
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		l.Epoch, taken, err = s.leaseIn(ctx, tx, upstream)
		return err
	})
	if err != nil {
		return spool.Lease{}, err
	}
	s.have(upstream, l.Epoch, taken)
	l.Upstream, l.Until = upstream, begun.Add(s.opts.Term)
	return l, nil
}

// have notes a lane that this relay has.
func (s *Store) have(upstream string, epoch uint64, taken *LaneTaken) {
	s.mu.Lock()
	if old := s.lanes[upstream]; old == nil || old.epoch != epoch {
		s.forget(upstream)
		s.lanes[upstream] = &lane{epoch: epoch}
	}
	s.mu.Unlock()
	if taken != nil {
		s.opts.Events(taken)
	}
}

// forget ends what this relay knows of a lane. mu is held.
func (s *Store) forget(upstream string) {
	delete(s.lanes, upstream)
	for n, c := range s.claims {
		if c.d.Upstream == upstream {
			delete(s.claims, n)
		}
	}
}

// leaseIn takes or renews a lane.
func (s *Store) leaseIn(ctx context.Context, tx pgx.Tx, upstream string) (epoch uint64, taken *LaneTaken, err error) {
	if _, err := tx.Exec(ctx, `INSERT INTO lane (name, epoch, holder, relay, since, until)
		VALUES ($1, 0, 0, '', now(), now()) ON CONFLICT (name) DO NOTHING`, upstream); err != nil {
		return 0, nil, err
	}
	var holder int64
	var relay string
	var left time.Duration
	err = tx.QueryRow(ctx, `SELECT epoch, holder, left(relay, 1024), greatest(until, pg_postmaster_start_time() + $2) - now() FROM lane WHERE name = $1 FOR UPDATE`,
		upstream, s.opts.Grace).Scan(&epoch, &holder, &relay, &left)
	left = max(left, s.graceLeft())
	switch {
	case err != nil:
		return 0, nil, err
	case holder == s.incarnation.Load():
		_, err = tx.Exec(ctx, `UPDATE lane SET until = now() + $2 WHERE name = $1`, upstream, s.opts.Term)
		return epoch, nil, err
	case holder != 0 && left > 0 && relay != s.opts.Relay:
		return 0, nil, &spool.Leased{Holder: relay, Until: time.Now().Add(left)}
	}
	before := epoch
	err = tx.QueryRow(ctx, `UPDATE lane SET epoch = nextval('epoch'), holder = $2, relay = $3, since = now(), until = now() + $4
		WHERE name = $1 RETURNING epoch`, upstream, s.incarnation.Load(), s.opts.Relay, s.opts.Term).Scan(&epoch)
	if err != nil {
		return 0, nil, err
	}
	released, doubts, err := release(ctx, tx, upstream, relay != s.opts.Relay)
	if err == nil && before != 0 && (relay != s.opts.Relay || released > 0) {
		taken = &LaneTaken{Upstream: upstream, From: relay, Left: holder == 0, Epoch: epoch, Released: released, InDoubt: doubts}
	}
	return epoch, taken, err
}

// graceLeft is how long the relays that are in charge may still come back, where
// the database was away.
func (s *Store) graceLeft() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.back.IsZero() || s.opts.Grace == 0 {
		return 0
	}
	return s.opts.Grace - time.Since(s.back)
}

// release ends all claims in a lane. soon: what was at its first attempt, and had
// not come to its final dot, is due at once. The rest waits as the claim said, so
// that a message over which relays end doesn't end all of them.
func release(ctx context.Context, tx pgx.Tx, upstream string, soon bool) (released, doubts int, err error) {
	err = tx.QueryRow(ctx, `WITH r AS (
			UPDATE share SET doubt = doubt OR dotted, was = claim, claim = NULL, dotted = false,
				due = CASE WHEN $2 AND attempt AND attempts = 1 AND NOT dotted THEN least(due, greatest(accepted, not_before)) ELSE due END
			WHERE lane = $1 AND claim IS NOT NULL RETURNING doubt)
		SELECT count(*), count(*) FILTER (WHERE doubt) FROM r`, upstream, soon).Scan(&released, &doubts)
	return released, doubts, err
}

// Leave implements spool.Store.
func (s *Store) Leave(ctx context.Context, l spool.Lease) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err := s.flush(ctx); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE lane SET holder = 0, until = now() WHERE name = $1 AND epoch = $2 AND holder = $3`,
			l.Upstream, int64(l.Epoch), s.incarnation.Load())
		if err == nil && tag.RowsAffected() > 0 {
			_, _, err = release(ctx, tx, l.Upstream, false)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	if has := s.lanes[l.Upstream]; has != nil && has.epoch == l.Epoch {
		s.forget(l.Upstream)
	}
	s.mu.Unlock()
	_ = s.say(ctx, l.Upstream) // else they find out when the lease would have ended
	return nil
}

// holds tells whether the epoch of a lease lasts, and keeps it from ending
// before the transaction does.
func (s *Store) holds(ctx context.Context, tx pgx.Tx, upstream string, epoch uint64) (bool, error) {
	var one int
	err := tx.QueryRow(ctx, `SELECT 1 FROM lane WHERE name = $1 AND epoch = $2 AND holder = $3 FOR SHARE`, upstream, int64(epoch), s.incarnation.Load()).Scan(&one)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Relay is one that shares the queue.
type Relay struct {
	Name    string
	Version string
	Started time.Time
	Lives   bool // it has been heard of within the term of a lease
	Self    bool
	Lanes   []Lane // that it has, by name

	node uint64
}

// Took tells whether the relay has put a message into the queue: each has a number
// that stands in the IDs of its messages.
func (r *Relay) Took(id spool.ID) bool { return uint64(id)&nodes == r.node }

// Lane is the lane of an upstream, as a relay has it.
type Lane struct {
	Upstream string
	Since    time.Time
	Epoch    uint64
}

// Relays tells which relays there are and what they are in charge of, by name. What
// no relay has written is left out: names of more than 1,024 bytes, and what comes
// after 10,000 rows.
func (s *Store) Relays(ctx context.Context) (all []Relay, err error) {
	ctx, cancel := asking(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, `SELECT r.name, left(r.version, 200), r.started, r.until > now(), r.incarnation = $1, r.node, l.name, l.since, l.epoch
		FROM relay r LEFT JOIN lane l ON l.holder = r.incarnation AND l.until > now() AND octet_length(l.name) <= 1024
		WHERE octet_length(r.name) <= 1024 ORDER BY r.name, l.name LIMIT 10000`, s.incarnation.Load())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r Relay
		var node int16
		var upstream *string
		var since *time.Time
		var epoch *int64
		if err := rows.Scan(&r.Name, &r.Version, &r.Started, &r.Lives, &r.Self, &node, &upstream, &since, &epoch); err != nil {
			return nil, err
		}
		r.node = uint64(node)
		if len(all) == 0 || all[len(all)-1].Name != r.Name {
			all = append(all, r)
		}
		if upstream != nil {
			last := &all[len(all)-1]
			last.Lanes = append(last.Lanes, Lane{*upstream, *since, uint64(*epoch)})
		}
	}
	return all, rows.Err()
}
