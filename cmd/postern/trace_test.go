//go:build unix

package main

import (
	"strings"
	"testing"
	"time"
)

// TestTrace: a message is found while it waits, after it has left, after a
// crash, and without a daemon.
func TestTrace(t *testing.T) {
	listen, upstream := freeAddr(t), freeAddr(t)
	h := newHarness(t, strings.Replace(ordinary(listen, upstream), `["1s"]`, `["1h"]`, 1))
	h.start()
	if r := h.do("trace", "a@example.com"); r.code != exitData || !strings.Contains(r.stderr, "nothing is known of a@example.com") {
		t.Errorf("before anything: %+v", r)
	}
	send(t, listen, "a@example.com", "first")
	var page string
	eventually(t, "the attempt is in the history", func() bool {
		r := h.do("trace", "a@example.com")
		page = r.stdout
		return r.code == exitOK && strings.Contains(page, "deferred")
	})
	id := h.queued()[0].ID
	for _, want := range []string{"message " + id + "\n", "accepted from 127.", "<b@example.com> deferred at office", "now: <b@example.com> is pending"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing in\n%s", want, page)
		}
	}
	s := startSink(t, upstream)
	h.must("queue", "retry", "--all")
	eventually(t, "it was delivered", func() bool { return len(s.received()) == 1 && len(h.queued()) == 0 })
	eventually(t, "the delivery is in the history", func() bool {
		page = h.must("trace", id)
		return strings.Contains(page, "<b@example.com> delivered at office")
	})
	if strings.Contains(page, "now:") || !strings.Contains(page, "retry for 1 recipient") {
		t.Errorf("after it has left:\n%s", page)
	}

	h.kill()
	h.start()
	send(t, listen, "a@example.com", "second")
	eventually(t, "both are found", func() bool {
		out := h.must("trace", "B@example.com", "--since", "1h")
		return strings.Count(out, "\n") == 3 && strings.Contains(out, id)
	})
	h.stop()
	if out := h.must("trace", "@example.com", "--limit", "1"); !strings.Contains(out, "accepted from") || strings.Contains(out, id) {
		t.Errorf("without a daemon:\n%s", out)
	}
	if out := h.must("trace", "--since", "1h"); strings.Count(out, "\n") != 3 || !strings.Contains(out, id) {
		t.Errorf("by time alone:\n%s", out)
	}
	if r := h.do("trace", "--until", "1d"); r.code != exitData || !strings.Contains(r.stderr, "nothing is known of that time") {
		t.Errorf("of a time before: %+v", r)
	}
	for _, args := range [][]string{{"trace"}, {"trace", "", "--since", "1h"}} {
		if r := h.do(args...); r.code != exitUsage {
			t.Errorf("%q: %+v", args, r)
		}
	}
	if r := h.do("trace", id, "--since", "soon"); r.code != exitUsage || !strings.Contains(r.stderr, "is no time") {
		t.Errorf("%+v", r)
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"2h": now.Add(-2 * time.Hour), "3d": now.Add(-72 * time.Hour), "0.5d": now.Add(-12 * time.Hour), "90m": now.Add(-90 * time.Minute),
		"2026-11-27": time.Date(2026, 11, 27, 0, 0, 0, 0, time.Local), "2026-11-27T08:30": time.Date(2026, 11, 27, 8, 30, 0, 0, time.Local),
		"2026-11-27 08:30:01": time.Date(2026, 11, 27, 8, 30, 1, 0, time.Local), "2026-11-27T08:30:00Z": time.Date(2026, 11, 27, 8, 30, 0, 0, time.UTC),
	} {
		if got, err := moment(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "3", "3dd", "d", "2026-13-01"} {
		if _, err := moment(text, now); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
