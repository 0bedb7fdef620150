//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"postern/cmd/control"
	"postern/queue"
)

// sampled is a relay with two upstreams, of which one fails.
func sampled(at time.Time, delivered float64) sample {
	due := at.Add(-90 * time.Second)
	return sample{at: at, status: &control.Status{Healthy: true, Queue: control.Queue{Deliveries: 7, Held: 1}, Storms: []control.Storm{
		{ID: "18c5", From: "cron@example.com", To: "ops@example.com", Subject: "failed\x1b[2J", Began: at.Add(-time.Minute), Held: 40, Waiting: 38},
		{ID: "18c6", Ended: &due, Held: 9}, {ID: "18c7", Ended: &due, Held: 9, Waiting: 1}, {ID: "18c8"}, {ID: "18c9"},
	}, Lanes: []control.Lane{
		{Upstream: "office", State: queue.Up, Sessions: 2}, {Upstream: "bulk", State: queue.Parked, Queued: 7, OldestDue: &due, Reason: "refused\x1b[2J"},
	}}, counters: &control.Counters{Accepted: 2 * delivered, Lanes: map[string]*control.LaneCount{"office": {Delivered: delivered}, "bulk": {Deferred: delivered / 10}}}}
}

// TestTopView: rates between two looks, what is chosen and sorted, and a screen
// that foreign text can do nothing to.
func TestTopView(t *testing.T) {
	at := time.Date(2026, 11, 8, 7, 4, 5, 0, time.UTC)
	v := newTopView(sampled(at, 100), sampled(at.Add(2*time.Second), 160))
	if v.Accepted != 60 || v.Delivered != 30 || v.Deferred != 3 || v.Lanes[0].Upstream != "bulk" || v.Lanes[0].Oldest != 90 || v.Lanes[1].Delivered != 30 {
		t.Errorf("%+v", v)
	}
	if again := newTopView(sampled(at, 100), sampled(at.Add(2*time.Second), 20)); again.Delivered != 10 {
		t.Errorf("after a restart: %+v", again)
	}
	for _, step := range []struct {
		key    string
		want   int
		chosen string
	}{{"j", topNothing, "office"}, {"\x1b[B", topNothing, "office"}, {"k", topNothing, "bulk"}, {"p", topPause, "bulk"}, {"r", topResume, "bulk"},
		{"s", topNothing, "bulk"}, {"s", topNothing, "office"}, {"x", topNothing, "office"}, {"q", topEnd, "office"}, {"\x03", topEnd, "office"}} {
		if got := v.press(step.key); got != step.want || v.Lanes[v.chosen].Upstream != step.chosen {
			t.Errorf("%q: %d, chosen %s", step.key, got, v.Lanes[v.chosen].Upstream)
		}
	}
	if text := v.text(0, 0, ""); !strings.Contains(text, "storm 18c5: 40 held since 1m ago, 38 still, goes on; from <cron@example.com>") || strings.Contains(text, "18c6") || !strings.Contains(text, "storm 18c7") ||
		!strings.Contains(text, "and 1 more: postern status") || len(v.Storms) != 4 {
		t.Errorf("storms:\n%s", text)
	}
	v.stale = true
	if screen := v.text(80, 24, "no daemon answers"); !strings.Contains(screen, "NO ANSWER SINCE") || strings.Contains(screen, "healthy") {
		t.Errorf("a relay that does not answer:\n%s", screen)
	}
	v.stale = false
	screen := v.text(80, 24, "done")
	for _, want := range []string{"queued 7  held 1", "accepted 60/s", "\x1b[7moffice", "sort (by delivered)", "done"} {
		if !strings.Contains(screen, want) {
			t.Errorf("no %q in\n%s", want, screen)
		}
	}
	if strings.Contains(screen, "\x1b[2J") {
		t.Error("foreign text reaches the terminal")
	}
	for _, line := range strings.Split(v.text(40, 8, ""), "\n") {
		if n := len([]rune(strings.NewReplacer("\x1b[7m", "", "\x1b[0m", "").Replace(line))); n > 40 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if n := strings.Count(v.text(40, 8, ""), "\n") + 1; n > 8 {
		t.Errorf("%d lines", n)
	}
}

// TestTop asks a relay that delivers meanwhile.
func TestTop(t *testing.T) {
	listen, upstream := freeAddr(t), freeAddr(t)
	startSink(t, upstream)
	h := newHarness(t, ordinary(listen, upstream))
	if r := h.do("top"); r.code != 69 {
		t.Errorf("without a relay: exit code %d", r.code)
	}
	h.start()
	ended := make(chan error)
	go func() {
		var err error
		for n := 0; n < 200 && err == nil; n++ {
			err = sendQuietly(listen, n)
		}
		ended <- err
	}()
	out := h.must("top", "--json", "--interval", "700ms")
	var v topView
	if err := json.Unmarshal([]byte(out), &v); err != nil || len(v.Lanes) != 1 || v.Lanes[0].Upstream != "office" || v.Accepted <= 0 || v.Delivered <= 0 || v.Seconds < 0.7 {
		t.Errorf("%v: %s", err, out)
	}
	if out := h.must("top", "--once", "--interval", "200ms"); !strings.Contains(out, "UPSTREAM") || !strings.Contains(out, "\noffice ") || strings.Contains(out, "\x1b") {
		t.Error(out)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if r := h.do("top", "--interval", "1ms"); r.code != 64 {
		t.Errorf("exit code %d", r.code)
	}
	h.stop()
}

func sendQuietly(addr string, n int) error {
	return smtp.SendMail(addr, nil, "a@example.com", []string{"b@example.org"}, message(fmt.Sprint(n)))
}
