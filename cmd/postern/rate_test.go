//go:build unix

package main

import (
	"fmt"
	"os/user"
	"strings"
	"syscall"
	"testing"

	"postern/queue"
)

func TestRateHoldsOverKillAndRestart(t *testing.T) {
	listen, upstream := freeAddr(t), freeAddr(t)
	rated := strings.Replace(ordinary(listen, upstream), `tls = "off"`, `tls = "off"`+"\nrate = \"5/1h\"", 1)
	h := newHarness(t, rated)
	s := startSink(t, upstream)
	h.start()
	for i := range 12 {
		send(t, listen, "a@example.com", fmt.Sprintf("number %d.", i))
	}
	full := func(when string) {
		t.Helper()
		eventually(t, "mail waits for its rate "+when, func() bool {
			l := h.office()
			return l != nil && l.WaitsSince != nil && l.Rates[0].Left == 0 && !l.Rates[0].Next.IsZero()
		})
		if n := len(s.received()); n != 5 {
			t.Errorf("%s: %d messages arrived, want 5", when, n)
		}
	}
	full("at first")
	h.signal(syscall.SIGKILL)
	h.wait()
	h.start()
	full("after a kill")
	h.stop()
	h.start()
	full("after a restart")
	if out := h.must("status"); !strings.Contains(out, "rate      office: 0 of 5/1h left, the next in ") {
		t.Errorf("status:\n%s", out)
	}
	if out := h.must("queue", "show", h.queued()[0].ID); !strings.Contains(out, "5/1h is used up") {
		t.Errorf("queue show:\n%s", out)
	}
	h.write(strings.Replace(rated, "5/1h", "9/1h", 1))
	h.must("reload")
	eventually(t, "a larger rate is used up, too", func() bool {
		l := h.office()
		return l != nil && l.WaitsSince != nil && l.Rates[0].Rate == "9/1h" && l.Rates[0].Left == 0
	})
	if n := len(s.received()); n != 9 {
		t.Errorf("%d messages arrived, want 9", n)
	}
	h.stop()
}

func TestPauseOutlivesARestart(t *testing.T) {
	listen, upstream := freeAddr(t), freeAddr(t)
	h := newHarness(t, ordinary(listen, upstream))
	s := startSink(t, upstream)
	h.start()
	h.must("upstream", "pause", "office")
	h.signal(syscall.SIGKILL)
	h.wait()
	h.start()
	send(t, listen, "a@example.com", "kept")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if l := h.office(); l == nil || l.State != queue.Paused || l.PausedBy != me.Username || l.Since == nil || len(s.received()) != 0 {
		t.Errorf("%+v, %d arrived", l, len(s.received()))
	}
	h.must("upstream", "resume", "office")
	eventually(t, "the mail goes on", func() bool { return len(s.received()) == 1 })
	h.stop()
}

// A rate is shared out, too: one sender's batch doesn't use it up for others.
func TestBatchLeavesTheRateToOthers(t *testing.T) {
	listen, upstream := freeAddr(t), freeAddr(t)
	h := newHarness(t, strings.Replace(ordinary(listen, upstream), `tls = "off"`, `tls = "off"`+"\nrate = \"5/1s\"", 1))
	s := startSink(t, upstream)
	h.start()
	for i := range 60 {
		send(t, listen, "batch@example.com", fmt.Sprintf("number %d.", i))
	}
	for range 3 {
		send(t, listen, "alarm@example.com", "an alarm")
	}
	alarms := func() (n int) {
		for _, m := range s.received() {
			if strings.Contains(m, "an alarm") {
				n++
			}
		}
		return n
	}
	eventually(t, "the alarms arrive", func() bool { return alarms() == 3 })
	if n := len(s.received()); n > 40 {
		t.Errorf("%d of the batch went before", n-3)
	}
	h.stop()
}
