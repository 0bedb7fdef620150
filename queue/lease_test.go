package queue

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/spool"
	"postern/spool/storetest"
)

const term = 15 * time.Second // of a lease in these tests

// inFleet runs a test with two relays that share a store and an upstream. The
// first has the lane.
func inFleet(t *testing.T, test func(t *testing.T, one, two *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var both []*world
		peers, dir := newPeers(), t.TempDir() // what relays have in common beside the store
		for _, m := range storetest.NewShared(term, "one", "two") {
			w := &world{t: t, store: newWitnessOf(t, m), cfg: newConfig("office"), peers: peers, recorder: &recorder{}}
			w.cfg.StateDir = dir
			w.build()
			w.queue.Start()
			defer w.end()
			synctest.Wait()
			both = append(both, w)
		}
		test(t, both[0], both[1])
	})
}

// arrivedOnce checks that so many messages arrived, and none twice.
func arrivedOnce(t *testing.T, p *peers, n int) {
	t.Helper()
	got := map[spool.ID]int{}
	for _, a := range p.mail("office") {
		got[a.id]++
	}
	for id, times := range got {
		if times != 1 {
			t.Errorf("%v arrived %d times", id, times)
		}
	}
	if len(got) != n {
		t.Errorf("%d of %d messages arrived", len(got), n)
	}
}

// One relay has a lane for as long as it renews its lease, whoever takes the
// mail in. The other takes over at once when it stops.
func TestOneRelayHasALane(t *testing.T) {
	inFleet(t, func(t *testing.T, one, two *world) {
		for range 60 {
			one.put("a@app.example", []string{"office"}, "b@example.com")
			two.put("a@app.example", []string{"office"}, "b@example.com")
			after(10 * time.Second)
		}
		arrivedOnce(t, one.peers, 120)
		if a, b := len(one.recorder.tried()), len(two.recorder.tried()); a != 120 || b != 0 {
			t.Errorf("%d and %d attempts", a, b)
		}
		if a, b := one.lanes()[0].Holder, two.lanes()[0].Holder; a != "" || b != "one" {
			t.Errorf("held by %q and %q", a, b)
		}
		one.stop()
		two.put("a@app.example", []string{"office"}, "b@example.com")
		after(term)
		arrivedOnce(t, one.peers, 121)
		if h := two.lanes()[0].Holder; h != "" {
			t.Errorf("held by %q", h)
		}
	})
}

// A store that is away for less than a lease takes no lane from anybody.
func TestLeaseOutlastsAShortOutage(t *testing.T) {
	inFleet(t, func(t *testing.T, one, two *world) {
		one.store.failWith(func(op string) error {
			if op == "lease" {
				return errors.New("away")
			}
			return nil
		})
		after(term * 2 / 3)
		one.store.failWith(nil)
		after(time.Minute)
		one.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Second)
		if len(one.recorder.tried()) != 1 || len(two.recorder.tried()) != 0 || one.recorder.heard("store failed: lease") == 0 {
			t.Errorf("%v", one.recorder.log)
		}
	})
}

