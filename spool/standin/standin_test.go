//go:build unix

package standin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"postern/spool"
	"postern/spool/journal"
	"postern/spool/postgres"
	"postern/spool/postgres/postgrestest"
	"postern/spool/storetest"
)

// rig is a relay with a database and a spool that stands in for it.
type rig struct {
	*Store
	shared *postgres.Store
	local  *journal.Store
	net    *postgrestest.Network
}

func open(t *testing.T, url, relay, dir string, events func(Event)) *rig {
	t.Helper()
	r := &rig{net: &postgrestest.Network{}}
	var err error
	r.shared, err = postgres.Open(t.Context(), postgres.Options{URL: url, Relay: relay, Term: time.Minute, Grace: -1, MaxMessages: 50, MaxKeys: 20, Dial: r.net.Dial})
	if err != nil {
		t.Fatal(err)
	}
	if r.local, err = journal.Open(journal.Options{Dir: dir, Reserve: -1, ZeroAhead: -1}); err != nil {
		t.Fatal(err)
	}
	r.Store = New(Options{Shared: r.shared, Answers: r.shared.Answers, Local: r.local, Accept: true, Events: events})
	t.Cleanup(r.close)
	return r
}

func (r *rig) close() {
	r.Store.Close()
	r.local.Close()
	r.net.Cut(true) // as a kill does
	r.shared.Close()
}

// TestContract: with a database that answers it is the queue that the database is.
func TestContract(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t, "fsync=off")
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		url := server.Database(t)
		if _, err := postgres.Migrate(t.Context(), url); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "standin")
		first := open(t, url, "one", dir, nil)
		first.opts.Accept = false // what is accepted while the database is away: TestAway
		other := open(t, url, "two", filepath.Join(t.TempDir(), "standin"), nil)
		current := first
		return storetest.Harness{Store: first, Other: other, Most: 50, Keys: 20,
			Away: func(away bool) { current.net.Cut(away) },
			Restart: func() spool.Store {
				current.close()
				current = open(t, url, "one", dir, nil)
				return current
			},
			Expire: func() {
				c, err := pgx.Connect(t.Context(), url)
				if err == nil {
					_, err = c.Exec(t.Context(), `UPDATE lane SET until = now()`)
					c.Close(t.Context())
				}
				if err != nil {
					t.Fatal(err)
				}
			}}
	})
}

func (r *rig) accept(t *testing.T, n int, key *spool.Key) (spool.ID, error) {
	t.Helper()
	d, err := r.Create(t.Context())
	if err != nil {
		return 0, err
	}
	if _, err := io.WriteString(d, fmt.Sprintf("Subject: %d\r\n\r\n%s", n, strings.Repeat("x", n*40_000))); err != nil {
		t.Fatal(err)
	}
	return d.ID(), d.Commit(t.Context(), &spool.Envelope{From: "a@example.com", Accepted: time.Now().Add(-time.Hour), Key: key, Prefix: []byte("X-Prefix: yes\r\n"),
		Recipients: []spool.Recipient{{Address: "b@example.net", Upstreams: []string{"up"}}, {Address: "c@example.net", Upstreams: []string{"up", "down"}}}})
}

// subjects are those of the database.
func (r *rig) subjects(t *testing.T) map[string]int {
	t.Helper()
	all := map[string]int{}
	err := r.shared.Find(t.Context(), spool.Query{}, func(s spool.Summary) bool {
		if s.Share > 0 {
			return true
		}
		c, err := r.shared.Content(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		text := make([]byte, c.Size())
		if _, err := c.ReadAt(text, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		head, body, _ := strings.Cut(string(text), "\r\n\r\n")
		all[head]++
		if len(body)%40_000 != 0 || time.Since(s.Accepted) < time.Hour {
			t.Errorf("%q: %d bytes, accepted %v", head, len(body), s.Accepted)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestAway: what is accepted while the database is away is in it afterwards, once,
// also over ends of the process at every step.
func TestAway(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t, "fsync=off")
	url := server.Database(t)
	if _, err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "standin")
	r := open(t, url, "one", dir, nil)
	if _, err := r.accept(t, 0, nil); err != nil {
		t.Fatal(err)
	}
	key := &spool.Key{Name: spool.NameKey("s", "k"), Until: time.Now().Add(time.Hour), Digest: 7}
	r.net.Cut(true)
	for r.shared.Answers(t.Context()) {
		time.Sleep(10 * time.Millisecond)
	}
	for n := 1; n <= 9; n++ { // the last one is in pieces in the database
		k := key
		if n > 1 {
			k = nil
		}
		if _, err := r.accept(t, n, k); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.accept(t, 10, key); !errors.Is(err, spool.ErrRepeated) {
		t.Errorf("the same key: %v", err)
	}
	if err := r.Known(t.Context(), key); !errors.Is(err, spool.ErrRepeated) {
		t.Errorf("the same key: %v", err)
	}
	if n, away := r.Waiting(t.Context()); n != 9 || !away {
		t.Errorf("%d wait, away %v", n, away)
	}
	// A notice can't be made durable beside what it is about.
	d, err := r.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Notify(t.Context(), []spool.Notice{{Draft: d, Envelope: &spool.Envelope{}}}, spool.Ending{Delivery: &spool.Delivery{}}); !errors.Is(err, spool.ErrAway) {
		t.Error(err)
	}
	r.close()

	// A process that ends after each message came into the database, and before it
	// is out of the local spool.
	moved := 0
	for range 3 {
		local, err := journal.Open(journal.Options{Dir: dir, Reserve: -1, ZeroAhead: -1})
		if err != nil {
			t.Fatal(err)
		}
		shared, err := postgres.Open(t.Context(), postgres.Options{URL: url, Relay: "one", Term: time.Minute, MaxKeys: 20})
		if err != nil {
			t.Fatal(err)
		}
		s := &Store{Store: shared, opts: Options{Shared: shared, Local: stubborn{local}, Answers: shared.Answers, Events: func(e Event) {
			if one, ok := e.(*MovedOne); ok && !one.Repeated {
				moved++
			}
		}}}
		ids, err := s.next(t.Context(), 0)
		if err != nil || len(ids) != 9 {
			t.Fatalf("%d, %v", len(ids), err)
		}
		for _, id := range ids[:4] {
			if err := s.moveOne(t.Context(), id); err == nil {
				t.Error("removed")
			}
		}
		local.Close()
		shared.Close()
	}
	if moved != 4 {
		t.Errorf("%d were moved, want 4", moved)
	}
	empty := make(chan int, 1)
	r = open(t, url, "one", dir, func(e Event) {
		switch e := e.(type) {
		case *Moved:
			empty <- e.Messages
		case *Failed:
			t.Errorf("%+v", e)
		}
	})
	select {
	case <-empty:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was moved")
	}
	for subject, n := range r.subjects(t) {
		if n != 1 {
			t.Errorf("%s is there %d times", subject, n)
		}
	}
	if all := r.subjects(t); len(all) != 10 {
		t.Errorf("%v", all)
	}
	if n, away := r.Waiting(t.Context()); n != 0 || away {
		t.Errorf("%d wait, away %v", n, away)
	}
	if _, err := r.accept(t, 11, key); !errors.Is(err, spool.ErrRepeated) {
		t.Errorf("the same key, in the database: %v", err)
	}
}

// stubborn is a spool from which nothing can be removed.
type stubborn struct{ spool.Store }

func (stubborn) Settle(context.Context, *spool.Delivery, spool.Settlement) (spool.Settled, error) {
	return spool.Settled{}, errors.New("the process ends here")
}
