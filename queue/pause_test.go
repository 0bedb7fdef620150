package queue

import (
	"errors"
	"slices"
	"testing"
	"time"

	"postern/spool"
)

// cut takes the database away from a relay, or gives it back.
func (w *world) cut(away bool) {
	w.away.Store(away)
	w.store.failWith(func(op string) error {
		if away && slices.Contains([]string{"lease", "claim", "dot", "settle", "take", "due"}, op) {
			return spool.ErrAway
		}
		return nil
	})
}

// TestPauseToldWhileAway: a pause that a relay is told while it has no database is
// recorded when it has, and holds everywhere then.
func TestPauseToldWhileAway(t *testing.T) {
	inFleet(t, func(t *testing.T, one, two *world) {
		after(2 * time.Second)
		if err := errors.Join(one.queue.Pause("office", "eve"), one.queue.Resume("office", "eve")); err != nil {
			t.Fatal(err)
		}
		after(term)
		two.cut(true)
		if err := two.queue.Pause("office", "ann"); !errors.Is(err, ErrNotRecorded) || !errors.Is(err, spool.ErrAway) {
			t.Fatal(err)
		}
		one.put("a@app.example", []string{"office"}, "b@example.com")
		after(term)
		arrivedOnce(t, one.peers, 1)
		two.cut(false)
		after(term)
		if s := one.lanes()[0]; s.State != Paused || s.By != "ann" {
			t.Errorf("%s by %q", s.State, s.By)
		}
		one.put("a@app.example", []string{"office"}, "b@example.com")
		after(term)
		arrivedOnce(t, one.peers, 1)
		if err := one.queue.Resume("office", "bob"); err != nil {
			t.Fatal(err)
		}
		after(2 * term)
		arrivedOnce(t, one.peers, 2)
		if s := two.lanes()[0]; s.State == Paused {
			t.Errorf("%s by %q", s.State, s.By)
		}
	})
}

// TestLaterWordHolds: of what relays were told while they could not hear of each
// other, the last holds, also where it says what was so there already.
func TestLaterWordHolds(t *testing.T) {
	for name, told := range map[string]func(one, two *world) (error, error){
		"a pause, and a resume elsewhere": func(one, two *world) (error, error) {
			a := two.queue.Pause("office", "ann")
			after(time.Second)
			return a, one.queue.Resume("office", "bob")
		},
		"a resume, and a pause elsewhere": func(one, two *world) (error, error) {
			if err := one.queue.Pause("office", "eve"); err != nil {
				return nil, err
			}
			after(time.Second)
			a := two.queue.Resume("office", "ann")
			after(time.Second)
			return a, one.queue.Pause("office", "bob")
		},
	} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, func(t *testing.T, one, two *world) {
				after(2 * time.Second)
				two.cut(true)
				lone, last := told(one, two)
				if !errors.Is(lone, ErrNotRecorded) || last != nil {
					t.Fatal(lone, last)
				}
				after(time.Second)
				two.cut(false)
				after(2 * term)
				a, b := one.lanes()[0], two.lanes()[0]
				if a.State != b.State || a.By != b.By || a.State == Paused && a.By != "bob" {
					t.Errorf("%s by %q, and %s by %q", a.State, a.By, b.State, b.By)
				}
			})
		})
	}
}

// TestPauseIsKnownBeforeATakeover: a relay that takes a lane over sends nothing
// before it has read whether it is paused.
func TestPauseIsKnownBeforeATakeover(t *testing.T) {
	inFleet(t, func(t *testing.T, one, two *world) {
		after(2 * time.Second)
		two.away.Store(true) // the facts alone
		if err := one.queue.Pause("office", "ann"); err != nil {
			t.Fatal(err)
		}
		one.stop()
		two.put("a@app.example", []string{"office"}, "b@example.com")
		after(2 * term)
		arrivedOnce(t, two.peers, 0)
		two.away.Store(false)
		after(2 * term)
		arrivedOnce(t, two.peers, 0)
		if s := two.lanes()[0]; s.State != Paused || s.Holder != "" {
			t.Errorf("%s, held by %q", s.State, s.Holder)
		}
		if err := two.queue.Resume("office", "ann"); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		arrivedOnce(t, two.peers, 1)
	})
}

// TestNoDotUnderAPause: a relay that was cut off while others were told of a pause
// sends no final dot before it has heard of it. The message is tried as if nothing
// had been.
func TestNoDotUnderAPause(t *testing.T) {
	inFleet(t, func(t *testing.T, one, two *world) {
		two.cfg.Retry.Backoff = []time.Duration{24 * time.Hour}
		after(2 * time.Second)
		one.peers.set("office", func(p *peer) {
			p.takes = func(*spool.Delivery) (time.Duration, bool) { return 10 * time.Second, true }
		})
		id := one.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Second)
		one.cut(true)
		if err := two.queue.Pause("office", "ann"); err != nil {
			t.Fatal(err)
		}
		after(9*time.Second - time.Millisecond)
		one.store.failWith(func(op string) error {
			if op == "lease" { // it is back, and hears by the dot, not by the lease
				return spool.ErrAway
			}
			return nil
		})
		one.away.Store(false)
		after(2 * time.Second)
		arrivedOnce(t, one.peers, 0)
		one.cut(false)
		after(2 * term)
		arrivedOnce(t, one.peers, 0)
		if err := two.queue.Resume("office", "ann"); err != nil {
			t.Fatal(err)
		}
		after(2 * term)
		arrivedOnce(t, one.peers, 1)
		if n := len(one.peers.tries(id)); n != 2 {
			t.Errorf("%d tries", n)
		}
	})
}

// TestPauseOfAClockBehind: a relay whose clock is behind can resume what another
// one has paused.
func TestPauseOfAClockBehind(t *testing.T) {
	inFleet(t, func(t *testing.T, one, two *world) {
		after(2 * time.Second)
		one.queue.lane("office").mu.Lock()
		one.queue.lane("office").state.pause.At = time.Now().Add(time.Hour)
		one.queue.lane("office").mu.Unlock()
		for _, w := range []*world{one, two} {
			if err := w.queue.Pause("office", "ann"); err != nil {
				t.Fatal(err)
			}
			after(term)
		}
		if err := two.queue.Resume("office", "ann"); err != nil {
			t.Fatal(err)
		}
		one.put("a@app.example", []string{"office"}, "b@example.com")
		after(term)
		arrivedOnce(t, one.peers, 1)
	})
}
