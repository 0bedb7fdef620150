package postgres

import (
	"context"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
)

// Facts are what a database is worth as a queue.
type Facts struct {
	Server   string // "15.18"
	Schema   int    // 0: none
	Database string // name and place, without a password

	FSync, FullPageWrites bool
	SyncCommit            string        // synchronous_commit, for a connection of this user
	Standbys              string        // synchronous_standby_names
	InSync                int           // synchronous standbys that follow
	Answer                time.Duration // of the smallest question
	Skew                  time.Duration // of the database's clock before ours
	Dead                  int64         // rows that vacuum has not removed
	Live                  int64
	Oldest                time.Duration // the oldest transaction that keeps vacuum from removing rows; 0: none
	IdleSlots             int           // replication slots that nobody reads, which keep the write-ahead log
	Messages              int64         // estimate
}

// Durable tells whether a commit survives the end of the database's machine (a
// power cut), and whether it survives its loss.
func (f *Facts) Durable() (powerCut, loss bool) {
	powerCut = f.FSync && f.FullPageWrites && f.SyncCommit != "off"
	return powerCut, powerCut && f.Standbys != "" && f.InSync > 0 && f.SyncCommit != "local"
}

// Inspect looks at a database. It changes nothing.
func Inspect(ctx context.Context, url string) (f Facts, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, host, err := connectNamed(ctx, url)
	if err != nil {
		return f, err
	}
	defer c.Close(context.WithoutCancel(ctx))
	f.Database = c.Config().Database + " at " + host
	if f.Schema, err = version(ctx, c); err != nil {
		return f, err
	}
	begun := time.Now()
	var at time.Time
	if err = c.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&at); err != nil {
		return f, err
	}
	f.Answer = time.Since(begun)
	f.Skew = at.Sub(begun.Add(f.Answer / 2)).Round(time.Millisecond)
	var oldest float64
	err = c.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('fsync')::bool, current_setting('full_page_writes')::bool,
			current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
			(SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')),
			(SELECT coalesce(sum(n_dead_tup), 0)::bigint FROM pg_stat_user_tables WHERE relname IN ('message', 'share', 'outcome', 'body_part', 'key')),
			(SELECT coalesce(sum(n_live_tup), 0)::bigint FROM pg_stat_user_tables WHERE relname IN ('message', 'share', 'outcome', 'body_part', 'key')),
			(SELECT coalesce(max(extract(epoch FROM now() - xact_start)), 0)::float8 FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()),
			(SELECT count(*) FROM pg_replication_slots WHERE NOT active),
			(SELECT coalesce(max(n_live_tup), 0)::bigint FROM pg_stat_user_tables WHERE relname = 'message')`).
		Scan(&f.Server, &f.FSync, &f.FullPageWrites, &f.SyncCommit, &f.Standbys, &f.InSync, &f.Dead, &f.Live, &oldest, &f.IdleSlots, &f.Messages)
	f.Oldest = time.Duration(oldest * float64(time.Second))
	return f, err
}

// connectNamed connects, and names the host in the URL that has answered: the first,
// unless it is another one's turn.
func connectNamed(ctx context.Context, url string) (c *pgx.Conn, host string, err error) {
	conf, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, "", err
	}
	host = conf.Host
	lookup, dial, names := conf.LookupFunc, conf.DialFunc, map[string]string{}
	conf.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		all, err := lookup(ctx, host)
		for _, address := range all {
			names[address] = host
		}
		return all, err
	}
	conf.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if ip, _, err := net.SplitHostPort(address); err == nil && names[ip] != "" {
			host = names[ip]
		}
		return dial(ctx, network, address)
	}
	c, err = pgx.ConnectConfig(ctx, conf)
	return c, host, err
}

// OpenReader opens a queue for reading only, beside relays.
func OpenReader(ctx context.Context, url string) (*Reader, error) {
	v, err := SchemaOf(ctx, url)
	if err != nil {
		return nil, err
	}
	if v != Schema {
		return nil, &SchemaError{v}
	}
	pool, err := newPool(ctx, Options{URL: url, Relay: "reader"}, nil)
	if err != nil {
		return nil, err
	}
	return &Reader{Store{pool: pool}}, nil
}

// Reader is a queue that is only read. Only the methods of spool.Reader and
// Close are to be used.
type Reader struct{ Store }

// Close ends the use of the queue.
func (r *Reader) Close() error {
	r.pool.Close()
	return nil
}
