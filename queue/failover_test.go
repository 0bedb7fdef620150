package queue

import (
	"sync/atomic"
	"testing"
	"time"

	"postern/config"
	"postern/queue/verdict"
	"postern/spool"
)

func down(stage spool.Stage, code int) *spool.Fault {
	return &spool.Fault{Outcome: spool.Outcome{Stage: stage, Code: code, Cause: "down"}}
}

// withRoute makes the lists of a route known, as a configuration does.
func (w *world) withRoute(list ...string) {
	cfg := *w.cfg
	cfg.Routes = []config.Route{{Upstream: list}}
	w.queue.Apply(&cfg)
}

func TestFailover(t *testing.T) {
	inBubble(t, []string{"office", "backup"}, func(t *testing.T, w *world) {
		list := []string{"office", "backup"}
		w.withRoute(list...)
		w.peers.set("office", func(p *peer) { p.fault = down(spool.StageConnect, 0) })
		for range 100 {
			w.put("a@app.example", list, "b@example.com")
		}
		after(10 * time.Second)
		if n := len(w.peers.mail("backup")); n != 100 {
			t.Fatalf("%d of 100 went by the backup", n)
		}
		if n := len(w.recorder.tried()); n > 105 {
			t.Errorf("%d attempts", n)
		}
		// New mail goes the same way, without waiting for a probe of the first.
		w.put("a@app.example", list, "c@example.com")
		after(3 * time.Second)
		if n := len(w.peers.mail("backup")); n != 101 {
			t.Errorf("%d went by the backup", n)
		}
		// When the first is back, it is the first again.
		w.peers.set("office", func(p *peer) { p.fault = nil })
		after(3 * time.Minute)
		w.put("a@app.example", list, "d@example.com")
		after(time.Second)
		if n := len(w.peers.mail("office")); n != 1 {
			t.Errorf("%d went by the first after its repair", n)
		}
	})
}

// Both are down: the mail waits, and goes by whichever is back first.
func TestFailoverBothDown(t *testing.T) {
	inBubble(t, []string{"office", "backup"}, func(t *testing.T, w *world) {
		list := []string{"office", "backup"}
		w.withRoute(list...)
		w.peers.set("office", func(p *peer) { p.fault = down(spool.StageConnect, 0) })
		w.peers.set("backup", func(p *peer) { p.fault = down(spool.StageSignIn, 535) })
		for range 20 {
			w.put("a@app.example", list, "b@example.com")
		}
		after(30 * time.Minute)
		w.peers.set("backup", func(p *peer) { p.fault = nil })
		after(90 * time.Minute)
		if n := len(w.peers.mail("backup")); n != 20 {
			t.Errorf("%d of 20 went by the backup", n)
		}
	})
}

func TestFailoverOfVanished(t *testing.T) {
	inBubble(t, []string{"backup"}, func(t *testing.T, w *world) {
		w.withRoute("gone", "backup")
		w.put("a@app.example", []string{"gone", "backup"}, "b@example.com")
		after(5 * time.Second)
		if n := len(w.peers.mail("backup")); n != 1 {
			t.Errorf("%d went by the backup", n)
		}
	})
}

