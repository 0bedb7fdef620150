package postgres

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"postern/spool"
)

// Known implements spool.Store.
func (s *Store) Known(ctx context.Context, k *spool.Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	var first, digest int64
	err := s.pool.QueryRow(ctx, `SELECT id, digest FROM key WHERE name = $1 AND until > $2`, k.Name[:], time.Now().UnixNano()).Scan(&first, &digest)
	if errors.Is(err, pgx.ErrNoRows) {
		return s.keys.room(s, k)
	}
	if err == nil {
		err = s.settledAll(ctx)
	}
	if err != nil {
		return err
	}
	return k.Again(spool.ID(first), uint64(digest))
}

// acceptOnce makes a message durable together with its key. Another commit with
// that key, of any relay, is waited for.
func (s *Store) acceptOnce(m *message) error {
	var again *spool.Repeated
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	var pid uint32
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		pid = tx.Conn().PgConn().PID()
		k, now := m.key, time.Now().UnixNano()
		b := &pgx.Batch{}
		b.Queue(`DELETE FROM key WHERE name = $1 AND until <= $2`, k.Name[:], now)
		b.Queue(`INSERT INTO key (name, id, digest, share, until) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING`,
			k.Name[:], m.id, int64(k.Digest), int64(k.Share), k.Until.UnixNano())
		b.Queue(`SELECT id, digest FROM key WHERE name = $1`, k.Name[:])
		r := tx.SendBatch(ctx, b)
		err := skip(r, 2)
		var first, digest int64
		if err == nil {
			err = r.QueryRow().Scan(&first, &digest)
		}
		if closed := r.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
		if first != m.id {
			again = k.Again(spool.ID(first), uint64(digest))
			return again
		}
		b = &pgx.Batch{}
		m.queue(b)
		return tx.SendBatch(ctx, b).Close()
	})
	if again != nil {
		return cmp.Or(s.settledAll(ctx), error(again))
	}
	if err != nil && pid != 0 && !refused(err) {
		// One that is there and was refused stays: its sender is told so when it
		// sends it again with its key, at whichever relay.
		_, err = s.ask(pid, m.id, err)
	}
	if err == nil {
		s.keys.add(m.key.Share)
		s.accepted(m)
	}
	return err
}

// keyCounts says how many keys there are of each share: as the database has
// told, and with what was added here since.
type keyCounts struct {
	mu    sync.Mutex
	at    time.Time
	all   int
	share map[uint32]int
}

// keysFresh is how long what the database told is believed.
const keysFresh = 10 * time.Second

// room tells whether a key can be remembered. nil, or ErrManyKeys. What can't be
// asked is no reason to refuse.
func (c *keyCounts) room(s *Store, k *spool.Key) error {
	if k == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) > keysFresh {
		if err := c.load(s); err != nil {
			return err
		}
	}
	if c.share[k.Share] >= s.opts.MaxKeys-c.all {
		return spool.ErrManyKeys
	}
	return nil
}

func (c *keyCounts) load(s *Store) error {
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, `SELECT share, count(*) FROM key WHERE until > $1 GROUP BY share`, time.Now().UnixNano())
	if err != nil {
		return err
	}
	all, share := 0, map[uint32]int{}
	var of int64
	var n int
	_, err = pgx.ForEachRow(rows, []any{&of, &n}, func() error {
		share[uint32(of)] = n
		all += n
		return nil
	})
	if err == nil {
		c.at, c.all, c.share = time.Now(), all, share
	}
	return err
}

func (c *keyCounts) add(share uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.share != nil {
		c.share[share]++
		c.all++
	}
}
