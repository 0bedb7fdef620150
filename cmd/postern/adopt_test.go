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
	"strings"
	"testing"
	"time"

	"postern/cmd/control"
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
