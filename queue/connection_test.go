package queue

import (
	"fmt"
	"testing"
	"time"

	"postern/spool"
)

// An upstream takes ten messages over one connection and refuses the rest of
// them, in whatever way: all arrive at once, once, and no attempt is charged.
func TestConnectionsThatTakeTen(t *testing.T) {
	for _, refusal := range []spool.Outcome{
		replyAt(spool.StageMail, 452, "", "too much for now"),
		replyAt(spool.StageMail, 452, "4.3.1", "insufficient system storage"),
		replyAt(spool.StageMail, 451, "4.7.1", "try again later"),
		replyAt(spool.StageMail, 554, "5.7.0", "too many messages in this session"),
		replyAt(spool.StageMail, 530, "5.7.0", "authentication required"),
		replyAt(spool.StageMail, 503, "5.5.1", "bad sequence"),
		replyAt(spool.StageRcpt, 450, "4.2.1", "rate for this connection"),
		replyAt(spool.StageRcpt, 452, "4.5.3", "too many recipients"),
		replyAt(spool.StageRcpt, 550, "5.7.1", "recipient limit of 10 exceeded for this connection"),
		replyAt(spool.StageData, 452, "4.4.5", "the session has had enough"),
		replyAt(spool.StageData, 421, "4.7.0", "closing"),
		replyAt(spool.StageData, 554, "5.5.0", "maximum messages per connection reached"),
		replyAt(spool.StageDot, 451, "4.4.5", "not over this connection"),
		{Stage: spool.StageRcpt, Cause: "the upstream closed the connection"},
	} {
		t.Run(fmt.Sprintf("%d %s at stage %d", refusal.Code, refusal.Enhanced, refusal.Stage), func(t *testing.T) {
			inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
				w.cfg.Upstreams["office"].MaxConnections = 2
				w.peers.set("office", func(p *peer) {
					p.connect = 20 * time.Millisecond
					p.spent = func(carried int, _ *spool.Delivery) *spool.Outcome {
						if carried < 10 {
							return nil
						}
						return &refusal
					}
				})
				for range 100 {
					w.put("a@app.example", []string{"office"}, "b@example.com")
				}
				after(5 * time.Second)
				w.arrivedOnceUncharged(t, 100)
				if s := w.lanes()[0]; s.State != Up {
					t.Errorf("the lane is %s: %+v", s.State, s.Cause)
				}
				if w.recorder.heard("takes 10 over one connection") != 1 {
					t.Errorf("not learnt: %v", w.recorder.log)
				}
			})
		})
	}
}

func (w *world) arrivedOnceUncharged(t *testing.T, want int) {
	t.Helper()
	seen := map[spool.ID]bool{}
	for _, a := range w.peers.mail("office") {
		if seen[a.id] {
			t.Errorf("%s arrived twice", a.id)
		}
		seen[a.id] = true
	}
	if len(seen) != want {
		t.Errorf("%d of %d arrived", len(seen), want)
	}
	for _, a := range w.recorder.tried() {
		if a.Number != 1 || a.Outcome.Verdict != spool.Delivered {
			t.Errorf("attempt %d: %+v", a.Number, a.Outcome)
		}
	}
}

// A transaction whose later recipients are refused for now is about the
// connection, too: the rest goes over a fresh one, at once.
func TestRecipientsOfAConnection(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) {
			n := 0
			p.spent = func(carried int, _ *spool.Delivery) *spool.Outcome {
				if carried == 0 {
					n = 0
				}
				return nil
			}
			p.answer = func(*spool.Delivery, string) spool.Outcome {
				if n++; n > 10 {
					return replyAt(spool.StageRcpt, 450, "4.2.1", "enough recipients")
				}
				return replyAt(spool.StageDot, 250, "2.0.0", "ok")
			}
		})
		var to []string
		for i := range 35 {
			to = append(to, fmt.Sprintf("r%d@example.com", i))
		}
		w.put("a@app.example", []string{"office"}, to...)
		after(5 * time.Second)
		if n := len(w.peers.mail("office")); n != 35 {
			t.Errorf("%d of 35 recipients have it", n)
		}
	})
}

// One message a connection.
func TestConnectionsThatTakeOne(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.cfg.Upstreams["office"].MaxConnections = 2
		w.peers.set("office", func(p *peer) {
			p.spent = func(carried int, _ *spool.Delivery) *spool.Outcome {
				if carried == 0 {
					return nil
				}
				o := replyAt(spool.StageMail, 452, "4.3.2", "one at a time")
				return &o
			}
		})
		for range 20 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(5 * time.Second)
		w.arrivedOnceUncharged(t, 20)
	})
}

