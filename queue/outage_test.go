package queue

import (
	"errors"
	"testing"
	"time"

	"postern/spool"
)

// Down counts from the first failure, over all probes and over a change from
// waiting to parked, until mail can go again.
func TestDownCountsFromTheFirstFailure(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.fault = down(spool.StageConnect, 0) })
		w.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Second)
		first := w.queue.Health()["office"].Down
		if first.IsZero() || time.Since(first) > 2*time.Second {
			t.Fatalf("down since %v", first)
		}
		after(20 * time.Minute)
		w.peers.set("office", func(p *peer) { p.fault = down(spool.StageSignIn, 535) })
		after(20 * time.Minute)
		if h := w.queue.Health()["office"]; !h.Down.Equal(first) || h.State != Parked {
			t.Errorf("%s since %v, first failure at %v", h.State, h.Down, first)
		}
		w.peers.set("office", func(p *peer) { p.fault = nil })
		after(12 * time.Hour)
		if h := w.queue.Health()["office"]; !h.Down.IsZero() || h.State != Up {
			t.Errorf("%s, down since %v after the repair", h.State, h.Down)
		}
	})
}

// What a probe has in its hands is told: the store calls it due at no time.
func TestProbeTellsWhatItHasClaimed(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.fault = down(spool.StageConnect, 0) })
		w.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Second)
		if h := w.queue.Health()["office"]; h.State != Waiting || h.Claimed != 0 {
			t.Fatalf("%+v", h)
		}
		w.peers.set("office", func(p *peer) { p.connect = 2 * time.Hour })
		after(time.Hour)
		s := w.lanes()[0]
		if h := w.queue.Health()["office"]; h.Claimed != 1 || s.Claimed != 1 || h.Down.IsZero() {
			t.Errorf("%+v, %+v", h, s)
		}
		w.peers.set("office", func(p *peer) { p.fault, p.connect = nil, 0 })
		after(2 * time.Hour)
	})
}

// A refused sender is told with the first refusal and with how many wait; what
// an operator removes waits no longer.
func TestRefusedSenderTellsWhatWaits(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) {
			p.answer = func(*spool.Delivery, string) spool.Outcome {
				return replyAt(spool.StageMail, 550, "5.7.60", "SendAsDenied; not allowed to send as this sender")
			}
		})
		started := time.Now()
		id := w.put("a@app.example", []string{"office"}, "b@example.com")
		for range 3 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(10 * time.Minute)
		r := w.queue.Health()["office"].Refused
		if len(r) != 1 || r[0].Sender != "a@app.example" || r[0].Waiting != 4 || r[0].Since.Sub(started) > time.Second || r[0].Cause.Code != 550 {
			t.Fatalf("%+v", r)
		}
		if _, err := w.queue.Remove(t.Context(), Select{IDs: []spool.ID{id}}, "root"); err != nil {
			t.Fatal(err)
		}
		if r := w.queue.Health()["office"].Refused; len(r) != 1 || r[0].Waiting != 3 {
			t.Errorf("after a removal: %+v", r)
		}
	})
}

// failOnce makes the store answer one call of op by err.
func (w *world) failOnce(op string, err error) {
	w.store.failWith(func(asked string) error {
		if asked == op && err != nil {
			now := err
			err = nil
			return now
		}
		return nil
	})
}

// A claim that somebody else has by now sends no final dot, and is no failure
// of the mail or of the lane; the others go on.
func TestLostBeforeTheDot(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.failOnce("dot", spool.ErrLost)
		lost := w.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Second)
		for range 3 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
			after(time.Second)
		}
		if w.recorder.heard("claim lost at dot: office, 0 delivered") != 1 || len(w.recorder.changes()) != 0 {
			t.Errorf("%v", w.recorder.log)
		}
		if n := len(w.recorder.tried()); n != 3 {
			t.Errorf("%d attempts are told", n)
		}
		if s, err := w.queue.store.Shares(bg, lost); err != nil || !s[0].Claimed {
			t.Errorf("%+v, %v: it was settled", s, err)
		}
	})
}

// A settlement that comes too late is told, and nothing is said of an attempt
// that is not on record.
func TestLostBeforeTheSettlement(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.failOnce("settle", spool.ErrLost)
		w.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Second)
		w.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Second)
		if w.recorder.heard("claim lost at settle: office, 1 delivered") != 1 || w.recorder.heard("store failed") != 0 || len(w.recorder.changes()) != 0 {
			t.Errorf("%v", w.recorder.log)
		}
		if n := len(w.recorder.tried()); n != 1 {
			t.Errorf("%d attempts are told", n)
		}
	})
}

// A store that can't say what waits is asked again, and then all lanes are
// there.
func TestLanesOfAStoreThatWasAway(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		env := &spool.Envelope{From: "a@app.example", Accepted: time.Now(), Hold: true,
			Recipients: []spool.Recipient{{Address: "b@example.com", Upstreams: []string{"gone"}}}}
		d, err := w.queue.Create(bg)
		if err == nil {
			err = d.Commit(bg, env)
		}
		if err != nil {
			t.Fatal(err)
		}
		w.failOnce("lanes", errors.New("away"))
		w.queue.Apply(w.queue.cfg.Load())
		if w.recorder.heard("store failed: list") != 1 || w.queue.lane("gone") != nil {
			t.Fatalf("%v", w.recorder.log)
		}
		after(storePause + time.Second)
		if w.queue.lane("gone") == nil {
			t.Error("the lane is missing")
		}
	})
}
