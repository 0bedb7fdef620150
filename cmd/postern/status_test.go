package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"postern/cmd/control"
)

// TestStatusOfSharedQueue: status says where the queue is, whether its database
// answers, and what waits to come into it.
func TestStatusOfSharedQueue(t *testing.T) {
	const local, away, there, folder = "local     ", "database: it does not answer", "database: 0 messages", "/var/spool/postern: 0 messages"
	relays := []control.Peer{{Name: "one", Lives: true, Self: true}}
	for name, c := range map[string]struct {
		spool     control.Spool
		says, not []string
	}{
		"a folder": {control.Spool{Dir: "/var/spool/postern"}, []string{folder}, []string{local, "database"}},
		"database": {control.Spool{Dir: "/s", Shared: true, Relays: relays}, []string{there, "one (this one)"}, []string{local, away, "/s"}},
		"empty":    {control.Spool{Shared: true, Relays: relays, Standin: &control.Standin{}}, []string{there}, []string{local}},
		"away":     {control.Spool{Dir: "/s", Shared: true}, []string{away}, []string{local, "0 messages", "/s"}},
		"accepting": {control.Spool{Shared: true, Standin: &control.Standin{Messages: 1, Accepting: true}},
			[]string{local + "1 message accepted while the database is away, to go out when it is back", away}, []string{"wait to be moved"}},
		"accepting the first": {control.Spool{Shared: true, Standin: &control.Standin{Accepting: true}}, []string{local + "0 messages accepted", away}, nil},
		"moving": {control.Spool{Shared: true, Relays: relays, Standin: &control.Standin{Messages: 7}},
			[]string{local + "7 messages wait to be moved into the database", there}, []string{"accepted while"}},
	} {
		var out bytes.Buffer
		a := &app{stdout: &out}
		if err := a.printStatus(&control.Status{Version: "test", Started: time.Now(), Loaded: time.Now(), Spool: c.spool}); err != nil {
			t.Fatal(err)
		}
		for _, words := range c.says {
			if !strings.Contains(out.String(), words) {
				t.Errorf("%s: no %q in\n%s", name, words, &out)
			}
		}
		for _, words := range c.not {
			if strings.Contains(out.String(), words) {
				t.Errorf("%s: %q in\n%s", name, words, &out)
			}
		}
	}
}
