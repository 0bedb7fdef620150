//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/cmd/control"
	"postern/spool/postgres/postgrestest"
)

// relayNamed is the configuration of a relay that has one upstream beside the
// capture server; where that doesn't answer, mail stays in the queue.
func relayNamed(t *testing.T, listen, upstream, route string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(freeAddr(t)) // nobody listens there
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
state_dir = "DIR/state"
[spool]
dir = "DIR/spool"
[control]
socket = "DIR/control.sock"
[[listener]]
address = %q
[upstream.capture]
provider = "capture"
[upstream.%s]
host = %q
port = %s
tls = "off"
[[route]]
from = ["here@example.com"]
upstream = ["%s"]
[[route]]
from = ["*"]
upstream = ["%s"]
[retry]
backoff = ["1h"]
`, listen, upstream, host, port, upstream, route)
}

// TestAdoptTakesOverASpool: what waits in the spool of a relay that has ended
// goes to another one as it stood, what has no upstream there by its routes;
// nothing is lost or doubled, however often the command is killed.
func TestAdoptTakesOverASpool(t *testing.T) {
	const messages = 200
	listen := freeAddr(t)
	old := newHarness(t, relayNamed(t, listen, "gone", "gone"))
	old.start()
	for i := range messages {
		send(t, listen, "any@example.com", fmt.Sprintf("number-%d.", i))
	}
	old.stop()
	// Some of it was to go by an upstream that the other relay has too.
	listen = freeAddr(t)
	old.write(relayNamed(t, listen, "shared", "shared"))
	old.start()
	send(t, listen, "here@example.com", "shared")
	var before control.Message
	eventually(t, "the message was tried", func() bool {
		for _, e := range old.queued("--from", "here@example.com") {
			if err := json.Unmarshal([]byte(old.must("queue", "show", e.ID, "--json")), &before); err != nil {
				t.Fatal(err)
			}
		}
		return len(before.Recipients) > 0 && before.Recipients[0].Attempts > 0
	})
	old.must("queue", "hold", before.ID)

	h := newHarness(t, relayNamed(t, freeAddr(t), "shared", "capture"))
	h.start()
	spool := filepath.Join(old.dir, "spool")
	if r := h.do("adopt", spool); r.code != exitTempFail || !strings.Contains(r.stderr, "in use") {
		t.Errorf("while the old relay runs: %+v", r)
	}
	old.stop()
	if r := h.do("adopt", h.dir); r.code != exitData {
		t.Errorf("no spool: %+v", r)
	}
	if out := h.must("adopt", "--dry-run", spool); !strings.Contains(out, fmt.Sprintf("%d wait in the old spool", messages+1)) {
		t.Errorf("dry run: %s", out)
	}
	for after := time.Duration(30); after <= 300; after += 30 { // killed now and then
		ctx, cancel := context.WithTimeout(t.Context(), after*time.Millisecond)
		h.command(ctx, "adopt", spool).Run()
		cancel()
	}
	h.must("adopt", spool)
	if out := h.must("adopt", spool); !strings.HasPrefix(out, "0 messages adopted\n") {
		t.Errorf("once more: %s", out)
	}

	found := map[string]int{}
	eventually(t, "all are captured", func() bool {
		clear(found)
		files, _ := filepath.Glob(filepath.Join(h.dir, "state", "capture", "new", "*"))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			found[string(regexp.MustCompile(`number-\d+\.`).Find(b))]++
		}
		return len(found) >= messages
	})
	for subject, n := range found {
		if n != 1 {
			t.Errorf("%s came %d times", subject, n)
		}
	}
	left := h.queued()
	if len(left) != 1 {
		t.Fatalf("queued are %+v", left)
	}
	var after control.Message
	if err := json.Unmarshal([]byte(h.must("queue", "show", left[0].ID, "--json")), &after); err != nil {
		t.Fatal(err)
	}
	was, is := before.Recipients[0], after.Recipients[0]
	if !after.Accepted.Equal(before.Accepted) || after.From != before.From || is.Attempts != was.Attempts || is.Status != "held" || is.Last == nil || *is.Last != *was.Last {
		t.Errorf("it was %+v %+v\nand is %+v %+v", before, was, after, is)
	}
	if !strings.Contains(h.log.String(), `"message-adopted"`) {
		t.Error("the log says nothing")
	}
	if strings.Contains(h.log.String(), `"id":"(not shown)"`) {
		t.Error("the log does not say which message it was")
	}
}

// TestAdoptFromTheDatabase: what waits in a queue that relays shared goes to one
// that has a folder, as it stood, once all of them have ended; nothing is lost or
// doubled, however often the command is killed.
func TestAdoptFromTheDatabase(t *testing.T) {
	const messages = 60
	server := postgrestest.Start(t, "fsync=off")
	url := server.Database(t)
	listen, upstream := freeAddr(t), freeAddr(t)
	h := newHarness(t, shared(listen, upstream, url, "one"))
	two := newHarness(t, shared(freeAddr(t), upstream, url, "two"))
	h.must("database", "migrate")
	h.start()
	for i := range messages {
		send(t, listen, "a@example.com", fmt.Sprintf("%04d", i))
	}
	held := h.queued()[0].ID
	h.must("queue", "hold", held)
	h.stop()
	file := filepath.Join(h.dir, "url")
	if err := os.WriteFile(file, []byte(url+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.write(ordinary(listen, upstream))
	h.start()

	two.start()
	if r := h.do("adopt", "--database", file); r.code != exitTempFail || !strings.Contains(r.stderr, "the relay two works with it") {
		t.Errorf("while another relay runs: %+v", r)
	}
	two.stop()
	if r := h.do("adopt", "--database", file, "/somewhere"); r.code != exitUsage {
		t.Errorf("both: %+v", r)
	}
	if out := h.must("adopt", "--dry-run", "--database", file); !strings.Contains(out, fmt.Sprintf("%d wait in the old spool", messages)) {
		t.Errorf("dry run: %s", out)
	}
	for after := time.Duration(50); after <= 300; after += 50 { // killed now and then
		ctx, cancel := context.WithTimeout(t.Context(), after*time.Millisecond)
		h.command(ctx, "adopt", "--database", file).Run()
		cancel()
	}
	h.must("adopt", "--database", file)
	if out := h.must("adopt", "--database", file); !strings.HasPrefix(out, "0 messages adopted\n") {
		t.Errorf("once more: %s", out)
	}
	if list := h.queued("--held"); len(list) != 1 {
		t.Errorf("held are %+v", list)
	}
	s := startSink(t, upstream)
	h.must("queue", "release", "--all")
	h.must("queue", "retry", "--all")
	eventually(t, "the queue is empty", func() bool { return len(h.queued()) == 0 })
	if got := s.subjects(); len(got) != messages || len(slices.Compact(got)) != messages {
		t.Errorf("%d arrived: %v", len(got), got)
	}
}
