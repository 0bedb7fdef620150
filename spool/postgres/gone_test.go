//go:build unix

package postgres

import (
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// lostMachine: a relay whose machine is gone in the middle of a claim, so that nobody
// ends its transaction, holds up no takeover.
func lostMachine(t *testing.T, url string) {
	var n silence
	one, err := Open(t.Context(), Options{URL: url, Relay: "one", Grace: -1, Dial: n.dial})
	if err != nil {
		t.Fatal(err)
	}
	const setting = "idle_in_transaction_session_timeout"
	var is int
	if err := one.pool.QueryRow(t.Context(), `SELECT setting::int FROM pg_settings WHERE name = $1 AND unit = 'ms'`, setting).Scan(&is); err != nil {
		t.Fatal(err)
	}
	// The lease was renewed at the latest a third of it ago.
	if left := one.opts.Term * 2 / 3; is <= 0 || time.Duration(is)*time.Millisecond > left {
		t.Errorf("%s is %d ms, and the lease of a relay that is gone may end %v later", setting, is, left)
	}
	if os.Getenv("POSTERN_LONG") == "" {
		one.abandon()
		t.Log("a lease is not waited for: POSTERN_LONG=1")
		return
	}
	l, err := one.Lease(t.Context(), "up")
	if err != nil {
		t.Fatal(err)
	}
	tx, err := one.pool.BeginTx(t.Context(), pgx.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if held, err := one.holds(t.Context(), tx, "up", l.Epoch); !held || err != nil { // as each claim begins
		t.Fatal(held, err)
	}
	died := time.Now()
	after := n.fall()
	t.Cleanup(func() {
		after()
		tx.Rollback(t.Context())
		one.abandon()
	})
	two, err := Open(t.Context(), Options{URL: url, Relay: "two", Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(two.abandon)
	within(t, "another relay has the lane", func() bool { _, err := two.Lease(t.Context(), "up"); return err == nil })
	// Far more than it takes, and less than the time after which the lock went before.
	if took := time.Since(died); took > 40*time.Second {
		t.Errorf("it took %v", took)
	} else {
		t.Logf("another relay has the lane after %v", took)
	}
}

// beatsBesideUndo: claims of which a relay does not know are ended beside its
// heartbeats. As long as that waits, for a claim that is under way, the relay is heard
// of all the same.
func beatsBesideUndo(t *testing.T, url string) {
	s, err := Open(t.Context(), Options{URL: url, Relay: "one", Term: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.abandon)
	if _, err := s.Lease(t.Context(), "up"); err != nil {
		t.Fatal(err)
	}
	s.claiming.RLock()
	unlock := sync.OnceFunc(s.claiming.RUnlock)
	t.Cleanup(unlock)
	s.unsure("up", errClosed)
	var heard []string
	within(t, "the relay is heard of five times", func() bool {
		var until string
		if err := s.pool.QueryRow(t.Context(), `SELECT until::text FROM relay WHERE name = 'one'`).Scan(&until); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(heard, until) {
			heard = append(heard, until)
		}
		return len(heard) > 5
	})
	dirty := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.lanes["up"].dirty
	}
	if !dirty() {
		t.Errorf("what waits was done; heard of at %s", strings.Join(heard, ", "))
	}
	unlock()
	within(t, "the claims are ended", func() bool { return !dirty() })
}
