package queue

import (
	"slices"
	"testing"
	"time"

	"postern/spool"
)

// TestScheduled: what is not to go out yet goes out at its time, over restarts
// and whatever an operator does; its lifetime and the time until its sender is warned begin
// then.
func TestScheduled(t *testing.T) {
	inBubble(t, []string{"office", "down"}, func(t *testing.T, w *world) {
		w.peers.set("down", func(p *peer) { p.fault = down(spool.StageConnect, 0) })
		life, warn := w.cfg.Retry.Lifetime, w.cfg.Retry.WarnAfter
		start := time.Now()
		put := func(upstream string) spool.ID {
			return w.putEnvelope(&spool.Envelope{From: "a@app.example", Accepted: start, NotBefore: start.Add(2 * life),
				Recipients: []spool.Recipient{{Address: "b@example.com", Upstreams: []string{upstream}}}})
		}
		id, late := put("office"), put("down")
		after(life + time.Hour)
		r, err := w.queue.Retry(t.Context(), Select{IDs: []spool.ID{id}}, "root")
		if err != nil || r.Done != 0 || !slices.Equal(r.Scheduled, []spool.ID{id}) || len(r.Missing) != 0 {
			t.Errorf("retry: %+v, %v", r, err)
		}
		for _, do := range []func() (Result, error){
			func() (Result, error) { return w.queue.Hold(t.Context(), Select{All: true}, "root") },
			func() (Result, error) { return w.queue.Release(t.Context(), Select{All: true}, "root") },
		} {
			if r, err := do(); err != nil || r.Done != 2 {
				t.Errorf("%+v, %v", r, err)
			}
		}
		w.crash()
		after(time.Until(start.Add(2*life - time.Minute)))
		if len(w.peers.tries(id))+len(w.peers.tries(late)) > 0 || len(w.recorder.notifications()) > 0 || w.store.count() != 2 {
			t.Errorf("tried %v and %v, told %v, %d left", w.peers.tries(id), w.peers.tries(late), w.recorder.notifications(), w.store.count())
		}
		after(2 * time.Minute)
		if at := w.peers.tries(id); len(at) != 1 || at[0].Sub(start) < 2*life || at[0].Sub(start) > 2*life+time.Second {
			t.Errorf("sent at %v", at)
		}
		told := func(after time.Duration) {
			t.Helper()
			for _, n := range w.recorder.notifications() {
				if n.Original != late {
					t.Errorf("%+v", n)
				}
			}
			if age := time.Since(start.Add(2 * life)); age < after {
				t.Errorf("told after %v, want %v", age, after)
			}
		}
		for _, wait := range []time.Duration{warn, life} {
			n := len(w.recorder.notifications())
			for len(w.recorder.notifications()) == n && time.Since(start) < 4*life {
				after(time.Minute)
			}
			told(wait)
		}
		if kinds := len(w.recorder.notifications()); kinds != 2 {
			t.Errorf("%d notifications", kinds)
		}
	})
}