// A message that is refused for now for its own sake is charged, over a fresh
// connection, by its backoff; the others go on and keep their connections.
func TestConnectionIsNotBlamedForAMessage(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		var bad spool.ID
		w.peers.set("office", func(p *peer) {
			p.answer = func(d *spool.Delivery, _ string) spool.Outcome {
				if d.Envelope.From == "bad@app.example" {
					return replyAt(spool.StageRcpt, 450, "4.2.0", "greylisted")
				}
				return replyAt(spool.StageDot, 250, "2.0.0", "ok")
			}
			p.takes = func(*spool.Delivery) (time.Duration, bool) { return time.Millisecond, true }
		})
		for i := range 200 {
			if i == 50 {
				bad = w.put("bad@app.example", []string{"office"}, "b@example.com")
				continue
			}
			w.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(5 * time.Second)
		if n := len(w.peers.mail("office")); n != 199 {
			t.Errorf("%d arrived", n)
		}
		charged := 0
		for _, a := range w.recorder.tried() {
			if a.ID == bad {
				charged++
			}
		}
		if n := len(w.peers.tries(bad)); charged != 1 || n > 2 {
			t.Errorf("it was tried %d times, charged %d", n, charged)
		}
		if p := w.peers.look("office"); p.opened > 6 {
			t.Errorf("%d connections", p.opened)
		}
	})
}

// max_messages is kept from the first connection on.
func TestMaxMessages(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.cfg.Upstreams["office"].MaxMessages = 3
		most := 0
		w.peers.set("office", func(p *peer) {
			p.spent = func(carried int, _ *spool.Delivery) *spool.Outcome {
				most = max(most, carried+1)
				return nil
			}
		})
		for range 30 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(time.Second)
		w.arrivedOnceUncharged(t, 30)
		if most != 3 {
			t.Errorf("a connection carried %d", most)
		}
	})
}

// A session that is never without work, and one that waits, end by their age.
func TestMaxAge(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.cfg.Upstreams["office"].MaxConnections = 1
		w.cfg.Upstreams["office"].IdleClose = time.Hour
		for range 30 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
			after(time.Minute)
		}
		if p := w.peers.look("office"); p.opened < 6 || p.opened > 8 {
			t.Errorf("%d connections in 30 minutes", p.opened)
		}
		after(6 * time.Minute)
		if p := w.peers.look("office"); p.sessions != 0 {
			t.Error("the last one is older than its age")
		}
		w.arrivedOnceUncharged(t, 30)
	})
}

// A sign-in that an open session has lost is not asked about over that
// session: it ends, and a fresh one delivers, with long idle times as well.
func TestLostSignInEndsTheSession(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.cfg.Upstreams["office"].IdleClose = 10 * time.Minute
		lost := false
		w.peers.set("office", func(p *peer) {
			p.spent = func(carried int, _ *spool.Delivery) *spool.Outcome {
				if !lost || carried == 0 {
					return nil
				}
				o := replyAt(spool.StageMail, 530, "5.7.0", "authentication required")
				return &o
			}
		})
		w.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Second)
		lost = true
		w.put("a@app.example", []string{"office"}, "b@example.com")
		after(2 * time.Second)
		w.arrivedOnceUncharged(t, 2)
	})
}

// A fault that takes the lane down ends all of its sessions, and each probe is
// a new one.
func TestFaultEndsTheSessions(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.cfg.Upstreams["office"].IdleClose = time.Hour
		refuse := true
		w.peers.set("office", func(p *peer) {
			p.answer = func(*spool.Delivery, string) spool.Outcome {
				if refuse {
					return replyAt(spool.StageMail, 530, "5.7.0", "authentication required")
				}
				return replyAt(spool.StageDot, 250, "2.0.0", "ok")
			}
		})
		w.put("a@app.example", []string{"office"}, "b@example.com")
		after(2 * time.Second)
		if p := w.peers.look("office"); p.sessions != 0 {
			t.Errorf("%d sessions of a lane that is down", p.sessions)
		}
		opened := w.peers.look("office").opened
		refuse = false
		if _, err := w.queue.Retry(t.Context(), Select{Upstream: "office"}, "ops"); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		if p := w.peers.look("office"); p.opened != opened+1 {
			t.Errorf("the probe used a session that was there")
		}
		if n := len(w.peers.mail("office")); n != 1 {
			t.Errorf("%d arrived", n)
		}
	})
}

