//go:build unix

package postgres

import (
	"strings"
	"sync"
	"testing"

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

// longQueue: what is due next is one row to read, also where the database knows
// nothing of the queue yet.
func longQueue(t *testing.T, url string) {
	s, _ := opened(t, url, "one")
	if _, err := s.pool.Exec(t.Context(), `INSERT INTO share SELECT g, 0, 'up', 'up', 0, '', 1, g, 0, 0, 0, 7, 0, g, false, false, false, false, false, false, NULL, NULL
		FROM generate_series(1, 5000) g`); err != nil {
		t.Fatal(err)
	}
	rows, err := s.pool.Query(t.Context(), `EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) `+nextDue, "up")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(plan, "\n")
	if strings.Contains(text, "rows=5000") {
		t.Error(text)
	}
	if due, ok, err := s.NextDue(t.Context(), "up"); due.UnixNano() != 1 || !ok || err != nil {
		t.Errorf("%v, %v, %v", due, ok, err)
	}
	if due, ok, err := s.NextDue(t.Context(), "down"); ok || err != nil {
		t.Errorf("%v, %v", due, err)
	}
}