// A 4xx about a recipient is the recipient's: it stays with its upstream. One
// to MAIL is the upstream's.
func TestWhatMovesOn(t *testing.T) {
	for name, c := range map[string]struct {
		answer spool.Outcome
		backup int
	}{
		"recipient":    {replyAt(spool.StageRcpt, 450, "4.2.0", "greylisted"), 0},
		"content":      {replyAt(spool.StageDot, 451, "4.6.0", "later"), 0},
		"sender":       {replyAt(spool.StageMail, 550, "5.7.1", "not you"), 1},
		"upstream":     {replyAt(spool.StageMail, 452, "4.3.1", "full"), 1},
		"access":       {replyAt(spool.StageMail, 530, "5.7.0", "authentication required"), 1},
		"unsupported":  {spool.Outcome{Stage: spool.StageMail, Unsupported: true, Code: 550, Enhanced: "5.6.7"}, 1},
		"no answer":    {spool.Outcome{Stage: spool.StageData, Cause: "reset"}, 0},
		"in doubt":     {spool.Outcome{Stage: spool.StageDot, Cause: "reset"}, 0},
		"relay denied": {replyAt(spool.StageRcpt, 554, "5.7.1", "Relay access denied"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, []string{"office", "backup"}, func(t *testing.T, w *world) {
				w.withRoute("office", "backup")
				w.peers.set("office", func(p *peer) {
					p.answer = func(*spool.Delivery, string) spool.Outcome { return c.answer }
				})
				w.put("a@app.example", []string{"office", "backup"}, "b@example.com")
				after(2 * time.Second)
				if n := len(w.peers.mail("backup")); n != c.backup {
					t.Errorf("%d went by the backup, want %d; %v", n, c.backup, w.recorder.log)
				}
			})
		})
	}
}

// What nobody can carry fails, once everybody was asked.
func TestUnsupportedEverywhere(t *testing.T) {
	inBubble(t, []string{"office", "backup"}, func(t *testing.T, w *world) {
		list := []string{"office", "backup"}
		w.withRoute(list...)
		for _, name := range list {
			w.peers.set(name, func(p *peer) {
				p.answer = func(d *spool.Delivery, _ string) spool.Outcome {
					if d.Envelope.From == "" {
						return replyAt(spool.StageDot, 250, "", "ok")
					}
					return spool.Outcome{Stage: spool.StageMail, Unsupported: true, Code: 550, Enhanced: "5.6.7", Text: "no SMTPUTF8"}
				}
			})
		}
		id := w.put("a@app.example", list, "b@example.com")
		after(time.Minute)
		if ends := w.store.ends(id, "b@example.com"); len(ends) != 1 || ends[0] != spool.Bounced {
			t.Errorf("ended as %v", ends)
		}
		if n := len(w.peers.tries(id)); n != 2 {
			t.Errorf("%d attempts", n)
		}
	})
}

// Where the first is down, what only it can carry waits for it.
func TestUnsupportedWaitsForTheOther(t *testing.T) {
	inBubble(t, []string{"office", "backup"}, func(t *testing.T, w *world) {
		list := []string{"office", "backup"}
		w.withRoute(list...)
		w.peers.set("office", func(p *peer) { p.fault = down(spool.StageConnect, 0) })
		w.peers.set("backup", func(p *peer) {
			p.answer = func(*spool.Delivery, string) spool.Outcome {
				return spool.Outcome{Stage: spool.StageMail, Unsupported: true, Code: 550, Enhanced: "5.6.7"}
			}
		})
		id := w.put("a@app.example", list, "b@example.com")
		after(2 * time.Hour)
		if ends := w.store.ends(id, "b@example.com"); len(ends) != 0 {
			t.Fatalf("ended as %v", ends)
		}
		w.peers.set("office", func(p *peer) { p.fault = nil })
		after(2 * time.Hour)
		if n := len(w.peers.mail("office")); n != 1 {
			t.Errorf("%d went by the first", n)
		}
	})
}

// A refused sender doesn't stop the others.
func TestRefusedSender(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		var open atomic.Bool
		w.peers.set("office", func(p *peer) {
			p.answer = func(d *spool.Delivery, _ string) spool.Outcome {
				if d.Envelope.From == "bad@app.example" && !open.Load() {
					return replyAt(spool.StageMail, 550, "5.7.60", "cannot send as this sender")
				}
				return replyAt(spool.StageDot, 250, "", "ok")
			}
		})
		for range 50 {
			w.put("bad@app.example", []string{"office"}, "b@example.com")
			w.put("good@app.example", []string{"office"}, "b@example.com")
		}
		after(30 * time.Second)
		if n := len(w.peers.mail("")); n != 50 {
			t.Errorf("%d of 50 of the good arrived", n)
		}
		after(time.Hour)
		if n := w.recorder.heard("sender bad@app.example refused"); n != 1 {
			t.Errorf("%d alerts", n)
		}
		if len(w.recorder.changes()) != 0 {
			t.Errorf("the lane went down: %v", w.recorder.lanes)
		}
		if n := len(w.recorder.tried()); n > 50+4+10 {
			t.Errorf("%d attempts", n)
		}
		w.peers.set("office", func(*peer) { open.Store(true) })
		after(3 * time.Hour)
		if n := len(w.peers.mail("")); n != 100 {
			t.Errorf("%d of 100 arrived", n)
		}
		if n := w.recorder.heard("sender bad@app.example accepted"); n != 1 {
			t.Errorf("%d releases", n)
		}
	})
}

