//go:build unix

package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"postern/cmd/alert"
)

// TestSilenceIsTold: a route that takes no mail for its expect is told once, also
// over a crash, and the next message resolves it.
func TestSilenceIsTold(t *testing.T) {
	listen, upstream := freeAddr(t), freeAddr(t)
	startSink(t, upstream)
	watched := "[[route]]\nname = \"backups\"\nfrom = [\"backup@example.com\"]\nupstream = [\"office\"]\nexpect = \"1s\"\n"
	h := newHarness(t, strings.Replace(ordinary(listen, upstream), "[[route]]", watched+"[[route]]", 1)+notesTold)
	h.start()
	h.kept("route-silent")
	if e := h.told()[0]; e.Subject != "backups" || !strings.Contains(e.Text, "none was seen") {
		t.Errorf("%+v", e)
	}
	if out := h.must("status"); !strings.Contains(out, "expect    backups: no message seen yet, expected within 1s: SILENT") {
		t.Errorf("%s", out)
	}
	if out := h.must("explain", "--from", "backup@example.com", "--to", "a@example.net"); !strings.Contains(out, "watched: an alert tells when the route takes no mail for 1s") {
		t.Errorf("%s", out)
	}
	h.kill()
	h.write(strings.Replace(strings.Replace(ordinary(listen, upstream), "[[route]]", watched+"[[route]]", 1), `"1s"`, `"1h"`, 1) + notesTold)
	h.start()
	send(t, listen, "other@example.com", "not watched")
	if out := h.must("status"); !strings.Contains(out, "backups: no message seen yet") {
		t.Errorf("%s", out)
	}
	send(t, listen, "backup@example.com", "done")
	if out := h.must("status"); !strings.Contains(out, "backups: the last message") || strings.Contains(out, "SILENT") {
		t.Errorf("%s", out)
	}
	if n := h.count("route-silent"); n != 1 {
		t.Errorf("told %d times", n)
	}
	if os.Getenv("POSTERN_LONG") != "" { // it takes the half minute after which a trouble counts as over
		eventually(t, "it is resolved", func() bool {
			return slices.ContainsFunc(h.told(), func(e alert.Entry) bool { return e.Kind == "route-silent" && e.Status == "resolved" })
		})
	}
	h.stop()
	h.start()
	if out := h.must("status"); !strings.Contains(out, "backups: the last message") {
		t.Errorf("after a restart: %s", out)
	}
}
