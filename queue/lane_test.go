package queue

import (
	"fmt"
	"testing"
	"time"

	"postern/config"
	"postern/spool"
)

func TestDelivers(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		for i := range 100 {
			w.put("a@app.example", []string{"office"}, fmt.Sprintf("b%d@example.com", i))
		}
		after(time.Second)
		if n := len(w.peers.mail("office")); n != 100 {
			t.Fatalf("%d of 100 arrived", n)
		}
		if n := w.store.count(); n != 0 {
			t.Errorf("%d are still in the store", n)
		}
		if n := w.recorder.ended(); n != 100 {
			t.Errorf("%d finished", n)
		}
		if len(w.recorder.changes()) != 0 {
			t.Errorf("lane changes: %v", w.recorder.lanes)
		}
	})
}

// A session is opened for a message, kept for others, and closed when idle.
func TestSessionIsReused(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		for range 10 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
			after(20 * time.Second)
		}
		p := w.peers.look("office")
		if p.opened != 1 || p.sessions != 1 {
			t.Errorf("opened %d, open %d, want 1 and 1", p.opened, p.sessions)
		}
		after(time.Minute)
		if p := w.peers.look("office"); p.sessions != 0 {
			t.Errorf("%d sessions are open after a minute of nothing", p.sessions)
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) {
			p.connect = 50 * time.Millisecond
			p.takes = func(*spool.Delivery) (time.Duration, bool) { return 100 * time.Millisecond, true }
		})
		for range 400 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(11 * time.Second)
		if n := len(w.peers.mail("office")); n != 400 {
			t.Errorf("%d of 400 arrived", n)
		}
		if p := w.peers.look("office"); p.most != 4 || p.opened != 4 {
			t.Errorf("most sessions %d, opened %d, want 4 and 4", p.most, p.opened)
		}
	})
}

// One session that keeps up is enough, however many messages come at once.
// Others are opened where it doesn't.
func TestSessionsFollowTheBacklog(t *testing.T) {
	for _, c := range []struct {
		takes time.Duration // of a message; four come every 10 ms
		most  int
	}{{time.Millisecond, 1}, {30 * time.Millisecond, 4}} {
		inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
			w.peers.set("office", func(p *peer) {
				p.takes = func(*spool.Delivery) (time.Duration, bool) { return c.takes, true }
			})
			for range 50 {
				for range 4 {
					w.put("a@app.example", []string{"office"}, "b@example.com")
				}
				after(10 * time.Millisecond)
			}
			after(2 * time.Second)
			if n := len(w.peers.mail("office")); n != 200 {
				t.Errorf("%d of 200 arrived", n)
			}
			if p := w.peers.look("office"); p.most != c.most {
				t.Errorf("%v a message: %d sessions, want %d", c.takes, p.most, c.most)
			}
		})
	}
}

// After a start with a full queue and a dead upstream, one session probes, one
// share at a time is written down, and nothing else happens.
func TestDeadUpstreamIsQuiet(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) {
			p.fault = &spool.Fault{Outcome: spool.Outcome{Stage: spool.StageConnect, Cause: "connection refused"}}
		})
		for range 1000 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(10 * time.Minute)
		p := w.peers.look("office")
		if p.opened < 8 || p.opened > 20 {
			t.Errorf("%d sessions tried in 10 minutes", p.opened)
		}
		if n := len(w.recorder.tried()); n != p.opened {
			t.Errorf("%d attempts on record for %d sessions", n, p.opened)
		}
		if w.store.settled() > p.opened+2 {
			t.Errorf("%d settlements for %d sessions", w.store.settled(), p.opened)
		}
		if n := w.recorder.heard("lane office up to waiting"); n != 1 {
			t.Errorf("%d alerts", n)
		}
		w.peers.set("office", func(p *peer) { p.fault = nil })
		after(2 * time.Minute)
		if n := len(w.peers.mail("office")); n != 1000 {
			t.Errorf("%d of 1000 arrived after the repair", n)
		}
		if n := w.recorder.heard("lane office waiting to up"); n != 1 {
			t.Errorf("%d releases", n)
		}
	})
}

