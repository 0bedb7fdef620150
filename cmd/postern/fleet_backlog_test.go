//go:build unix

package main

import (
	"fmt"
	"net/smtp"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"postern/spool/postgres/postgrestest"
)

// backlogged copies the one message of a queue.
const backlogged = `WITH n AS (SELECT g * 1024 AS less FROM generate_series(1, $1) g),
	m AS (INSERT INTO message (id, envelope, size, body) SELECT id - less, envelope, size, body FROM message, n)
	INSERT INTO share (id, share, lane, upstreams, failover, recipients, size, accepted, not_before, deadline, priority, sender, attempts, due, held, kept, warned, doubt, dotted, attempt)
	SELECT id - less, share, lane, upstreams, failover, recipients, size, accepted, not_before, deadline, priority, sender, attempts, due, held, kept, warned, doubt, dotted, attempt FROM share, n`

// TestFleetBacklog measures two relays with a long queue: its length is in
// POSTERN_BACKLOG, and with that the relay in charge is killed meanwhile. With
// POSTERN_LONG a short one is delivered.
func TestFleetBacklog(t *testing.T) {
	n, measured := 200, os.Getenv("POSTERN_BACKLOG")
	if measured == "" && os.Getenv("POSTERN_LONG") == "" {
		t.Skip("takes two relays through a stop and a pause: POSTERN_LONG=1, or POSTERN_BACKLOG=1000000 to measure")
	}
	if measured != "" {
		var err error
		if n, err = strconv.Atoi(measured); err != nil {
			t.Fatal(err)
		}
	}
	server := postgrestest.Start(t)
	url := server.Database(t)
	to, addr := freeAddr(t), freeAddr(t)
	s := startSink(t, to)
	relay := func(listen, name string) *harness {
		text := shared(listen, to, url, name)
		if measured != "" { // each message waits for two commits, so sessions are what drains a queue
			text = strings.Replace(text, "connect_timeout", "max_connections = 50\nconnect_timeout", 1)
		}
		return newHarness(t, text)
	}
	relays := map[string]*harness{"one": relay(addr, "one"), "two": relay(freeAddr(t), "two")}
	one, two := relays["one"], relays["two"]
	one.must("database", "migrate")
	one.start()
	one.must("upstream", "pause", "office")
	if err := smtp.SendMail(addr, nil, "a@example.com", []string{"b@example.org"}, message("1")); err != nil {
		t.Fatal(err)
	}
	one.stop()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if _, err := c.Exec(t.Context(), backlogged, n-1); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	one.start()
	t.Logf("%d messages; a relay starts in %v", n, time.Since(begun))
	two.start()
	if out := two.must("status"); !strings.Contains(out, fmt.Sprintf("database: %d messages", n)) {
		t.Error(out)
	}
	two.must("upstream", "resume", "office")
	arrived := func(most int) time.Time {
		t.Helper()
		for end := time.Now().Add(time.Minute + time.Duration(n)*20*time.Millisecond); len(s.received()) < most; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d of %d arrived", len(s.received()), n)
			}
		}
		return time.Now()
	}
	begun = arrived(1)
	if measured != "" {
		arrived(n / 4)
		charge := regexp.MustCompile(`(?m)^relay +(one|two).*in charge of office`).FindStringSubmatch(two.must("status"))
		if charge == nil {
			t.Fatal("nobody is in charge")
		}
		dies := relays[charge[1]]
		t.Logf("%.0f a second; in charge: %s resident", float64(len(s.received()))/time.Since(begun).Seconds(), resident(dies))
		dies.signal(syscall.SIGSTOP) // it can neither renew its lease nor say that it ends
		dies.kill()
		killed := time.Now()
		eventually(t, "what was on its way has arrived", func() bool { return s.openSince(killed) == 0 })
		had := len(s.received())
		begun = arrived(had + 1)
		t.Logf("the next delivery came %v after a kill", begun.Sub(killed))
		end := arrived(n)
		t.Logf("then %.0f a second", float64(n-had)/end.Sub(begun).Seconds())
		return
	}
	end := arrived(n)
	t.Logf("%.0f a second", float64(n)/end.Sub(begun).Seconds())
	eventually(t, "the queue is empty", func() bool { return strings.Contains(two.must("status"), "database: 0 messages") })
	if got := len(s.received()); got != n {
		t.Errorf("%d of %d arrived", got, n)
	}
}

// resident is the memory of a running relay.
func resident(h *harness) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.cmd.Process.Pid))
	found := regexp.MustCompile(`VmRSS:\s+(.*)`).FindSubmatch(text)
	if found == nil {
		return "unknown"
	}
	return string(found[1])
}
