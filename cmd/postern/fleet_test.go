//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/smtp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/spool/postgres/postgrestest"
)

// shared is the configuration of a relay whose queue is in a database.
func shared(listen, upstream, url, relay string) string {
	return strings.Replace(ordinary(listen, upstream), "dir = \"DIR/spool\"\nmin_free = \"1MiB\"\n", fmt.Sprintf("url = %q\nrelay = %q\n", url, relay), 1)
}

// subjects are those of what arrived, sorted.
func (s *sink) subjects() (list []string) {
	for _, body := range s.received() {
		list = append(list, regexp.MustCompile(`(?m)^Subject: (.*?)\r?$`).FindStringSubmatch(body)[1])
	}
	slices.Sort(list)
	return list
}

// TestFleet has two relays share a queue: each takes mail, one delivers it, and
// when that one ends the other goes on.
func TestFleet(t *testing.T) {
	server := postgrestest.Start(t, "fsync=off")
	url := server.Database(t)
	to := freeAddr(t)
	addrs := []string{freeAddr(t), freeAddr(t)}
	both := []*harness{newHarness(t, shared(addrs[0], to, url, "one")), newHarness(t, shared(addrs[1], to, url, "two"))}
	one, two := both[0], both[1]

	// No relay starts with a database that is not prepared, and it says so.
	if r := one.do("serve"); r.code != 73 || !strings.Contains(r.stderr, "postern database migrate") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	if r := one.do("check"); r.code == 0 || !strings.Contains(r.stderr, "postern database migrate") {
		t.Errorf("check: exit code %d: %s", r.code, r.stderr)
	}
	if out := one.must("database", "migrate"); !strings.Contains(out, "is version 3 now") {
		t.Error(out)
	}
	if out := two.must("database", "migrate"); !strings.Contains(out, "already") {
		t.Error(out)
	}
	if out := one.must("database", "status"); !strings.Contains(out, "is lost in a power cut") {
		t.Errorf("with fsync=off: %s", out)
	}
	one.start()
	two.start()

	sent := 0
	send := func(addr string, n int) {
		t.Helper()
		for range n {
			sent++
			if err := smtp.SendMail(addr, nil, "a@example.com", []string{"b@example.org"}, message(fmt.Sprintf("%04d", sent))); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The upstream isn't there yet, so that all of it waits.
	send(addrs[0], 10)
	send(addrs[1], 10)
	eventually(t, "both relays see all of it", func() bool {
		return strings.Contains(one.must("status"), "20 messages") && strings.Contains(two.must("status"), "20 messages")
	})
	s := startSink(t, to)
	arrived := func(n int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d messages arrive", n), func() bool { return len(s.received()) >= n })
		if got := s.subjects(); len(slices.Compact(slices.Clone(got))) != n || len(got) != n {
			t.Fatalf("arrived: %v", got)
		}
	}
	arrived(20)
	status := one.must("status")
	holder := regexp.MustCompile(`(?m)^relay +(one|two).*in charge of office`).FindStringSubmatch(status)
	if holder == nil || !strings.Contains(two.must("status"), "two (this one)") {
		t.Fatalf("nobody is in charge: %s", status)
	}

	// Whoever is in charge ends in order: the other one goes on at once.
	in, out := 0, 1
	if holder[1] == "two" {
		in, out = 1, 0
	}
	// A content in several pieces, also for a relay that may write to few folders.
	sent++
	if err := smtp.SendMail(addrs[out], nil, "a@example.com", []string{"b@example.org"}, append(message(fmt.Sprintf("%04d", sent)), bytes.Repeat([]byte("large\r\n"), 100_000)...)); err != nil {
		t.Fatal(err)
	}
	arrived(21)

	// A pause that the other one is told holds for it.
	both[out].must("upstream", "pause", "office")
	eventually(t, "the pause holds", func() bool { return strings.Contains(both[in].must("upstream", "list"), "paused") })
	send(addrs[in], 1)
	if got := len(s.received()); got != 21 {
		t.Errorf("%d messages arrived during a pause", got)
	}
	both[in].must("upstream", "resume", "office")
	arrived(22)

	begun := time.Now()
	both[in].stop()
	send(addrs[out], 5)
	arrived(27)
	t.Logf("delivered %v after the other relay was told to end", time.Since(begun))
	if list := both[in].must("queue", "list"); strings.Contains(list, "example.org") {
		t.Errorf("a stopped relay lists %s", list)
	}

	// The database ends: mail is refused for now. It comes back: nothing is lost or doubled.
	server.Stop()
	if err := smtp.SendMail(addrs[out], nil, "a@example.com", []string{"b@example.org"}, message("refused")); err == nil || !strings.HasPrefix(err.Error(), "451 ") {
		t.Errorf("without a database: %v", err)
	}
	server.Restart(t, "fsync=off")
	eventually(t, "mail is taken again", func() bool {
		sent++
		return smtp.SendMail(addrs[out], nil, "a@example.com", []string{"b@example.org"}, message(fmt.Sprintf("%04d", sent))) == nil
	})
	eventually(t, "it arrives", func() bool { return len(s.received()) >= 28 })
	if got := s.subjects(); slices.Contains(got, "refused") || len(got) != 28 {
		t.Errorf("arrived: %v", got)
	}
	both[out].stop()
}

// TestFleetOutbox kills a relay while the database is away and results wait for it:
// its next process writes them, and nothing goes out twice.
func TestFleetOutbox(t *testing.T) {
	server := postgrestest.Start(t, "fsync=off")
	url := server.Database(t)
	to, addr := freeAddr(t), freeAddr(t)
	h := newHarness(t, shared(addr, to, url, "one"))
	h.must("database", "migrate")
	s := startSink(t, to)
	answer := make(chan struct{})
	s.took = func() { <-answer }
	h.start()
	const n = 5
	for i := range n {
		if err := smtp.SendMail(addr, nil, "a@example.com", []string{"b@example.org"}, message(fmt.Sprintf("%04d", i))); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "messages wait for the answer to their dot", func() bool { return len(s.received()) > 0 })
	server.Stop()
	close(answer)
	eventually(t, "results wait for the database", func() bool {
		return strings.Count(h.log.String(), `"result":"delivered"`) >= len(s.received())
	})
	h.kill()
	server.Restart(t, "fsync=off")
	h.start()
	h.must("queue", "retry", "--all") // those whose dot could not be recorded have not gone out
	eventually(t, "the queue is empty", func() bool { return strings.Contains(h.must("status"), " 0 messages") })
	if got := s.subjects(); len(got) != n || len(slices.Compact(got)) != n {
		t.Errorf("arrived: %v", got)
	}
	if content, err := os.ReadFile(filepath.Join(h.dir, "outbox")); err != nil || len(content) > 0 {
		t.Errorf("the outbox holds %q, %v", content, err)
	}
}

// TestFleetStandin: with when_away = "local" mail is accepted while the database is
// away, outlives a kill, and goes out once when the database is back.
func TestFleetStandin(t *testing.T) {
	server := postgrestest.Start(t, "fsync=off")
	url := server.Database(t)
	to, addr := freeAddr(t), freeAddr(t)
	h := newHarness(t, strings.Replace(shared(addr, to, url, "one"), "relay =", "when_away = \"local\"\nrelay =", 1))
	h.must("database", "migrate")
	s := startSink(t, to)
	h.start()
	server.Stop()
	var taken []string
	send := func(n int) {
		for range n {
			subject := fmt.Sprintf("%04d", len(taken))
			if err := smtp.SendMail(addr, nil, "a@example.com", []string{"b@example.org"}, message(subject)); err == nil {
				taken = append(taken, subject)
			}
		}
	}
	eventually(t, "mail is taken", func() bool { send(1); return len(taken) > 0 })
	send(20)
	if len(taken) < 21 {
		t.Errorf("%d of 21 were taken", len(taken))
	}
	if out := h.must("status"); !strings.Contains(out, "21 messages accepted while the database is away") {
		t.Error(out)
	}
	r := h.do("queue", "list")
	if strings.Count(r.stdout, "b@example.org") != 21 || !strings.Contains(r.stdout, "it was accepted while the database was away") || r.code == 0 {
		t.Errorf("%+v", r)
	}
	var id string
	if id = regexp.MustCompile(`(?m)^[0-9a-z]{13}`).FindString(r.stdout); id == "" {
		t.Fatalf("no ID in %s", r.stdout)
	}
	if out := h.must("queue", "show", id); !strings.Contains(out, "t was accepted while the database was away") {
		t.Error(out)
	}
	if r := h.do("queue", "hold", id); r.code != exitTempFail || !strings.Contains(r.stderr, "stands in for the database") {
		t.Errorf("%+v", r)
	}
	eventually(t, "the history has it", func() bool { return strings.Contains(h.do("trace", id).stdout, "accepted from") })
	h.kill()
	server.Restart(t, "fsync=off")
	h.start()
	eventually(t, "all arrive", func() bool { return len(s.received()) >= len(taken) })
	eventually(t, "nothing is left", func() bool {
		out := h.must("status")
		return strings.Contains(out, "database: 0 messages") && !strings.Contains(out, "wait to be moved")
	})
	if got := s.subjects(); !slices.Equal(got, taken) {
		t.Errorf("taken %v, arrived %v", taken, got)
	}
	eventually(t, "one life over the move", func() bool {
		life := h.do("trace", id).stdout
		return strings.Contains(life, "accepted from") && strings.Contains(life, "moved into the database") && strings.Contains(life, "delivered at office")
	})
}

// TestAdoptIntoADatabase: the spool of a relay that had a folder goes into the
// database of its next configuration, however often the command is killed.
func TestAdoptIntoADatabase(t *testing.T) {
	const messages = 100
	server := postgrestest.Start(t, "fsync=off")
	to, listen := freeAddr(t), freeAddr(t)
	h := newHarness(t, ordinary(listen, to)) // nobody is at the upstream yet
	h.start()
	want := map[string]int{}
	for i := range messages {
		subject := fmt.Sprintf("%04d", i)
		want[subject] = 1
		if err := smtp.SendMail(listen, nil, "a@example.com", []string{"b@example.org"}, message(subject)); err != nil {
			t.Fatal(err)
		}
	}
	h.stop()
	h.write(shared(listen, to, server.Database(t), "one"))
	h.must("database", "migrate")
	h.start()
	spool := filepath.Join(h.dir, "spool")
	for after := time.Duration(40); after <= 200; after += 40 { // killed now and then
		ctx, cancel := context.WithTimeout(t.Context(), after*time.Millisecond)
		h.command(ctx, "adopt", spool).Run()
		cancel()
	}
	h.must("adopt", spool)
	if out := h.must("adopt", spool); !strings.HasPrefix(out, "0 messages adopted\n") {
		t.Errorf("once more: %s", out)
	}
	s := startSink(t, to)
	h.must("queue", "retry", "--all")
	eventually(t, "all arrive", func() bool { return strings.Contains(h.must("status"), "database: 0 messages") })
	got := map[string]int{}
	for _, subject := range s.subjects() {
		got[subject]++
	}
	if !maps.Equal(got, want) {
		t.Errorf("arrived: %v", got)
	}
}

// TestFleetTakeover kills the relay in charge: the other one delivers within the
// lease and two seconds more.
func TestFleetTakeover(t *testing.T) {
	if os.Getenv("POSTERN_LONG") == "" {
		t.Skip("waits for a lease to end: POSTERN_LONG=1")
	}
	t.Parallel()
	server := postgrestest.Start(t)
	url := server.Database(t)
	to := freeAddr(t)
	s := startSink(t, to)
	quiet := make(chan struct{})
	s.refuse = func(string) error { <-quiet; return nil }
	addr := freeAddr(t)
	one := newHarness(t, shared(freeAddr(t), to, url, "one"))
	two := newHarness(t, shared(addr, to, url, "two"))
	one.must("database", "migrate")
	one.start()
	eventually(t, "it is in charge", func() bool { return strings.Contains(one.must("status"), "in charge of office") })
	two.start()
	// The upstream is silent, so that this one is claimed when the relay ends.
	if err := smtp.SendMail(addr, nil, "a@example.com", []string{"b@example.org"}, message("1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is claimed", func() bool { return strings.Contains(two.must("status"), "1 active") })
	one.signal(syscall.SIGSTOP) // it can neither renew its lease nor say that it ends
	one.kill()
	close(quiet)
	begun := time.Now()
	if err := smtp.SendMail(addr, nil, "a@example.com", []string{"b@example.org"}, message("2")); err != nil {
		t.Fatal(err)
	}
	for len(s.received()) < 2 && time.Since(begun) < 30*time.Second {
		time.Sleep(20 * time.Millisecond)
	}
	if took := time.Since(begun); took > 17*time.Second {
		t.Errorf("it took %v", took)
	} else {
		t.Logf("delivered %v after the kill", took)
	}
	if !strings.Contains(two.log.String(), `"event":"lane-taken-over"`) {
		t.Error("nobody was told of the takeover")
	}
}