// What is in doubt stays with its upstream, whatever becomes of the lane,
// until an operator decides.
func TestDoubtStaysWithItsUpstream(t *testing.T) {
	inBubble(t, []string{"office", "backup"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) {
			p.answer = func(*spool.Delivery, string) spool.Outcome {
				return spool.Outcome{Stage: spool.StageDot, Cause: "no answer in time"}
			}
		})
		id := w.put("a@app.example", []string{"office", "backup"}, "b@example.com")
		after(40 * time.Second)
		w.peers.set("office", func(p *peer) {
			p.fault = &spool.Fault{Outcome: spool.Outcome{Stage: spool.StageConnect, Cause: "connection refused"}}
		})
		w.put("c@app.example", []string{"office", "backup"}, "d@example.com")
		after(30 * time.Minute)
		if got := w.peers.mail("backup"); len(got) != 1 || got[0].id == id {
			t.Errorf("the backup got %v", got)
		}
		if _, err := w.queue.Retry(t.Context(), Select{IDs: []spool.ID{id}}, "ops"); err != nil {
			t.Fatal(err)
		}
		after(2 * time.Minute)
		if got := w.peers.mail("backup"); len(got) != 2 {
			t.Errorf("an operator has decided, and it has not moved: %v", got)
		}
	})
}

// An upstream that never answers in time but may keep each copy is told of
// from the second time on.
func TestDoubtAgainAndAgain(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) {
			p.answer = func(*spool.Delivery, string) spool.Outcome {
				return spool.Outcome{Stage: spool.StageDot, Cause: "no answer in time"}
			}
		})
		w.put("a@app.example", []string{"office"}, "b@example.com")
		after(10 * time.Second)
		if w.recorder.heard("in doubt again") != 0 {
			t.Error("told at the first time")
		}
		after(10 * time.Minute)
		if w.recorder.heard("in doubt again office, 2 times") != 1 {
			t.Errorf("not told: %v", w.recorder.log)
		}
	})
}

// An operator's try is no step of the backoff, neither of a lane nor of a
// message.
func TestOperatorsTryIsNoStep(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) {
			p.fault = &spool.Fault{Outcome: spool.Outcome{Stage: spool.StageSignIn, Code: 535, Enhanced: "5.7.8"}}
		})
		w.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Second)
		for range 5 {
			if _, err := w.queue.Retry(t.Context(), Select{Upstream: "office"}, "ops"); err != nil {
				t.Fatal(err)
			}
			after(time.Second)
		}
		s := w.lanes()[0]
		if wait := time.Until(s.Probe); wait > 80*time.Second {
			t.Errorf("the next probe is in %s", wait)
		}
	})
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) {
			p.answer = func(*spool.Delivery, string) spool.Outcome {
				return replyAt(spool.StageRcpt, 450, "4.2.0", "greylisted")
			}
		})
		id := w.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Second)
		for range 5 {
			if _, err := w.queue.Retry(t.Context(), Select{IDs: []spool.ID{id}}, "ops"); err != nil {
				t.Fatal(err)
			}
			after(time.Second)
		}
		if n := len(w.peers.tries(id)); n != 6 {
			t.Errorf("tried %d times", n)
		}
		d, err := w.queue.store.Detail(bg, id)
		if err != nil {
			t.Fatal(err)
		}
		if wait := time.Until(d.Recipients[0].Due); wait > 80*time.Second {
			t.Errorf("the next attempt is in %s", wait)
		}
	})
}

// An upstream that is slow to answer QUIT holds nobody up: the place of the
// session is free as soon as QUIT is sent.
func TestFarewellHoldsNoPlace(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.cfg.Upstreams["office"].MaxConnections, w.cfg.Upstreams["office"].MaxMessages = 1, 1
		w.peers.set("office", func(p *peer) { p.farewell = 5 * time.Second })
		for range 10 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(time.Second)
		w.arrivedOnceUncharged(t, 10)
		after(10 * time.Second)
		if s := w.lanes()[0]; s.State != Up || s.Sessions != 0 {
			t.Errorf("the lane is %s with %d sessions", s.State, s.Sessions)
		}
	})
}
