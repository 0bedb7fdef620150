package queue

import (
	"testing"
	"time"

	"postern/config"
)

// A pause outlives reloads, restarts and crashes, and shows who made it.
func TestPauseStays(t *testing.T) {
	limited(t, nil, func(t *testing.T, w *world) {
		if err := w.queue.Pause("office", "root"); err != nil {
			t.Fatal(err)
		}
		at := time.Now()
		w.fill(1)
		for _, again := range []func(){w.restart, w.crash, func() {
			w.queue.Apply(&config.Config{StateDir: w.cfg.StateDir, Retry: w.cfg.Retry, Hostname: "relay.example"})
			w.queue.Apply(w.cfg)
		}} {
			after(time.Hour)
			again()
			after(time.Hour)
			if s := w.queue.Lanes()[0]; s.State != Paused || s.By != "root" || !s.Since.Equal(at) {
				t.Errorf("state %s since %v by %q", s.State, s.Since, s.By)
			}
		}
		w.wantArrived(0, "while paused")
		if err := w.queue.Resume("office", "ann"); err != nil {
			t.Fatal(err)
		}
		w.restart()
		after(time.Second)
		w.wantArrived(1, "after resuming")
	})
}