// A relay that stops dead in the middle of its work loses its lane when the
// lease ends. No message is lost, and none goes twice, since no final dot was
// out.
func TestTakeoverAfterADeath(t *testing.T) {
	inFleet(t, func(t *testing.T, one, two *world) {
		one.peers.set("office", func(p *peer) {
			p.takes = func(*spool.Delivery) (time.Duration, bool) { return 100 * time.Millisecond, true }
		})
		for range 200 {
			two.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(time.Second + time.Millisecond)
		before := len(one.peers.mail("office"))
		one.store.crash()
		after(term - time.Second)
		if n := len(one.peers.mail("office")); before == 0 || n != before {
			t.Errorf("%d arrived before, %d before the end of the lease", before, n)
		}
		after(10 * time.Second)
		if n := len(one.peers.mail("office")); n <= before {
			t.Errorf("nothing has arrived since the lease ended")
		}
		after(3 * time.Minute)
		arrivedOnce(t, one.peers, 200)
		if n := two.store.count(); n != 0 {
			t.Errorf("%d are left", n)
		}
	})
}

// Whenever a relay dies, and whenever the other one has looked last, the next message
// goes as soon as the lease is over.
func TestTakeoverAtTheEndOfTheLease(t *testing.T) {
	for phase := range 20 {
		inFleet(t, func(t *testing.T, one, two *world) {
			since := time.Duration(phase) * 230 * time.Millisecond // it has renewed its lease, as each third of it
			after(time.Minute + since)
			one.store.crash()
			died := time.Now()
			for len(one.peers.mail("office")) == 0 && time.Since(died) < 2*term {
				two.put("a@app.example", []string{"office"}, "b@example.com") // wakes it, too
				after(90 * time.Millisecond)
			}
			if took := time.Since(died); took > term-since+200*time.Millisecond {
				t.Errorf("a relay died %v after it had renewed its lease: the next message went %v later", since, took)
			}
		})
	}
}

// What the upstream refuses right after a takeover costs the time that it would at any
// other: the relay tries at the end of the lease, and does not know yet how fast it may
// go. Three refusals in a row slow it for 2, 4 and 8 s.
func TestTakeoverWhereTheUpstreamRefuses(t *testing.T) {
	inFleet(t, func(t *testing.T, one, two *world) {
		after(time.Minute)
		one.store.crash()
		died := time.Now()
		refusals := 3
		one.peers.set("office", func(p *peer) {
			p.answer = func(*spool.Delivery, string) spool.Outcome {
				if refusals--; refusals >= 0 {
					return spool.Outcome{Stage: spool.StageMail, Code: 451, Enhanced: "4.3.0", Text: "not now"}
				}
				return spool.Outcome{Stage: spool.StageDot, Code: 250}
			}
		})
		first := two.put("a@app.example", []string{"office"}, "b@example.com")
		for range 20 {
			two.put("a@app.example", []string{"office"}, "b@example.com")
		}
		for len(one.peers.mail("office")) == 0 && time.Since(died) < 4*term {
			after(90 * time.Millisecond)
		}
		tried, took := one.peers.tries(first), time.Since(died)
		if len(tried) == 0 || tried[0].Sub(died) > term {
			t.Fatalf("tried %v, and it died at %v", tried, died)
		}
		if late := died.Add(took).Sub(tried[0]); late < 14*time.Second || late > 15*time.Second {
			t.Errorf("delivered %v after the first attempt", late)
		}
	})
}

// A relay that can't renew its lease claims no more. Content that it has sent
// gets no final dot once another relay has the lane; an answer that comes too
// late is refused, told, and the message is in doubt.
func TestLateAnswersOfAnOldEpoch(t *testing.T) {
	inFleet(t, func(t *testing.T, one, two *world) {
		one.store.failWith(func(op string) error {
			if op == "lease" {
				return errors.New("cut off")
			}
			return nil
		})
		one.peers.set("office", func(p *peer) { p.thinks = 30 * time.Second })
		dotted := one.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Second)
		one.peers.set("office", func(p *peer) {
			p.thinks = 0
			p.takes = func(*spool.Delivery) (time.Duration, bool) { return 30 * time.Second, true }
		})
		plain := one.put("a@app.example", []string{"office"}, "c@example.com")
		after(time.Second)
		one.peers.set("office", func(p *peer) { p.takes = nil })
		after(term)
		late := two.put("a@app.example", []string{"office"}, "d@example.com")
		after(3 * time.Minute)

		if one.recorder.heard("claim lost at dot: office, 0 delivered") != 1 || one.recorder.heard("claim lost at settle: office, 1 delivered") != 1 {
			t.Errorf("%v", one.recorder.log)
		}
		got := map[spool.ID]int{}
		for _, a := range one.peers.mail("office") {
			got[a.id]++
		}
		if got[dotted] != 2 || got[plain] != 1 || got[late] != 1 || len(got) != 3 {
			t.Errorf("arrived: %v", got)
		}
		for _, a := range two.recorder.tried() {
			if a.Duplicate != (a.ID == dotted) {
				t.Errorf("%+v", a)
			}
		}
		if n := two.store.count(); n != 0 || len(one.recorder.tried()) != 0 {
			t.Errorf("%d are left, %d were told by the first relay", n, len(one.recorder.tried()))
		}
	})
}

// TestLeftLane: a relay that ends in order gives its lanes back, and the other
// one goes on at once, not when the lease would have ended.
func TestLeftLane(t *testing.T) {
	inFleet(t, func(t *testing.T, one, two *world) {
		time.Sleep(3 * time.Second)
		one.stop()
		begun := time.Now()
		two.put("a@app.example", []string{"office"}, "b@example.com")
		for len(two.peers.mail("office")) == 0 && time.Since(begun) < term {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		arrivedOnce(t, two.peers, 1)
	})
}

// TestSharedPause: a pause that an operator tells one relay holds for the one that
// has the lane, and for the one that takes it over.
func TestSharedPause(t *testing.T) {
	inFleet(t, func(t *testing.T, one, two *world) {
		time.Sleep(2 * time.Second)
		if err := two.queue.Pause("office", "ann"); err != nil { // which has not the lane
			t.Fatal(err)
		}
		time.Sleep(term)
		one.put("a@app.example", []string{"office"}, "b@example.com")
		time.Sleep(2 * term)
		arrivedOnce(t, one.peers, 0)
		one.stop()
		time.Sleep(2 * term)
		arrivedOnce(t, one.peers, 0)
		if err := two.queue.Resume("office", "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(term)
		arrivedOnce(t, one.peers, 1)
	})
}

// TestSharedRate: what one relay has sent counts for the one that takes its lane
// over.
func TestSharedRate(t *testing.T) {
	inFleet(t, func(t *testing.T, one, two *world) {
		for _, w := range []*world{one, two} {
			cfg := *w.cfg
			cfg.Upstreams = upstreams("office")
			cfg.Upstreams["office"].Rate = []config.Rate{{Count: 5, Per: time.Hour}}
			w.queue.Apply(&cfg)
		}
		time.Sleep(2 * time.Second)
		for range 8 {
			one.put("a@app.example", []string{"office"}, "b@example.com")
		}
		time.Sleep(time.Minute)
		arrivedOnce(t, one.peers, 5)
		one.stop()
		time.Sleep(time.Minute)
		arrivedOnce(t, one.peers, 5)
		time.Sleep(2 * time.Hour)
		arrivedOnce(t, one.peers, 8)
	})
}
