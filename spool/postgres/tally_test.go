//go:build unix

package postgres

import (
	"cmp"
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// firstCount: nobody takes a queue for empty because somebody else is counting it for
// the first time.
func firstCount(t *testing.T, url string) {
	one, _ := opened(t, url, "one")
	put(t, one, envelope("a@example.com", "up"), strings.NewReader("x\r\n"))
	two, _ := opened(t, url, "two")
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if n, _, err := two.counts.fresh(t.Context(), two); n != 1 || err != nil {
				t.Errorf("%d messages, %v", n, err)
			}
		})
	}
	all.Wait()
}

// longQueue: what is due next, and a claim, are a few rows to read soon after a queue
// has grown.
func longQueue(t *testing.T, url string) {
	s, _ := opened(t, url, "one")
	if _, err := s.pool.Exec(t.Context(), `INSERT INTO share SELECT g, 0, 'up', 'up', 0, '', 1, g, 0, 0, 0, 7, 0, g, false, false, false, false, false, false, NULL, NULL
		FROM generate_series(1, 20000) g`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.pool.Exec(t.Context(), `INSERT INTO message SELECT id, '', 1, '' FROM share`); err != nil {
		t.Fatal(err)
	}
	within(t, "the database knows the queue", func() bool { // it counts rows a second later
		var rows float64
		if err := s.analyse(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := s.pool.QueryRow(t.Context(), `SELECT reltuples FROM pg_class WHERE oid = 'share'::regclass`).Scan(&rows)
		return err == nil && rows > 10000
	})
	for name, c := range map[string]struct {
		sql  string
		args []any
	}{
		"next due": {nextDue, []any{"up"}},
		"claim":    {claimDue, []any{"up", time.Now().UnixNano(), 64, int64(0), []int64{1}, 0.1}},
	} {
		err := pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error {
			rows, err := tx.Query(t.Context(), `EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) `+c.sql, c.args...)
			if err != nil {
				return err
			}
			plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if text := strings.Join(plan, "\n"); regexp.MustCompile(`rows=\d{4}|Filter: \d{4}`).MatchString(text) {
				t.Errorf("%s: %s", name, text)
			}
			return cmp.Or(err, errors.New("nothing of it is to last"))
		})
		if err == nil || err.Error() != "nothing of it is to last" {
			t.Fatal(err)
		}
	}
	if due, ok, err := s.NextDue(t.Context(), "up"); due.UnixNano() != 1 || !ok || err != nil {
		t.Errorf("%v, %v, %v", due, ok, err)
	}
	if due, ok, err := s.NextDue(t.Context(), "down"); ok || err != nil {
		t.Errorf("%v, %v", due, err)
	}
}
