//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"postern/spool/postgres/postgrestest"
)

// readings are how many there are of a steady load.
const readings = 10

// mostQueued is how many messages may wait under a steady load before its clients do.
const mostQueued = 1000

// written is where the write-ahead log of the peer's database is, in bytes; 0: it has
// none.
func (on *running) written(ctx context.Context) (n int64, err error) {
	if on.sql == nil {
		return 0, nil
	}
	err = on.sql.QueryRow(ctx, `SELECT (pg_current_wal_lsn() - '0/0')::bigint`).Scan(&n)
	return n, err
}

// emptied waits until the database of the peer holds no message: what arrived is
// settled a moment later.
func (on *running) emptied(ctx context.Context) error {
	for end := time.Now().Add(time.Minute); on.sql != nil; pause(ctx, 20*time.Millisecond) {
		var some bool
		if err := on.sql.QueryRow(ctx, `SELECT EXISTS (SELECT FROM message)`).Scan(&some); err != nil || !some {
			return err
		}
		if time.Now().After(end) {
			return errors.New("messages are still in the database a minute after the last one arrived")
		}
	}
	return nil
}

// dead reads which rows wait for a vacuum, and how often there was one.
func (on *running) dead(ctx context.Context, r *reading) error {
	r.Dead, r.Vacuums = map[string]int64{}, map[string]int64{}
	rows, err := on.sql.Query(ctx, `SELECT relname, n_dead_tup, autovacuum_count FROM pg_stat_user_tables WHERE relname IN ('message', 'share', 'outcome', 'body_part', 'lane')`)
	if err != nil {
		return err
	}
	var table string
	var dead, vacuums int64
	_, err = pgx.ForEachRow(rows, []any{&table, &dead, &vacuums}, func() error {
		r.Dead[table], r.Vacuums[table] = dead, vacuums
		return nil
	})
	return err
}

// steady gives one relay a load for a long time, of which as much arrives as is
// taken, and reads now and then what that leaves in the tables.
func (r *rates) steady(ctx context.Context, server *postgrestest.Server) error {
	dir := filepath.Join(r.dir, "steady")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	u, err := count(ownAddress())
	if err != nil {
		return err
	}
	defer u.close()
	on, err := r.shared("", server, 1).start(ctx, dir, u.listener.Addr().String())
	if err != nil {
		return err
	}
	defer on.stop()
	f := &filler{addrs: on.addrs, sessions: 10, text: text(1 << 10), may: func(accepted int64) bool { return accepted-u.arrived.Load() < mostQueued }}
	began := time.Now()
	filling, cancel := context.WithTimeout(ctx, r.plan.steady)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		f.fill(filling)
		close(ended)
	}()
	defer func() { cancel(); <-ended }()
	had, last := int64(0), began
	wal, err := on.written(ctx)
	if err != nil {
		return err
	}
	for n := range readings {
		pause(ctx, time.Until(began.Add(r.plan.steady*time.Duration(n+1)/readings)))
		now, arrived := time.Now(), u.arrived.Load()
		one := reading{Seconds: now.Sub(began).Seconds(), Rate: float64(arrived-had) / now.Sub(last).Seconds(), Queued: f.accepted.Load() - arrived}
		if err := on.dead(ctx, &one); err != nil {
			return err
		}
		written, err := on.written(ctx)
		if err != nil {
			return err
		}
		one.WAL = (written - wal) / max(arrived-had, 1)
		had, last, wal = arrived, now, written
		r.rep.Steady = append(r.rep.Steady, one)
		fmt.Fprintf(r.stderr, "%s steady: %.0f/s, %d queued, dead rows %v, vacuums %v, %d bytes of WAL a message\n", now.Format(time.TimeOnly), one.Rate, one.Queued, one.Dead, one.Vacuums, one.WAL)
	}
	return ctx.Err()
}

// requireStandby has each commit of a server wait for its standby.
func requireStandby(ctx context.Context, url string) error {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	for _, say := range []string{"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (standby)'", "SELECT pg_reload_conf()"} {
		if _, err := c.Exec(ctx, say); err != nil {
			return err
		}
	}
	return nil
}
