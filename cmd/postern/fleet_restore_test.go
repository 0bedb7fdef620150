//go:build unix

package main

import (
	"fmt"
	"net/smtp"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

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
