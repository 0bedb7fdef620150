package queue

import (
	"sync"
	"testing"
	"time"

	"postern/spool"
	"postern/spool/storetest"
)

// A clock that jumps, under a running process or between two, loses nothing,
// sends nothing twice, returns nothing, and delays nothing by more than the
// longest retry time and a round of the sweep.
func TestClockJumps(t *testing.T) {
	if *onDisk {
		t.Skip("the times on record are set in the store in memory")
	}
	for name, jump := range map[string]time.Duration{
		"back by a minute": -time.Minute, "back by an hour": -time.Hour, "back by 12 hours": -12 * time.Hour, "back by years": -9999 * time.Hour,
		"forward by an hour": time.Hour, "forward by 12 hours": 12 * time.Hour, "forward by two days": 48 * time.Hour,
	} {
		for how, meanwhile := range map[string]func(w *world){
			"running": func(*world) {}, "stopped": func(w *world) { w.restart() }, "killed": func(w *world) { w.crash() },
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				inBubble(t, []string{"office", "backup"}, func(t *testing.T, w *world) {
					var refused sync.Map // by address; sessions answer at the same time
					w.peers.set("office", func(p *peer) {
						p.answer = func(_ *spool.Delivery, to string) spool.Outcome {
							if _, before := refused.LoadOrStore(to, true); !before {
								return replyAt(spool.StageRcpt, 451, "4.7.1", "greylisted")
							}
							return replyAt(spool.StageDot, 250, "2.0.0", "ok")
						}
					})
					w.peers.set("backup", func(p *peer) { p.fault = &spool.Fault{Outcome: replyAt(spool.StageConnect, 0, "", "")} })
					w.put("", []string{"office"}, "deferred@example.com")
					w.put("", []string{"backup"}, "unreachable@example.com")
					held := w.putEnvelope(&spool.Envelope{Accepted: time.Now(), Hold: true,
						Recipients: []spool.Recipient{{Address: "held@example.com", Upstreams: []string{"office"}}}})
					after(10 * time.Second)
					w.store.store.(*storetest.Memory).Shift(jump)
					meanwhile(w)
					refused.Store("new@example.com", true)
					w.peers.set("backup", func(p *peer) { p.fault = nil })
					w.put("", []string{"office"}, "new@example.com")
					after(time.Second)
					if got := w.peers.mail("office"); len(got) == 0 || got[len(got)-1].to != "new@example.com" && got[0].to != "new@example.com" {
						t.Errorf("what came after the jump waits: %+v", got)
					}
					after(longest(&w.cfg.Retry) + sweepMost + 2*time.Minute)
					w.wantArrived(3, "after the longest retry time")
					if d, err := w.queue.store.Detail(bg, held); err != nil || !d.Recipients[0].Held || w.store.count() != 1 {
						t.Errorf("%d are left; what was held: %v", w.store.count(), err)
					}
				})
			})
		}
	}
}

// Lifetimes go by the clock: one that is set forward by more than a lifetime
// ends it, with a notification, but not in the first hour after a start, in
// which everything is tried.
func TestClockJumpsOverALifetime(t *testing.T) {
	if *onDisk {
		t.Skip("the times on record are set in the store in memory")
	}
	for name, restarted := range map[string]bool{"running": false, "stopped": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
				w.peers.set("office", func(p *peer) { p.fault = &spool.Fault{Outcome: replyAt(spool.StageConnect, 0, "", "")} })
				w.put("a@app.example", []string{"office"}, "b@example.com")
				after(2 * time.Hour) // the first hour after the start is over
				w.store.store.(*storetest.Memory).Shift(30 * 24 * time.Hour)
				if restarted {
					w.restart()
				}
				after(30 * time.Minute)
				if n := len(w.recorder.notifications()); (n == 0) != restarted {
					t.Errorf("%d notifications", n)
				}
				w.peers.set("office", func(p *peer) { p.fault = nil })
				after(10 * time.Minute)
				w.wantArrived(1, "the message, or the notification")
			})
		})
	}
}
