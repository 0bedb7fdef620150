package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"postern/spool"
)

// What a row may hold before it is read: the database is bounded by nothing else
// where somebody beside relays writes to it. What is larger is read as empty, and
// an empty one is damaged.
const (
	pendingColumn   = `CASE WHEN octet_length(share.recipients) <= 4194304 THEN share.recipients ELSE '' END`
	upstreamsColumn = `CASE WHEN octet_length(share.upstreams) <= 1048576 THEN share.upstreams ELSE '' END`
	outcomeColumn   = `CASE WHEN octet_length(outcome) <= 1048576 THEN outcome ELSE '' END`
	envelopeColumn  = `CASE WHEN octet_length(m.envelope) > 134217728 THEN '' ELSE m.envelope END`
)

// oneMessage is the message $1 with shares or without. Its columns are NULL where only
// shares of it are there, and there is no row where nothing is.
const oneMessage = `(SELECT $1::bigint AS id) one LEFT JOIN message m ON m.id = one.id
	WHERE m.id IS NOT NULL OR EXISTS (SELECT 1 FROM share WHERE share.id = one.id)`

// errNoMessage is what is told of such shares: they came with a message, and go with it.
var errNoMessage = fmt.Errorf("%w: it is in the queue, and its content is missing", spool.ErrDamaged)

// damaged is a share that cannot be read.
type damaged struct {
	id    spool.ID
	share int
	err   error
}

// setAside holds the shares that cannot be read, so that the others of their lane go
// on, and tells of them.
func (s *Store) setAside(ctx context.Context, tx pgx.Tx, bad []damaged) error {
	for _, d := range bad {
		_, err := tx.Exec(ctx, `UPDATE share SET held = true, claim = NULL, attempts = attempts - 1 WHERE id = $1 AND share = $2`, int64(d.id), d.share)
		if err != nil {
			return err
		}
		s.opts.Events(&Failed{"claim", fmt.Errorf("the message %s is held, since it cannot be read: %w", d.id, d.err)})
	}
	return nil
}

// owes tells whether the recipients that a share owes are some of its message, and
// whether each has the upstream that comes next. nil, or a spool.ErrDamaged.
func owes(env *spool.Envelope, pending []int, failover int) error {
	if len(pending) == 0 || len(pending) > len(env.Recipients) {
		return fmt.Errorf("%w: a share owes %d of its %d recipients", spool.ErrDamaged, len(pending), len(env.Recipients))
	}
	for _, i := range pending {
		if i >= len(env.Recipients) {
			return fmt.Errorf("%w: a share is for recipient %d of %d", spool.ErrDamaged, i+1, len(env.Recipients))
		}
		if failover >= len(env.Recipients[i].Upstreams) {
			return fmt.Errorf("%w: a share has come to upstream %d of %d", spool.ErrDamaged, failover+1, len(env.Recipients[i].Upstreams))
		}
	}
	return nil
}

// Discard implements spool.Store.
func (s *Store) Discard(ctx context.Context, id spool.ID, share int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	_, err := s.underLease(ctx, id, share, func(tx pgx.Tx, upstream string, epoch uint64) error {
		// The message first, as those do who settle.
		if _, err := tx.Exec(ctx, lockMessage, int64(id)); err != nil {
			return err
		}
		if _, err := s.takeIn(ctx, tx, id, share, upstream, epoch); err == nil {
			return spool.ErrInvalid
		} else if !errors.Is(err, spool.ErrDamaged) {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM share WHERE id = $1 AND share = $2`, int64(id), share); err != nil {
			return err
		}
		for _, end := range []string{endMessage, endOutcomes, endParts} {
			if _, err := tx.Exec(ctx, end, int64(id)); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return spool.ErrNotFound
	}
	return err
}