func TestParked(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) {
			p.fault = &spool.Fault{Outcome: replyAt(spool.StageSignIn, 535, "5.7.8", "wrong password")}
		})
		for range 50 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(10 * time.Hour)
		if n := w.recorder.heard("lane office"); n != 1 || w.queue.States()["office"] != Parked {
			t.Errorf("%d alerts, state %v", n, w.queue.States()["office"])
		}
		if p := w.peers.look("office"); p.opened > 16 {
			t.Errorf("%d sign-ins in 10 hours", p.opened)
		}
		if n := w.store.count(); n < 50 {
			t.Errorf("mail was lost: %d left", n)
		}
		// The operator has mended it and doesn't want to wait.
		w.peers.set("office", func(p *peer) { p.fault = nil })
		if _, err := w.queue.Retry(t.Context(), Select{Upstream: "office"}, "root"); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		if n := w.recorder.heard("lane office parked to up"); n != 1 {
			t.Errorf("%d releases", n)
		}
		if n := len(w.peers.mail("office")); n < 50 {
			t.Errorf("%d arrived", n)
		}
	})
}

// Where an upstream wants fewer sessions than are configured, those that it
// has go on, and it isn't stormed.
func TestUpstreamLimitsSessions(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) {
			p.limit = 2
			p.takes = func(*spool.Delivery) (time.Duration, bool) { return 100 * time.Millisecond, true }
		})
		for range 200 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(15 * time.Second)
		if n := len(w.peers.mail("office")); n != 200 {
			t.Errorf("%d of 200 arrived", n)
		}
		if len(w.recorder.changes()) != 0 {
			t.Errorf("the lane went down: %v", w.recorder.log)
		}
		if p := w.peers.look("office"); p.opened > 8 {
			t.Errorf("%d sessions were tried", p.opened)
		}
	})
}

func TestVanishedUpstreamDefers(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.put("a@app.example", []string{"gone"}, "b@example.com")
		after(24 * time.Hour)
		if w.store.count() != 2 { // the message and one delay notification, which waits too
			t.Fatalf("%d messages", w.store.count())
		}
		if n := len(w.recorder.tried()); n != 0 {
			t.Errorf("%d attempts", n)
		}
		cfg := newConfig("office", "gone")
		w.queue.Apply(cfg)
		after(time.Second)
		if n := len(w.peers.mail("gone")); n != 2 {
			t.Errorf("%d arrived", n)
		}
	})
}

// A reload ends sessions, also where only a file has changed; others are opened.
func TestReloadDrains(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Second)
		cfg := newConfig("office")
		w.queue.Apply(cfg)
		after(time.Second)
		if p := w.peers.look("office"); p.sessions != 0 {
			t.Errorf("%d sessions with what may be an old secret, certificate or address", p.sessions)
		}
		w.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Second)
		cfg = newConfig("office")
		cfg.Upstreams["office"].Host = "other.example"
		w.queue.Apply(cfg)
		after(time.Millisecond)
		if p := w.peers.look("office"); p.sessions != 0 {
			t.Errorf("%d sessions with the old settings", p.sessions)
		}
		w.put("a@app.example", []string{"office"}, "c@example.com")
		after(time.Second)
		if p := w.peers.look("office"); p.opened != 3 || len(w.peers.mail("")) != 3 {
			t.Errorf("opened %d, arrived %d", p.opened, len(w.peers.mail("")))
		}
		w.queue.Apply(&config.Config{Hostname: "relay.example", Retry: cfg.Retry})
		w.put("a@app.example", []string{"office"}, "d@example.com")
		after(time.Hour)
		if n := len(w.peers.mail("")); n != 3 || w.queue.States()["office"] != Missing {
			t.Errorf("%d arrived, state %s", n, w.queue.States()["office"])
		}
	})
}

func TestPause(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		if err := w.queue.Pause("office", "root"); err != nil {
			t.Fatal(err)
		}
		w.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Hour)
		if n := len(w.peers.mail("")); n != 0 {
			t.Fatalf("%d arrived while paused", n)
		}
		if err := w.queue.Resume("office", "root"); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		if n := len(w.peers.mail("")); n != 1 {
			t.Errorf("%d arrived after resuming", n)
		}
		if err := w.queue.Pause("nobody", "root"); err != ErrNoUpstream {
			t.Errorf("pausing nobody: %v", err)
		}
	})
}

func TestStopGivesBack(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) {
			p.takes = func(*spool.Delivery) (time.Duration, bool) { return time.Second, true }
		})
		for range 100 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(2500 * time.Millisecond)
		start := time.Now()
		w.stop()
		if d := time.Since(start); d > time.Second {
			t.Errorf("stopping took %v", d)
		}
		arrived := len(w.peers.mail(""))
		if arrived == 0 || arrived+w.store.count() != 100 {
			t.Errorf("%d arrived, %d left", arrived, w.store.count())
		}
		w.store.walk(func(s spool.Summary) bool {
			if s.Claimed || s.Attempts != 0 || s.Due.After(time.Now()) {
				t.Errorf("not given back: %+v", s)
			}
			return true
		})
	})
}
