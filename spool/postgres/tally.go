package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"postern/spool"
)

// nextDue reads one row of an index. min(due) would read all of the lane's where the
// database has no statistics: a queue that has grown fast, or was restored.
const nextDue = `SELECT due FROM share WHERE lane = $1 AND claim IS NULL AND NOT held ORDER BY due LIMIT 1`

// NextDue implements spool.Store.
func (s *Store) NextDue(ctx context.Context, upstream string) (next time.Time, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return next, false, err
	}
	ctx, cancel := asking(ctx)
	defer cancel()
	var at int64
	err = s.pool.QueryRow(ctx, nextDue, upstream).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return next, false, nil
	}
	if err != nil {
		return next, false, err
	}
	return time.Unix(0, at), true, nil
}

// Lanes implements spool.Store.
func (s *Store) Lanes(ctx context.Context) (map[string]spool.LaneState, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := asking(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, `SELECT lane, count(*),
			coalesce(min(due) FILTER (WHERE claim IS NULL AND NOT held AND NOT (not_before <> 0 AND due <= not_before)), 0),
			coalesce(min(due) FILTER (WHERE claim IS NULL AND NOT held AND not_before <> 0 AND due <= not_before), 0)
		FROM share GROUP BY lane`)
	if err != nil {
		return nil, err
	}
	lanes := map[string]spool.LaneState{}
	var name string
	var n int
	var at, scheduled int64
	_, err = pgx.ForEachRow(rows, []any{&name, &n, &at, &scheduled}, func() error {
		l := spool.LaneState{Shares: n}
		if at != 0 {
			l.Due = time.Unix(0, at)
		}
		if scheduled != 0 {
			l.Scheduled = time.Unix(0, scheduled)
		}
		lanes[name] = l
		return nil
	})
	return lanes, err
}

// Tally implements spool.Store.
func (s *Store) Tally(ctx context.Context, now time.Time) (t spool.Tally, err error) {
	if err := ctx.Err(); err != nil {
		return t, err
	}
	ctx, cancel := asking(ctx)
	defer cancel()
	step := int64(spool.TallyStep)
	err = s.pool.QueryRow(ctx, `SELECT count(*) FILTER (WHERE k = 1), count(*) FILTER (WHERE k = 2), count(*) FILTER (WHERE k = 3),
			count(*) FILTER (WHERE k = 4), count(*) FILTER (WHERE k = 5)
		FROM (SELECT CASE WHEN claim IS NOT NULL THEN 1 WHEN held THEN 2 WHEN due / $1 <= $2 THEN 3 WHEN due <= not_before THEN 4 ELSE 5 END k
			FROM share) c`, step, now.UnixNano()/step).Scan(&t.Claimed, &t.Held, &t.Due, &t.Scheduled, &t.Deferred)
	return t, err
}

// counts says how much there is: as the database has told, with what this relay
// has added and removed since.
type counts struct {
	mu       sync.Mutex
	known    bool // the database has told
	at       time.Time
	took     time.Duration // to count
	messages int
	bytes    int64
}

func (c *counts) add(messages int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages += messages
	c.bytes += bytes
}

// fresh tells how much there is, and asks again where the last answer is older
// than a hundred times what it took, and than a second.
func (c *counts) fresh(ctx context.Context, s *Store) (messages int, bytes int64, err error) {
	messages, bytes, old := c.last()
	if !old {
		return messages, bytes, nil
	}
	begun := time.Now()
	ctx, cancel := asking(ctx)
	defer cancel()
	err = s.pool.QueryRow(ctx, `SELECT count(*), coalesce(sum(size), 0) FROM message`).Scan(&messages, &bytes)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.at = time.Time{} // it is asked again
		return 0, 0, err
	}
	c.known, c.at, c.took, c.messages, c.bytes = true, time.Now(), time.Since(begun), messages, bytes
	return messages, bytes, nil
}

// last is what the database has told last. Whoever is told that this is old asks it
// again, and others go by it meanwhile; as long as it has told nothing, all ask.
func (c *counts) last() (messages int, bytes int64, old bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old = time.Since(c.at) > max(time.Second, 100*c.took)
	if old && c.known {
		c.at = time.Now()
	}
	return c.messages, c.bytes, old
}

// room says whether there is any. nil, or ErrFull.
func (s *Store) room(ctx context.Context) error {
	if s.opts.MaxMessages == 0 && s.opts.MaxSize == 0 {
		return nil
	}
	messages, bytes, err := s.counts.fresh(ctx, s)
	if err != nil {
		return err
	}
	if s.full(messages, bytes) {
		return spool.ErrFull
	}
	return nil
}

func (s *Store) full(messages int, bytes int64) bool {
	return s.opts.MaxMessages > 0 && messages >= s.opts.MaxMessages || s.opts.MaxSize > 0 && bytes >= s.opts.MaxSize
}

// Usage implements spool.Reader.
func (s *Store) Usage(ctx context.Context) (u spool.Usage, err error) {
	if err := ctx.Err(); err != nil {
		return u, err
	}
	u.Free, u.MaxMessages, u.MaxSize = -1, s.opts.MaxMessages, s.opts.MaxSize
	if u.Messages, u.Live, err = s.counts.fresh(ctx, s); err != nil {
		return u, err
	}
	ctx, cancel := asking(ctx)
	defer cancel()
	err = s.pool.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE kept),
		(SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
			WHERE relname IN ('message', 'body_part', 'share', 'outcome', 'key') AND relkind = 'r' AND relnamespace = current_schema()::regnamespace)
		FROM share`).Scan(&u.Shares, &u.Kept, &u.Disk)
	u.Full = s.full(u.Messages, u.Live)
	return u, err
}

// analyse has the database look at a queue that is long, and of which it knows at most a
// quarter: after a burst, or a restore, autovacuum comes a minute later or more, and
// until then each claim sorts the whole lane.
func (s *Store) analyse(ctx context.Context) error {
	var grown bool
	err := s.pool.QueryRow(ctx, `SELECT n_live_tup > 10000 AND n_live_tup > 4 * c.reltuples
		FROM pg_class c JOIN pg_stat_all_tables t ON t.relid = c.oid WHERE c.oid = 'share'::regclass`).Scan(&grown)
	if err == nil && grown {
		_, err = s.pool.Exec(ctx, `ANALYZE share, message`)
	}
	return err
}