// Throttling and a sign-in that is asked for at MAIL take the lane down
// although sessions open.
func TestRefusedAtMail(t *testing.T) {
	for name, c := range map[string]struct {
		answer spool.Outcome
		state  State
		most   int
		downs  int // changes of state on the way down, and as many up
	}{
		"throttled":     {replyAt(spool.StageMail, 452, "4.3.1", "full"), Waiting, 80, 2}, // slowed before
		"not signed in": {replyAt(spool.StageMail, 530, "5.7.57", "Client not authenticated"), Parked, 8, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
				var mended atomic.Bool
				w.peers.set("office", func(p *peer) {
					p.answer = func(*spool.Delivery, string) spool.Outcome {
						if !mended.Load() {
							return c.answer
						}
						return replyAt(spool.StageDot, 250, "", "ok")
					}
				})
				for range 200 {
					w.put("a@app.example", []string{"office"}, "b@example.com")
				}
				after(time.Hour)
				if s := w.queue.States()["office"]; s != c.state {
					t.Errorf("state %s", s)
				}
				if n := len(w.recorder.tried()); n > c.most {
					t.Errorf("%d attempts in an hour", n)
				}
				if n := len(w.recorder.changes()); n != c.downs {
					t.Errorf("%d changes: %v", n, w.recorder.log)
				}
				w.peers.set("office", func(*peer) { mended.Store(true) })
				after(90 * time.Minute)
				if n := len(w.peers.mail("")); n != 200 {
					t.Errorf("%d of 200 arrived", n)
				}
				if n := len(w.recorder.changes()); n != 2*c.downs {
					t.Errorf("%d changes: %v", n, w.recorder.log)
				}
			})
		})
	}
}

// What an operator holds stays where it is.
func TestHeldDoesNotMove(t *testing.T) {
	inBubble(t, []string{"office", "backup"}, func(t *testing.T, w *world) {
		list := []string{"office", "backup"}
		w.withRoute(list...)
		w.peers.set("office", func(p *peer) { p.fault = down(spool.StageConnect, 0) })
		w.putEnvelope(&spool.Envelope{From: "a@app.example", Accepted: time.Now(), Hold: true,
			Recipients: []spool.Recipient{{Address: "held@example.com", Upstreams: list}}})
		w.put("a@app.example", list, "b@example.com")
		after(time.Hour)
		if got := w.peers.mail(""); len(got) != 1 || got[0].to != "b@example.com" {
			t.Errorf("arrived: %+v", got)
		}
	})
}

// A share in doubt stays with the upstream that may have it.
func TestDoubtStays(t *testing.T) {
	d := &spool.Delivery{Attempt: 1, Failover: 1, Pending: []int{0},
		Envelope: &spool.Envelope{Recipients: []spool.Recipient{{Upstreams: []string{"a", "b", "c"}}}}}
	outs := []spool.Outcome{{Stage: spool.StageDot}}
	now := time.Date(2026, 11, 20, 13, 0, 0, 0, time.UTC)
	s := plan(d, outs, []verdict.Verdict{verdict.Of(&outs[0], true)}, choice{now: now, retry: &config.Retry{AfterDot: "retry"}, next: 2, at: 0.5})
	if s.Failover != 1 || s.Hold || !s.Due.Equal(now.Add(time.Minute)) {
		t.Errorf("%+v", s)
	}
}
