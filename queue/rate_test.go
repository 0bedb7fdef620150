package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/spool"
)

// limited is a world whose upstream "office" has rates that outlive it.
func limited(t *testing.T, rates []string, test func(*testing.T, *world)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "office")
		w.cfg.StateDir = dir
		w.build()
		w.cfg.Retry.WarnAfter, w.cfg.Retry.Lifetime = 0, 60*24*time.Hour
		for _, text := range rates {
			r, err := config.ParseRate(text)
			if err != nil {
				t.Fatal(err)
			}
			w.cfg.Upstreams["office"].Rate = append(w.cfg.Upstreams["office"].Rate, r)
		}
		w.build()
		w.queue.Start()
		defer w.end()
		test(t, w)
	})
}

// restart ends the process in good order and begins another.
func (w *world) restart() {
	w.stop()
	w.store.crash()
	w.store.reopen()
	w.build()
	w.queue.Start()
}

func (w *world) fill(n int) {
	for i := range n {
		w.put("a@app.example", []string{"office"}, fmt.Sprintf("b%d@example.com", i))
	}
}

// wantArrived compares how many recipients got their mail.
func (w *world) wantArrived(want int, when string) {
	w.t.Helper()
	if n := len(w.peers.mail("")); n != want {
		w.t.Errorf("%s: %d arrived, want %d", when, n, want)
	}
}

// The excess waits, untouched, and goes as soon as the window has moved on;
// neither a restart nor a crash lets more through.
func TestRateHolds(t *testing.T) {
	limited(t, []string{"5/1m"}, func(t *testing.T, w *world) {
		w.fill(22)
		after(30 * time.Second)
		w.wantArrived(5, "after half a minute")
		w.store.walk(func(s spool.Summary) bool {
			if s.Claimed || s.Attempts != 0 || s.Due.After(time.Now()) {
				t.Errorf("not left alone: %+v", s)
			}
			return true
		})
		if n := w.store.settled(); n != 5 {
			t.Errorf("%d settlements for 5 messages", n)
		}
		s := w.lanes()[0]
		if s.State != Up || s.Short.IsZero() || s.Budget[0].Left != 0 || time.Until(s.Budget[0].Next) != 30*time.Second {
			t.Errorf("status: %+v", s)
		}
		w.restart()
		after(29 * time.Second)
		w.wantArrived(5, "after a restart")
		after(2 * time.Second)
		w.wantArrived(10, "after a minute")
		w.crash()
		after(time.Second)
		w.wantArrived(10, "after a crash")
		after(3 * time.Minute)
		w.wantArrived(22, "at the end")
		if !w.lanes()[0].Short.IsZero() {
			t.Error("nothing is left, and mail is said to wait")
		}
		if n := len(w.recorder.tried()); n != 22 {
			t.Errorf("%d attempts", n)
		}
	})
}

