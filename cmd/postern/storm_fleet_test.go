//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/spool/postgres/postgrestest"
)

// stormOf is the ID of the only storm that a status tells of; empty: there is none.
func stormOf(status string) string {
	_, rest, _ := strings.Cut(status, "\nstorm     ")
	id, _, _ := strings.Cut(rest, ":")
	return id
}

// TestFleetStorm: of two relays that share a queue each counts what it takes. What
// one holds the other can list and let go; when one is lost, with all that it knew,
// the other tells of what it held, and leaves it to a new one of that name.
func TestFleetStorm(t *testing.T) {
	t.Parallel() // it waits, most of the time
	server := postgrestest.Start(t, "fsync=off")
	url := server.Database(t)
	to := freeAddr(t)
	s := startSink(t, to)
	addrs := []string{freeAddr(t), freeAddr(t)}
	guard := "\n[storm]\nmessages = 3\nper = \"1h\"\n"
	one, two := newHarness(t, shared(addrs[0], to, url, "one")+guard+notesTold), newHarness(t, shared(addrs[1], to, url, "two")+guard+notesTold)
	one.must("database", "migrate")
	one.start()
	send(t, addrs[0], "a@example.com", "makes it the one in charge")
	eventually(t, "it arrives", func() bool { return len(s.received()) == 1 })
	two.start()
	for i := range 8 {
		sendJob(t, addrs[1], i)
	}
	for i := range 3 { // which is no storm for the other one
		sendJob(t, addrs[0], i)
	}
	eventually(t, "those of both go on", func() bool { return len(s.received()) == 7 })
	id := stormOf(two.must("status"))
	if id == "" || stormOf(one.must("status")) != "" {
		t.Fatalf("%s\n%s", one.must("status"), two.must("status"))
	}
	if list := one.must("queue", "list", "--storm", id); strings.Count(list, " held ") != 5 {
		t.Errorf("%s", list)
	}
	if out := one.must("queue", "release", "--storm", id, "--limit", "1"); !strings.Contains(out, "1 message released") {
		t.Errorf("%s", out)
	}
	eventually(t, "it arrives", func() bool { return len(s.received()) == 8 })
	eventually(t, "it is told", func() bool { return two.count("storm") == 1 })

	two.kill()
	if err := os.RemoveAll(filepath.Join(two.dir, "storms")); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("POSTERN_LONG") != "" { // the lease of 15 seconds ends, and two looks of ten pass
		eventually(t, "the other one tells", func() bool { return one.count("storm") == 1 })
		if e := one.told()[0]; e.Subject != id || e.Waiting != 4 || !strings.Contains(e.Text, "it has ended") {
			t.Errorf("%+v", e)
		}
		eventually(t, "one digest comes", func() bool { return len(s.received()) == 9 })
	}
	two.start()
	if out := two.must("status"); stormOf(out) != id || !strings.Contains(out, ": 4 held since") {
		t.Errorf("%s", out)
	}
	eventually(t, "it is left to the new one", func() bool { return stormOf(one.must("status")) == "" })
	if out := two.must("queue", "release", "--storm", id); !strings.Contains(out, "4 messages released") { // which one does
		t.Errorf("%s", out)
	}
	eventually(t, "none is lost", func() bool {
		n := 0
		for _, subject := range s.subjects() {
			if strings.HasPrefix(subject, "Job ") {
				n++
			}
		}
		return n == 11
	})
}
