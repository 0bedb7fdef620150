//go:build unix

package postgres

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"postern/spool"
	"postern/spool/postgres/postgrestest"
)

// events are what a store has told.
type events struct {
	mu   sync.Mutex
	list []Event
}

func (e *events) add(one Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, one)
}

// last is the last event of a kind.
func last[T Event](e *events) (found T) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, one := range e.list {
		if one, ok := one.(T); ok {
			found = one
		}
	}
	return found
}

// outlived: what could not be settled when a relay was killed is settled by its
// next process, once, unless another relay was quicker.
func outlived(t *testing.T, url string) {
	file := filepath.Join(t.TempDir(), "outbox")
	told := &events{}
	open := func() (*Store, *postgrestest.Network) { return openedWith(t, url, file, told.add) }
	other, _ := opened(t, url, "two")
	for _, c := range []struct {
		name             string
		taken            bool // by another relay, meanwhile
		begun            bool // and tried
		shares, refused  int
		deferred, damage bool
	}{
		{name: "a restart"},
		{name: "a takeover", taken: true},
		{name: "a takeover and an attempt", taken: true, begun: true, shares: 1, refused: 1},
		{name: "what is deferred", taken: true, deferred: true, shares: 1},
		{name: "a line that a crash cut", damage: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, n := open()
			id := put(t, s, envelope("a@example.com", "up"), strings.NewReader("x\r\n"))
			ds := claimed(t, s, "up", 1)
			if err := s.DotSent(t.Context(), ds[0]); err != nil {
				t.Fatal(err)
			}
			n.Cut(true)
			end := spool.Settlement{Outcomes: []spool.Outcome{accepted}}
			if c.deferred {
				end = spool.Settlement{Outcomes: []spool.Outcome{{Stage: spool.StageDot, Code: 451}}, Due: time.Now().Add(3 * time.Hour)}
			}
			if _, err := s.Settle(t.Context(), ds[0], end); err == nil {
				t.Fatal("settled without a database")
			}
			s.abandon()
			if c.damage {
				f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				f.WriteString(`0000abcd {"end":{"id"`)
				f.Close()
			}
			if c.taken {
				expire(t, url)
				if _, err := other.Lease(t.Context(), "up"); err != nil {
					t.Fatal(err)
				}
			}
			if c.begun {
				if d, err := other.Take(t.Context(), id, 0); err != nil || !d.InDoubt {
					t.Fatalf("%+v, %v", d, err)
				}
			}
			s, _ = open()
			sums, err := s.Shares(t.Context(), id)
			if c.shares == 0 && err == nil || len(sums) != c.shares {
				t.Errorf("shares %+v, %v", sums, err)
			}
			if c.deferred && (sums[0].InDoubt || sums[0].Attempts != 1 || time.Until(sums[0].Due) < 2*time.Hour) {
				t.Errorf("%+v", sums[0])
			}
			if e := last[*CaughtUp](told); e == nil || e.Settlements != 1 || e.Refused != c.refused {
				t.Errorf("%+v", e)
			}
			if left, err := os.ReadFile(file); err != nil || len(left) > 0 {
				t.Errorf("the file holds %q, %v", left, err)
			}
			s.abandon()
			for _, sum := range sums { // nothing is left for the next
				if _, err := other.pool.Exec(t.Context(), `DELETE FROM share WHERE id = $1`, int64(sum.ID)); err != nil {
					t.Fatal(err)
				}
			}
			if err := other.Leave(t.Context(), spool.Lease{Upstream: "up", Epoch: epochOf(other, "up")}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func epochOf(s *Store, upstream string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lanes[upstream]; l != nil {
		return l.epoch
	}
	return 0
}

func expire(t *testing.T, url string) {
	t.Helper()
	query(t, url, `UPDATE lane SET until = now()`)
}

func query(t *testing.T, url, sql string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err == nil {
		_, err = c.Exec(t.Context(), sql)
		c.Close(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestOutboxFile: what was not written by this program is left out, and kept.
func TestOutboxFile(t *testing.T) {
	good, err := record{End: &ending{ID: 1, Share: 2, Claim: 3, Lane: "up", Left: []int{4}}}.line()
	if err != nil {
		t.Fatal(err)
	}
	doubt, _ := record{Doubt: &doubtful{5, 6}}.line()
	for name, c := range map[string]struct {
		content string
		want    int
		bad     bool
	}{
		"empty": {},
		"whole": {string(good) + string(doubt), 2, false},
		"torn":  {string(good) + string(doubt[:20]), 1, false},
		"bit":   {string(good) + strings.Replace(string(doubt), "6", "7", 1) + string(good), 2, true},
		"junk":  {"junk\n\n\x00\n" + string(good), 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := &outboxFile{path: filepath.Join(t.TempDir(), "outbox")}
			if err := os.WriteFile(o.path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			list, err := o.read()
			if len(list) != c.want || (err != nil) != c.bad {
				t.Fatalf("%d records, %v", len(list), err)
			}
			if err := o.append(record{Doubt: &doubtful{7, 8}}); err != nil {
				t.Fatal(err)
			}
			o.close()
			again := &outboxFile{path: o.path}
			if list, err = again.read(); err != nil || len(list) != c.want+1 || *list[c.want].Doubt != (doubtful{7, 8}) {
				t.Errorf("%+v, %v", list, err)
			}
			if aside, err := os.ReadFile(o.path + ".bad"); c.bad != (err == nil) || c.bad && !bytes.Equal(aside, []byte(c.content)) {
				t.Errorf("set aside: %q, %v", aside, err)
			}
			if err := again.empty(); err != nil {
				t.Error(err)
			}
			if left, err := os.ReadFile(o.path); err != nil || len(left) > 0 {
				t.Errorf("%q, %v", left, err)
			}
		})
	}
}

// standbyAway: a commit that waits for a standby whose relay is cut off is no 250
// until the standby has it, and is removed otherwise, also by the next process.
func standbyAway(t *testing.T, url string) {
	t.Cleanup(func() { postgrestest.RequireStandby(t, url, "") })
	waits := func(what string) {
		t.Helper()
		c, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(t.Context())
		for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			var is bool
			if err := c.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE $1)`, what).Scan(&is); err != nil {
				t.Fatal(err)
			}
			if is {
				return
			}
			if time.Now().After(end) {
				var all string
				err := c.QueryRow(t.Context(), `SELECT string_agg(concat_ws(' ', pid, application_name, state, wait_event, now() - query_start, left(query, 60)), E'\n') FROM pg_stat_activity WHERE datname = current_database()`).Scan(&all)
				t.Fatalf("nothing waits: %s, %v; there are\n%s", what, err, all)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "outbox")
	for _, comes := range []bool{true, false} { // the standby
		s, n := openedWith(t, url, file, nil)
		postgrestest.RequireStandby(t, url, "nobody")
		d, err := s.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- d.Commit(context.WithoutCancel(t.Context()), envelope("a@example.com", "up")) }()
		waits("INSERT INTO%")
		n.Cut(true)
		n.Cut(false)
		waits("SELECT pg_logical_emit_message%")
		if comes {
			postgrestest.RequireStandby(t, url, "")
			if err := <-done; err != nil {
				t.Errorf("the standby has it: %v", err)
			}
			if _, err := s.Shares(t.Context(), d.ID()); err != nil {
				t.Error(err)
			}
			s.abandon()
			continue
		}
		n.Cut(true)
		if err := <-done; err == nil {
			t.Error("accepted without the standby")
		}
		s.abandon()
		postgrestest.RequireStandby(t, url, "")
		s, _ = openedWith(t, url, file, nil)
		if sums, err := s.Shares(t.Context(), d.ID()); err == nil {
			t.Errorf("it is still there: %+v", sums)
		}
	}
}

func openedWith(t *testing.T, url, file string, events func(Event)) (*Store, *postgrestest.Network) {
	t.Helper()
	n := &postgrestest.Network{}
	s, err := Open(t.Context(), Options{URL: url, Relay: "one", Term: time.Minute, Grace: -1, Dial: n.Dial, Outbox: file, Events: events})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.abandon)
	return s, n
}
