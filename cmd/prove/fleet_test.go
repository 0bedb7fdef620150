//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"postern/spool/postgres/postgrestest"
)

func needPostgres(t *testing.T) {
	t.Helper()
	if !long() {
		t.Skip("takes two databases and half a minute: POSTERN_LONG=1")
	}
	postgrestest.Require(t)
}

// TestFleet is the short form of two relays with one queue in a database with a
// standby, where any of them fails all the time.
func TestFleet(t *testing.T) {
	needPostgres(t)
	var r fleetReport
	prove(t, &r, "fleet", "-dir", t.TempDir(), "-for", "20s", "-senders", "2", "-pause", "5ms")
	if r.Promised == 0 || r.Relays != 2 || r.Notices == 0 {
		t.Fatalf("nothing was tried: %+v", r)
	}
	t.Logf("%d promised, %v, %d duplicates", r.Promised, r.Faults, r.Duplicates)
}

// TestFleetNoticesLoss: where no commit waits for the standby, its promotion
// loses mail, and the books say so.
func TestFleetNoticesLoss(t *testing.T) {
	needPostgres(t)
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"fleet", "-alone", "-binary", postern(t), "-dir", t.TempDir(), "-for", "1s", "-senders", "2", "-pause", "5ms"}, &out, &errs)
	if code == 0 || !strings.Contains(errs.String(), "prove: failed: ") || !strings.Contains(errs.String(), "are lost") || !strings.Contains(errs.String(), "the logs are kept in") {
		t.Fatalf("a loss was not noticed: exit code %d\n%s%s", code, out.Bytes(), errs.Bytes())
	}
}

func TestFleetBooks(t *testing.T) {
	at := func(ms ...int) (all []seen) {
		for _, n := range ms {
			all = append(all, seen{at: time.Unix(1000, 0).Add(time.Duration(n) * time.Millisecond)})
		}
		return all
	}
	for _, c := range []struct {
		arrivals []seen
		want     int
	}{{nil, 0}, {at(0), 1}, {at(0, 999), 2}, {at(0, 1000), 1}, {at(0, 400, 900, 1000, 1300, 5000), 4}} {
		if got := mostWithin(c.arrivals, time.Second); got != c.want {
			t.Errorf("%v: %d, want %d", c.arrivals, got, c.want)
		}
	}
	from := time.Unix(1000, 0)
	later := func(s float64) time.Time { return from.Add(time.Duration(s * float64(time.Second))) }
	pauses, broken := []span{{from, later(20)}}, []span{{later(5), later(12)}, {later(15), later(17)}}
	for ms, want := range map[int][2]int{-1: {}, 5000: {}, 6500: {1, 0}, 12100: {0, 1}, 17900: {0, 1}, 18100: {1, 0}, 19999: {1, 0}, 20001: {}} {
		if n, underWay := whilePaused(at(ms), pauses, broken); n != want[0] || underWay != want[1] {
			t.Errorf("%d ms after the pause: %d and %d, want %v", ms, n, underWay, want)
		}
	}
}

// TestFleetVerdict: all that was broken is named, and what waits in the database is told
// from what is gone.
func TestFleetVerdict(t *testing.T) {
	r := fleetReport{Allowed: 40, MostInPeriod: 40}
	r.Promised = 10
	if err := r.verdict(); err != nil {
		t.Error(err)
	}
	r.Lost, r.Unexplained, r.Queued, r.MostInPeriod, r.WhilePaused = []string{"1 q1"}, []string{"2 q2"}, 3, 41, 5
	err := r.verdict()
	for _, want := range []string{"1 acknowledged messages are lost: [1 q1]", "1 duplicates", "3 messages were still in the database", "an upstream got 41", "5 messages arrived at an upstream that was paused"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

// TestNoticesAreCounted holds the accountant to account.
func TestNoticesAreCounted(t *testing.T) {
	for name, c := range map[string]struct {
		notices []string // Message-IDs
		doubts  map[string]int
		good    bool
	}{
		"one":                      {[]string{"n1.a"}, nil, true},
		"none":                     {nil, nil, false},
		"two":                      {[]string{"n1.a", "n2.a"}, nil, false},
		"one twice":                {[]string{"n1.a", "n1.a"}, nil, false},
		"one twice, and explained": {[]string{"n1.a", "n1.a"}, map[string]int{"n1": 1}, true},
	} {
		b := newBooks()
		b.sent("1", "d")
		b.willReturn("1")
		b.promised("1", "q1")
		for _, id := range c.notices {
			b.returned("1", id)
		}
		if err := b.close(c.doubts).verdict(); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := newBooks()
	b.sent("1", "d")
	b.promised("1", "q1")
	b.received("1", "q1", "d", time.Time{})
	b.returned("1", "n1.a")
	if b.close(nil).verdict() == nil {
		t.Error("a notice about a message that arrived is not noticed")
	}
}

// TestFleetFaults: a run can be of some faults alone, and a name that is wrong is told.
func TestFleetFaults(t *testing.T) {
	for only, want := range map[string]int{"": len(faults), "relay-dead": 2, "relay-dead,machine-of-relay-lost": 3} {
		if got, err := (&plan{only: only}).faults(); err != nil || len(got) != want {
			t.Errorf("%q: %d faults, %v; want %d", only, len(got), err, want)
		}
	}
	if _, err := (&plan{only: "relay-dead,relay-ded"}).faults(); err == nil || !strings.Contains(err.Error(), `"relay-ded"`) {
		t.Errorf("error %v", err)
	}
}

// TestFleetGap: a message that the upstream refuses is an attempt, and no delivery.
func TestFleetGap(t *testing.T) {
	s, err := startSink(newBooks())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.keeps = true
	transaction := func(failing float64) {
		t.Helper()
		s.fail(failing)
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "EHLO a.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@sink.example>\r\nDATA\r\nX-Number: 1\r\n\r\nX-Number: 1\r\n.\r\nQUIT\r\n")
		if _, err := io.ReadAll(c); err != nil {
			t.Fatal(err)
		}
	}
	transaction(0)
	died := time.Now()
	transaction(1)
	between := time.Now()
	transaction(0)
	tried, ok := s.firstAsked(died)
	if !ok || tried.After(between) {
		t.Errorf("tried at %v, %v; want before %v", tried, ok, between)
	}
	if delivered, ok := s.firstOf(died); !ok || delivered.Before(between) {
		t.Errorf("delivered at %v, %v; want after %v", delivered, ok, between)
	}
}
