package queue

import (
	"fmt"
	"testing"
	"time"

	"postern/spool"
)

// An upstream may count the recipients of a connection: it breaks off after a
// number of messages that is another each time. Still nobody is charged.
func TestConnectionsThatCountRecipients(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.cfg.Upstreams["office"].MaxConnections = 1
		used := 0
		w.peers.set("office", func(p *peer) {
			p.spent = func(carried int, d *spool.Delivery) *spool.Outcome {
				if carried == 0 {
					used = 0
				}
				if used+len(d.Pending) > 30 {
					o := replyAt(spool.StageMail, 452, "4.5.3", "too many recipients")
					return &o
				}
				used += len(d.Pending)
				return nil
			}
		})
		for i := range 200 {
			n := 3 // ten messages a connection, then three
			if i >= 60 {
				n = 10 - i%3
			}
			var to []string
			for r := range n {
				to = append(to, fmt.Sprintf("r%d@example.com", r))
			}
			w.put("a@app.example", []string{"office"}, to...)
		}
		after(5 * time.Second)
		w.triedOnce(t, 200)
	})
}

// triedOnce wants so many messages delivered at their first attempt.
func (w *world) triedOnce(t *testing.T, want int) {
	t.Helper()
	seen := map[spool.ID]bool{}
	for _, a := range w.recorder.tried() {
		seen[a.ID] = true
		if a.Number != 1 || a.Outcome.Verdict != spool.Delivered {
			t.Errorf("attempt %d: %+v", a.Number, a.Outcome)
		}
	}
	if len(seen) != want {
		t.Errorf("%d of %d were tried", len(seen), want)
	}
	if s := w.lanes()[0]; s.State != Up {
		t.Errorf("the lane is %s: %+v", s.State, s.Cause)
	}
}

// What waits for a fresh connection gets one, also where all places are taken
// by sessions that have nothing to do.
func TestFreshConnectionFindsAPlace(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		up := w.cfg.Upstreams["office"]
		up.MaxConnections, up.IdleClose = 2, time.Hour
		w.peers.set("office", func(p *peer) {
			p.takes = func(*spool.Delivery) (time.Duration, bool) { return 50 * time.Millisecond, true }
		})
		for range 8 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(2 * time.Second)
		if n := w.peers.look("office").sessions; n != 2 {
			t.Fatalf("%d sessions", n)
		}
		l := w.queue.lane("office")
		l.mu.Lock()
		l.state.pace.Refused(time.Now(), time.Now(), 2, replyAt(spool.StageMail, 452, "4.3.1", "slow down"))
		l.mu.Unlock()
		w.peers.set("office", func(p *peer) {
			p.spent = func(carried int, _ *spool.Delivery) *spool.Outcome {
				if carried == 0 {
					return nil
				}
				o := replyAt(spool.StageMail, 451, "4.3.0", "not over this one")
				return &o
			}
		})
		id := w.put("a@app.example", []string{"office"}, "b@example.com")
		after(20 * time.Second)
		if n := len(w.peers.tries(id)); n != 1 {
			t.Errorf("it waits behind an idle session: %d tries", n)
		}
	})
}

// The backoff of a message goes on after an operator's tries where it was.
func TestBackoffAfterOperatorsTries(t *testing.T) {
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
		after(80 * time.Second) // the second step by the clock
		d, err := w.queue.store.Detail(bg, id)
		if err != nil {
			t.Fatal(err)
		}
		if wait := time.Until(d.Recipients[0].Due); wait > 6*time.Minute {
			t.Errorf("the next attempt is in %s", wait)
		}
	})
}

// A doubt after an answer is not another in a row.
func TestDoubtsInARow(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		n := 0
		w.peers.set("office", func(p *peer) {
			p.answer = func(*spool.Delivery, string) spool.Outcome {
				if n++; n == 2 {
					return replyAt(spool.StageDot, 451, "4.3.0", "later")
				}
				return spool.Outcome{Stage: spool.StageDot, Cause: "no answer in time"}
			}
		})
		w.put("a@app.example", []string{"office"}, "b@example.com")
		after(10 * time.Minute)
		if n < 3 || w.recorder.heard("in doubt again") != 0 {
			t.Errorf("%d tries: %v", n, w.recorder.log)
		}
	})
}

// Upstreams say in many words that a connection is used up.
func TestConnectionWords(t *testing.T) {
	for text, want := range map[string]bool{
		"too many messages in this session":                   true,
		"message quota exceeded, please reconnect":            true,
		"too many transactions, open a new connection":        true,
		"maximum number of emails per connection reached":     true,
		"too many messages sent via this SMTP session":        true,
		"mailbox unavailable":                                 false,
		"user over quota":                                     false,
		"connection refused by policy, sender on a blocklist": false,
	} {
		if got := connectionWords().MatchString(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
