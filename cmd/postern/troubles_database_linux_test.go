package main

import (
	"net/smtp"
	"os"
	"strings"
	"testing"

	"postern/spool/postgres/postgrestest"
)

// TestTroublesOfTheDatabase: a database that is away when a relay starts, and then one
// that has no schema, are each told once as what they are, and when they are over. What
// was accepted meanwhile is delivered.
func TestTroublesOfTheDatabase(t *testing.T) {
	t.Parallel() // it waits, most of the time
	server := postgrestest.Start(t, "fsync=off")
	url := server.Database(t)
	listen, upstream := freeAddr(t), freeAddr(t)
	s, e, alerts := watched(t)
	h := newHarness(t, strings.Replace(shared(listen, upstream, url, "one"), "relay =", "when_away = \"local\"\nrelay =", 1)+alerts)
	office := startSink(t, upstream)
	server.Stop()
	s.make("spool-unreadable", "a database that is away")
	h.start()
	if err := smtp.SendMail(listen, nil, "a@example.com", []string{"b@example.org"}, message("taken alone")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a database that is away is told", func() bool { return len(s.untold()) == 0 })

	s.make("database-unusable", "a database without a schema")
	server.Restart(t, "fsync=off")
	eventually(t, "a database without a schema is told", func() bool { return len(s.untold()) == 0 })
	h.judge(s)
	for i, want := range []string{"the database of the queue does not answer; new mail is accepted on this machine", "new mail is accepted on this machine, where 1 wait"} {
		if text := s.all[i].notes["summary"]; !strings.Contains(text, want) {
			t.Errorf("%s: %s", s.all[i].kind, text)
		}
	}
	h.must("database", "migrate")
	eventually(t, "what was accepted is delivered", func() bool { return len(office.received()) == 1 })
	if os.Getenv("POSTERN_LONG") != "" { // half a minute after each was gone
		e.ended(h, "spool-unreadable", "database-unusable")
	}
}
