//go:build unix

package main

import (
	"context"
	"fmt"
	"net/smtp"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"postern/spool"
	"postern/spool/postgres/postgrestest"
)

// TestFleetRestore goes through a backup and its restore as docs/fleet.md says:
// what comes back waits for a person.
func TestFleetRestore(t *testing.T) {
	server := postgrestest.Start(t, "fsync=off")
	old, restored := server.Database(t), server.Database(t)
	to, listen := freeAddr(t), freeAddr(t)
	h := newHarness(t, shared(listen, to, old, "one"))
	h.must("database", "migrate")
	h.start()
	for n := range 3 { // the upstream isn't there
		if err := smtp.SendMail(listen, nil, "a@example.com", []string{"b@example.org"}, message(fmt.Sprint(n))); err != nil {
			t.Fatal(err)
		}
	}
	dump := filepath.Join(h.dir, "postern.dump")
	for _, c := range [][]string{{"pg_dump", "-Fc", "-f", dump, old}, {"pg_restore", "-d", restored, dump}} {
		if out, err := exec.CommandContext(t.Context(), filepath.Join(postgrestest.Bin(), c[0]), c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", c, err, out)
		}
	}
	h.stop()
	c, err := pgx.Connect(t.Context(), restored)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if tag, err := c.Exec(t.Context(), `UPDATE share SET held = true, claim = NULL`); err != nil || tag.RowsAffected() != 3 {
		t.Fatal(tag, err)
	}
	s := startSink(t, to)
	h.write(shared(listen, to, restored, "one"))
	h.start()
	if out := h.must("queue", "list", "--held"); strings.Count(out, "b@example.org") != 3 {
		t.Errorf("held:\n%s", out)
	}
	if n := len(s.received()); n != 0 {
		t.Errorf("%d went out again by themselves", n)
	}
	h.must("queue", "release", "--held")
	eventually(t, "what was released arrives", func() bool { return len(s.received()) == 3 })
}

// TestFleetUnreadable: a message whose envelope somebody has spoiled in the database
// is named where it is asked for, and removed.
func TestFleetUnreadable(t *testing.T) {
	url := postgrestest.Start(t, "fsync=off").Database(t)
	addr := freeAddr(t)
	h := newHarness(t, shared(addr, freeAddr(t), url, "one"))
	h.must("database", "migrate")
	h.start()
	for range 2 {
		if err := smtp.SendMail(addr, nil, "a@example.com", []string{"b@example.org"}, message("0000")); err != nil {
			t.Fatal(err)
		}
	}
	h.must("upstream", "pause", "office")
	list := h.queued()
	if len(list) != 2 {
		t.Fatalf("queued are %+v", list)
	}
	id := list[0].ID
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	eventually(t, "nobody tries it", func() bool { return h.do("queue", "hold", id).code == 0 })
	number, err := spool.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), `UPDATE message SET envelope = '' WHERE id = $1`, int64(number)); err != nil {
		t.Fatal(err)
	}
	if r := h.do("queue", "release", id); r.code != exitData || !strings.Contains(r.stderr, id+": cannot be read") {
		t.Errorf("released: %+v", r)
	}
	if out := h.must("queue", "list"); !strings.Contains(out, id) || !strings.Contains(out, "cannot be read, and goes nowhere") {
		t.Errorf("the list is\n%s", out)
	}
	if r := h.do("queue", "show", id); r.code != exitData || !strings.Contains(r.stderr, "message "+id+" cannot be read") {
		t.Errorf("shown: %+v", r)
	}
	if r := h.do("queue", "remove", id); r.code != 0 || !strings.Contains(r.stdout, "1 recipient of 1 message removed") {
		t.Errorf("removed: %+v", r)
	}
	if got := h.queued(); len(got) != 1 || got[0].ID == id {
		t.Errorf("queued are %+v", got)
	}
	eventually(t, "the log tells who removed it", func() bool { return strings.Contains(h.log.String(), "it could not be read") })
}
