package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"postern/spool"
	"postern/spool/journal"
	"postern/spool/simdisk"
)

// tallied compares all that the spool counts with what a walk finds, at now
// and around the times at which something becomes due.
func tallied(s *journal.Store, now time.Time) error {
	var all []spool.Summary
	s.Find(bg, spool.Query{}, func(sum spool.Summary) bool { all = append(all, sum); return true })
	kept := 0
	messages, upstreams, next, asked := map[spool.ID]bool{}, map[string]int{}, map[string]time.Time{}, map[string]time.Time{}
	for i := range all {
		sum := &all[i]
		up := sum.Upstreams[sum.Failover]
		messages[sum.ID] = true
		if sum.Kept {
			kept++
		}
		upstreams[up]++
		if due, ok := next[up]; !sum.Held && !sum.Claimed && (!ok || sum.Due.Before(due)) {
			next[up] = sum.Due
		}
		if at, ok := asked[up]; !sum.Held && !sum.Claimed && sum.NotBefore.After(now) && !sum.Due.After(sum.NotBefore) && (!ok || sum.Due.Before(at)) {
			asked[up] = sum.Due
		}
	}
	if u := usage(s); u.Messages != len(messages) || u.Shares != len(all) || u.Kept != kept {
		return fmt.Errorf("%d messages, %d shares and %d kept counted, %d, %d and %d found", u.Messages, u.Shares, u.Kept, len(messages), len(all), kept)
	}
	lanes, err := s.Lanes(bg)
	if err != nil || len(lanes) != len(upstreams) {
		return fmt.Errorf("counted %v, found %v, %v", lanes, upstreams, err)
	}
	moments := []time.Time{now}
	for _, up := range slices.Sorted(maps.Keys(upstreams)) {
		want, waits := next[up]
		due, ok, err := s.NextDue(bg, up)
		if err != nil || ok != waits || ok && !due.Equal(want) || lanes[up].Shares != upstreams[up] || !earlier(lanes[up].Due, lanes[up].Scheduled).Equal(want) || asked[up].After(now) && lanes[up].Scheduled.After(asked[up]) {
			return fmt.Errorf("%s: next is %v %v, want %v %v", up, due, ok, want, waits)
		}
		if ok {
			moments = append(moments, due.Add(-spool.TallyStep), due.Add(-1), due, due.Add(spool.TallyStep-1))
		}
	}
	for _, at := range moments {
		if got, want := tally(s, at), tallyOf(all, at); got != want {
			return fmt.Errorf("at %v counted %+v, found %+v", at, got, want)
		}
	}
	return nil
}

// tallyOf counts what a walk found.
func tallyOf(all []spool.Summary, now time.Time) (t spool.Tally) {
	step := func(at time.Time) int64 { return at.UnixNano() / int64(spool.TallyStep) }
	for i := range all {
		switch s := &all[i]; {
		case s.Claimed:
			t.Claimed++
		case s.Held:
			t.Held++
		case s.Due.IsZero() || step(s.Due) <= step(now):
			t.Due++
		case !s.Due.After(s.NotBefore):
			t.Scheduled++
		default:
			t.Deferred++
		}
	}
	return t
}

// earlier is the earlier one of two times, of which each may be zero.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// TestTallyIsWhatAWalkFinds counts after each of many random calls, restarts
// and kills; the crash tests do it after every cut. Each kind of share has to
// come up.
func TestTallyIsWhatAWalkFinds(t *testing.T) {
	var most spool.Tally
	kept := 0
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			w := &workload{disk: simdisk.New(), calm: true, rng: rand.New(rand.NewPCG(seed, 9)), now: time.Now()}
			if err := w.open(); err != nil {
				t.Fatal(err)
			}
			for n := range 150 {
				if err := w.step(); err != nil {
					t.Fatalf("seed %d, call %d: %v", seed, n, err)
				}
				now := tally(w.s, w.now)
				kept = max(kept, usage(w.s).Kept)
				most = spool.Tally{Due: max(most.Due, now.Due), Deferred: max(most.Deferred, now.Deferred),
					Held: max(most.Held, now.Held), Claimed: max(most.Claimed, now.Claimed)}
			}
			w.s.Close()
		})
	}
	if most.Due < 2 || most.Deferred < 2 || most.Held < 2 || most.Claimed < 2 || kept < 2 {
		t.Errorf("no more than %+v at a time, %d kept", most, kept)
	}
}

// A message is set aside while one of its shares is claimed and another waits.
func TestTallyWithoutWhatIsSetAside(t *testing.T) {
	s, sim := simulated(t, nil)
	env := simple("a")
	env.Recipients = append(env.Recipients, spool.Recipient{Address: "spoiled@example.net", Upstreams: []string{"b"}})
	id := put(t, s, env, []byte("x"))
	put(t, s, simple("b"), []byte("y"))
	d := claim(t, s, "a", 1)[0]
	for _, name := range sim.Files() {
		b := sim.Read(name)
		if i := bytes.Index(b, []byte("spoiled")); i >= 0 {
			b[i] ^= 1
			sim.Write(name, b)
		}
	}
	if err := tallied(s, time.Now()); err != nil {
		t.Error(err)
	}
	if _, err := s.Take(bg, id, 1); !errors.Is(err, spool.ErrDamaged) {
		t.Fatal(err)
	}
	if err := tallied(s, time.Now()); err != nil {
		t.Error(err)
	}
	if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)}); !errors.Is(err, spool.ErrNotFound) {
		t.Error(err)
	}
	if got, want := tally(s, time.Now()), (spool.Tally{Due: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
