//go:build unix

package main

import (
	"fmt"
	"strings"
	"testing"
)

// sendJob sends a message that is like others of its sender.
func sendJob(t *testing.T, listen string, i int) {
	t.Helper()
	send(t, listen, "job@example.com", fmt.Sprintf("Job %d", i))
}

// TestStorm: of messages that are alike the first go on and the rest is held, over
// a crash as well; its recipient gets one digest, and all of it can be let go.
func TestStorm(t *testing.T) {
	t.Parallel() // it waits, most of the time
	listen, upstream := freeAddr(t), freeAddr(t)
	s := startSink(t, upstream)
	guard := "\n[storm]\nmessages = 3\nper = \"2s\"\n"
	h := newHarness(t, ordinary(listen, upstream)+guard+notesTold)
	h.start()
	for i := range 8 {
		sendJob(t, listen, i)
	}
	eventually(t, "the first go on", func() bool { return len(s.received()) == 3 })
	out := h.must("status")
	_, rest, _ := strings.Cut(out, "\nstorm     ")
	id, line, _ := strings.Cut(rest, ":")
	line, _, _ = strings.Cut(line, "\n")
	if !strings.HasPrefix(line, " 5 held since ") || !strings.Contains(line, "5 still, goes on; from <job@example.com> to <") {
		t.Fatalf("%q in %s", line, out)
	}
	h.kill() // nothing is lost but, at most, the number of the last second
	h.start()
	sendJob(t, listen, 8)
	if list := h.must("queue", "list", "--storm", id); strings.Count(list, " held ") != 6 || !strings.Contains(list, "postern queue release --storm "+id) {
		t.Errorf("%s", list)
	}
	one := h.queued()[0]
	if show := h.must("queue", "show", one.ID); !strings.Contains(show, "too many that are alike") {
		t.Errorf("%s", show)
	}
	last := h.queued()[5]
	eventually(t, "the history has it", func() bool {
		return strings.Contains(h.do("trace", last.ID).stdout, "on hold as one of too many that are alike (storm "+id+")")
	})
	if text := h.must("explain", "--from", "job@example.com", "--to", "a@example.net"); !strings.Contains(text, "storm guard: of messages that are alike, 3 go on within 2s, and more are held") {
		t.Errorf("%s", text)
	}
	eventually(t, "one digest comes", func() bool { return len(s.received()) == 4 })
	digest := s.received()[3]
	for _, want := range []string{"Auto-Submitted: auto-generated\r\n", "are held back\r\n", "None is lost", "postern queue release --storm " + id, "this is the only mail about them"} {
		if !strings.Contains(strings.ReplaceAll(digest, "=\r\n", ""), want) {
			t.Errorf("the digest lacks %q:\n%s", want, digest)
		}
	}
	eventually(t, "it is told", func() bool { return h.count("storm") == 1 })
	if e := h.told()[0]; e.Subject != id || e.Command != "postern queue list --storm "+id {
		t.Errorf("%+v", e)
	}
	sendJob(t, listen, 9)
	eventually(t, "after its end they go on", func() bool { return len(s.received()) == 5 })
	if out := h.must("queue", "release", "--storm", id, "--limit", "2"); !strings.Contains(out, "2 messages released") {
		t.Errorf("%s", out)
	}
	if out := h.must("queue", "remove", "--storm", id); !strings.Contains(out, "4 recipients of 4 messages removed") {
		t.Errorf("%s", out)
	}
	eventually(t, "those that were released arrive", func() bool { return len(s.received()) == 7 })
	if log := h.log.String(); strings.Count(log, `"storm-digest"`) != 1 || strings.Count(log, `"storm-began"`) != 1 {
		t.Errorf("log:\n%s", log)
	}
}
