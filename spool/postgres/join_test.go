//go:build unix

package postgres

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/spool"
	"postern/spool/postgres/postgrestest"
)

// within waits for a condition.
func within(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// openedLate: a store that is opened without its database does nothing, and above
// all nothing to the outbox, until that is there; then it is like any other.
func openedLate(t *testing.T, url string) {
	var network postgrestest.Network
	network.Cut(true)
	outbox := filepath.Join(t.TempDir(), "outbox")
	left := []byte("left by an earlier process\n")
	if err := os.WriteFile(outbox, left, 0o600); err != nil {
		t.Fatal(err)
	}
	opts := Options{URL: url, Relay: "one", Outbox: outbox, Dial: network.Dial}
	if _, err := Open(t.Context(), opts); err == nil {
		t.Fatal("opened without a database")
	}
	opts.Late = true
	s, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	fact := spool.Fact{Kind: spool.KindPause, Name: "office"}
	for name, call := range map[string]func() error{
		"create": func() error { _, err := s.Create(t.Context()); return err },
		"usage":  func() error { _, err := s.Usage(t.Context()); return err },
		"lease":  func() error { _, err := s.Lease(t.Context(), "office"); return err },
		"read":   func() error { _, err := s.State().Read(t.Context(), fact); return err },
		"lock":   func() error { _, err := s.State().Lock(t.Context(), fact); return err },
		"relays": func() error { _, err := s.Relays(t.Context()); return err },
	} {
		if err := call(); !errors.Is(err, spool.ErrAway) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if why, lasts := s.Unopened(); s.Answers(t.Context()) || !errors.Is(why, spool.ErrAway) || lasts {
		t.Errorf("%v, lasts %t", why, lasts)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if content, err := os.ReadFile(outbox); err != nil || string(content) != string(left) {
		t.Errorf("the outbox holds %q, %v", content, err)
	}
	if err := os.Remove(outbox); err != nil {
		t.Fatal(err)
	}
	joined := make(chan *Joined, 1)
	opts.Events = func(e Event) {
		if e, ok := e.(*Joined); ok {
			joined <- e
		}
	}
	if s, err = Open(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	network.Cut(false)
	within(t, "the queue is open", func() bool { why, _ := s.Unopened(); return why == nil })
	<-joined
	put(t, s, envelope("a@example.com", "office"), strings.NewReader("body"))
	within(t, "it answers", func() bool { return s.Answers(t.Context()) })
	if all, err := s.Relays(t.Context()); err != nil || len(all) != 1 || !all[0].Self || !all[0].Lives {
		t.Errorf("%+v, %v", all, err)
	}
}

// openedLateInVain: a database that cannot be used is told, and used once it can be.
func openedLateInVain(t *testing.T, url string) {
	other, err := Open(t.Context(), Options{URL: url, Relay: "one"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.pool.Exec(t.Context(), `INSERT INTO schema (version) VALUES ($1)`, Schema+1); err != nil {
		t.Fatal(err)
	}
	var network postgrestest.Network
	network.Cut(true)
	opts := Options{URL: url, Relay: "one", Late: true, Term: time.Second, Dial: network.Dial}
	s, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	network.Cut(false)
	refusedFor := func(words string) func() bool {
		return func() bool {
			why, lasts := s.Unopened()
			return lasts && strings.Contains(why.Error(), words)
		}
	}
	within(t, "the schema is refused", refusedFor("update this one"))
	if _, err := s.Create(t.Context()); !errors.Is(err, spool.ErrAway) {
		t.Error(err)
	}
	if late, err := Open(t.Context(), opts); !errors.Is(err, ErrSchema) { // it has answered
		t.Errorf("%v, %v", late, err)
	}
	if _, err := other.pool.Exec(t.Context(), `DELETE FROM schema WHERE version > $1`, Schema); err != nil {
		t.Fatal(err)
	}
	within(t, "the name is refused", refusedFor("runs already"))
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	within(t, "the queue is open", func() bool { why, _ := s.Unopened(); return why == nil })
}
