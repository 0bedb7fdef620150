//go:build unix

package main

import (
	"fmt"
	"net/smtp"
	"slices"
	"strings"
	"testing"

	"postern/spool/postgres/postgrestest"
)

// TestFleetStartAlone: with when_away = "local" a relay starts without its database,
// takes mail, tells what is wrong, outlives a kill, and goes on with the database
// once that is there and can be used. Nothing is lost or doubled.
func TestFleetStartAlone(t *testing.T) {
	server := postgrestest.Start(t, "fsync=off")
	url := server.Database(t)
	to, addr := freeAddr(t), freeAddr(t)
	plain := shared(addr, to, url, "one")
	h := newHarness(t, strings.Replace(plain, "relay =", "when_away = \"local\"\nrelay =", 1))
	s := startSink(t, to)
	server.Stop()
	if r := newHarness(t, plain).do("serve"); r.code != 73 || !strings.Contains(r.stderr, "the database of the queue (spool.url) cannot be used") {
		t.Errorf("without when_away: %+v", r)
	}
	if r := h.do("check"); r.code != 0 || !strings.Contains(r.stdout+r.stderr, "a start accepts mail on this machine") {
		t.Errorf("check: %+v", r)
	}
	h.start()
	var taken []string
	send := func(n int) {
		t.Helper()
		for range n {
			subject := fmt.Sprintf("%04d", len(taken))
			if err := smtp.SendMail(addr, nil, "a@example.com", []string{"b@example.org"}, message(subject)); err != nil {
				t.Fatal(err)
			}
			taken = append(taken, subject)
		}
	}
	says := func(words ...string) func() bool {
		return func() bool {
			r := h.do("status")
			return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(r.stdout+r.stderr, w) })
		}
	}
	send(5)
	eventually(t, "status tells it", says("5 messages accepted while the database is away", "database: it does not answer", "the database of the queue does not answer"))
	if r := h.do("status", "--health"); r.code == 0 {
		t.Errorf("health: %+v", r)
	}
	if r := h.do("doctor"); !strings.Contains(r.stdout, "(5 wait)") {
		t.Errorf("doctor: %+v", r)
	}
	h.kill()
	h.start()
	send(5)

	// The database is there, and has no schema.
	server.Restart(t, "fsync=off")
	eventually(t, "the schema is told", says("the database of the queue cannot be used yet", "postern database migrate", "where 10 wait"))
	send(5)
	if len(s.received()) > 0 {
		t.Error("something went out")
	}
	h.must("database", "migrate")
	eventually(t, "all arrive", func() bool { return len(s.received()) >= len(taken) })
	eventually(t, "nothing is left", func() bool {
		out := h.must("status")
		return strings.Contains(out, "database: 0 messages") && !strings.Contains(out, "wait to be moved")
	})
	send(1)
	eventually(t, "it goes on", func() bool { return len(s.received()) >= len(taken) })
	if got := s.subjects(); !slices.Equal(got, taken) {
		t.Errorf("taken %v, arrived %v", taken, got)
	}
	if log := h.log.String(); !strings.Contains(log, `"database-joined"`) {
		t.Error("the log does not tell that the database is there")
	}
}