// Waiting for a rate costs next to nothing: a lane asks when the next is free.
func TestRateWaitsQuietly(t *testing.T) {
	limited(t, []string{"1/24h"}, func(t *testing.T, w *world) {
		w.fill(10)
		after(time.Second)
		asked := w.store.asked()
		after(20 * 24 * time.Hour)
		if n := w.store.asked() - asked; n > 20*24*15 { // each five minutes, because the clock could be set
			t.Errorf("the store was asked %d times in 20 days", n)
		}
		w.wantArrived(10, "after 20 days")
		if n := w.store.settled(); n != 10 {
			t.Errorf("%d settlements for 10 messages", n)
		}
		if n := w.recorder.heard("budget of office spent"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

// Urgent mail passes a batch that waits.
func TestUrgentFirst(t *testing.T) {
	limited(t, []string{"1/1m"}, func(t *testing.T, w *world) {
		w.fill(20)
		after(150 * time.Second)
		urgent := w.putEnvelope(&spool.Envelope{From: "alerts@app.example", Accepted: time.Now(), Priority: 4,
			Recipients: []spool.Recipient{{Address: "u@example.com", Upstreams: []string{"office"}}}})
		after(time.Minute)
		got := w.peers.mail("")
		if last := got[len(got)-1]; len(got) != 4 || last.id != urgent {
			t.Errorf("%d arrived, the last is %+v", len(got), last)
		}
	})
}

// What waits for its rate and is told to go at once keeps its place.
func TestRetryKeepsThePlace(t *testing.T) {
	limited(t, []string{"1/1m"}, func(t *testing.T, w *world) {
		var ids []spool.ID
		for range 4 {
			ids = append(ids, w.put("a@app.example", []string{"office"}, "b@example.com"))
			after(time.Second)
		}
		if _, err := w.queue.Retry(t.Context(), Select{IDs: ids[1:2]}, "root"); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if got := w.peers.mail(""); len(got) != 2 || got[1].id != ids[1] {
			t.Errorf("%d arrived, the last is %+v", len(got), got[len(got)-1])
		}
	})
}

// A message with more recipients than a window has room for goes in parts,
// each recipient once, and no recipient starves behind those that are deferred.
func TestRecipientsGoInParts(t *testing.T) {
	limited(t, []string{"10 recipients/1h"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) {
			p.answer = func(_ *spool.Delivery, to string) spool.Outcome {
				if strings.HasPrefix(to, "full") {
					return replyAt(spool.StageRcpt, 452, "4.2.2", "mailbox full")
				}
				return replyAt(spool.StageDot, 250, "2.0.0", "ok")
			}
		})
		var to []string
		for i := range 12 {
			to = append(to, fmt.Sprintf("full%d@example.com", i))
		}
		for i := range 25 {
			to = append(to, fmt.Sprintf("b%d@example.com", i))
		}
		id := w.put("a@app.example", []string{"office"}, to...)
		after(time.Second)
		if d, err := w.queue.store.Detail(bg, id); err != nil || d.Recipients[9].Last == nil || d.Recipients[10].Last != nil {
			t.Errorf("not the first ten were tried: %v", err)
		}
		after(4 * time.Hour)
		w.wantArrived(25, "after four hours")
		seen := map[string]bool{}
		for _, a := range w.peers.mail("") {
			if seen[a.to] {
				t.Errorf("%s got it twice", a.to)
			}
			seen[a.to] = true
		}
		w.queue.Remove(t.Context(), Select{All: true}, "root")
		if n := w.store.count(); n != 0 {
			t.Errorf("%d are left after removing all", n)
		}
		w.checkRates(t)
	})
}

// Where the upstream takes few recipients at a time, each transaction counts.
func TestTransactionsCount(t *testing.T) {
	limited(t, []string{"4/1h"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.rcptMax = 2 })
		var to []string
		for i := range 11 {
			to = append(to, fmt.Sprintf("b%d@example.com", i))
		}
		w.put("a@app.example", []string{"office"}, to...)
		after(time.Second)
		w.wantArrived(8, "at first")
		w.fill(1)
		after(time.Hour)
		w.wantArrived(12, "after an hour")
		w.checkRates(t)
		if n := w.store.count(); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

// What is not sent does not count: a refusal at MAIL, an upstream without an
// extension, a session that does not open.
func TestNotSentDoesNotCount(t *testing.T) {
	for name, o := range map[string]spool.Outcome{
		"refused at MAIL":  replyAt(spool.StageMail, 550, "5.1.8", "sender rejected"),
		"unsupported":      {Stage: spool.StageData, Unsupported: true, Code: 550, Enhanced: "5.6.7"},
		"refused sessions": replyAt(spool.StageConnect, 0, "", ""),
	} {
		t.Run(name, func(t *testing.T) {
			limited(t, []string{"5/24h"}, func(t *testing.T, w *world) {
				w.peers.set("office", func(p *peer) {
					if o.Stage < spool.StageMail {
						p.fault = &spool.Fault{Outcome: o}
					}
					p.answer = func(*spool.Delivery, string) spool.Outcome { return o }
				})
				w.fill(3)
				after(30 * time.Minute)
				if left := w.lanes()[0].Budget[0].Left; left < 4 || len(w.recorder.tried()) == 0 {
					t.Errorf("%d of 5 left after %d attempts", left, len(w.recorder.tried()))
				}
			})
		})
	}
}

// What waits for its rate is neither bounced nor reported late, however long
// that takes and over a restart. Once it has had its turn its age counts, and
// so it does where the upstream fails.
func TestWaitingIsNeverBounced(t *testing.T) {
	limited(t, []string{"1/24h"}, func(t *testing.T, w *world) {
		retry := config.Retry{Backoff: []time.Duration{time.Hour}, Lifetime: 24 * time.Hour, WarnAfter: 4 * time.Hour}
		cfg := *w.cfg // the queue reads the other
		cfg.Retry = retry
		w.cfg = &cfg
		w.queue.Apply(w.cfg)
		var ids []spool.ID
		for range 8 {
			ids = append(ids, w.put("a@app.example", []string{"office"}, "b@example.com"))
		}
		bounced := func() (n int) {
			for _, id := range ids {
				n += len(w.store.ends(id, "b@example.com"))
			}
			return n - len(w.peers.mail(""))
		}
		after(3 * 24 * time.Hour)
		w.restart()
		after(time.Hour)
		if n := w.recorder.notifications(); len(n) != 0 {
			t.Errorf("notifications: %+v", n)
		}
		w.wantArrived(4, "after three days")
		w.peers.set("office", func(p *peer) { p.answer = greylist })
		after(3 * 24 * time.Hour)
		if n := bounced(); n == 0 || n == 4 {
			t.Errorf("%d of what had its turn in vain ended", n)
		}
		w.peers.set("office", func(p *peer) {
			p.fault = &spool.Fault{Outcome: replyAt(spool.StageSignIn, 535, "5.7.8", "no")}
		})
		after(3 * 24 * time.Hour)
		if n := bounced(); n != 4 {
			t.Errorf("%d ended while the upstream was parked", n)
		}
	})
}

// Where the state folder cannot be used mail goes on, and somebody is told; a
// pause is said to be forgotten, and one that cannot be read holds.
func TestStateFolderFails(t *testing.T) {
	limited(t, []string{"5/1h"}, func(t *testing.T, w *world) {
		for _, name := range []string{"budget", "pause"} { // in the way of the folders
			if err := os.WriteFile(filepath.Join(w.cfg.StateDir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w.restart()
		w.fill(7)
		after(time.Minute)
		w.wantArrived(5, "without a folder")
		for _, what := range []string{"the budget cannot be kept", "paused the upstream is not known: ", "was sent before is not known"} {
			if n := w.recorder.heard(what); n != 1 {
				t.Errorf("told %d times that %s: %v", n, what, w.recorder.log)
			}
		}
		if err := w.queue.Pause("office", "root"); !errors.Is(err, ErrNotRecorded) || w.queue.States()["office"] != Paused {
			t.Errorf("pause: %v, state %s", err, w.queue.States()["office"])
		}
		for _, name := range []string{"budget", "pause"} {
			os.Remove(filepath.Join(w.cfg.StateDir, name))
		}
		os.Mkdir(filepath.Join(w.cfg.StateDir, "pause"), 0o700)
		if err := os.WriteFile(filepath.Join(w.cfg.StateDir, "pause", "office"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.restart()
		after(time.Hour)
		if s := w.queue.States()["office"]; s != Paused || w.recorder.heard("so it is paused until") != 1 {
			t.Errorf("state %s: %v", s, w.recorder.log)
		}
	})
}

// The limit of sessions holds over reloads, and two upstreams at one host have
// their own each.
func TestSessionLimit(t *testing.T) {
	inBubble(t, []string{"office", "other"}, func(t *testing.T, w *world) {
		slow := func(p *peer) {
			p.takes = func(*spool.Delivery) (time.Duration, bool) { return time.Second, true }
		}
		w.peers.set("office", slow)
		w.peers.set("other", slow)
		for i := range 200 {
			w.put("a@app.example", []string{[]string{"office", "other"}[i%2]}, "b@example.com")
		}
		for _, limit := range []int{2, 3, 1} {
			cfg := newConfig("office", "other")
			for _, up := range cfg.Upstreams {
				up.Host, up.MaxConnections = "one.example", limit
			}
			w.queue.Apply(cfg)
			after(2500 * time.Millisecond) // transactions with the old settings end
			w.peers.set("office", func(p *peer) { p.most = p.sessions })
			after(4 * time.Second)
			if p := w.peers.look("office"); p.most != limit {
				t.Errorf("%d sessions with office at a limit of %d", p.most, limit)
			}
		}
	})
}
