package budget

import (
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"postern/config"
)

// However messages begin, end, fail and overlap, and however often the process
// ends in either way, the clock is set back, or the rates stay as they are: no
// window of any rate ever sees more than its count, and whatever waits goes.
func TestNeverMore(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var failed any // rapid fails by a panic, which has to reach it
		synctest.Test(t, func(*testing.T) {
			defer func() { failed = recover() }()
			neverMore(r)
		})
		if failed != nil {
			panic(failed)
		}
	})
}

// seen is a message as the upstream has counted it.
type seen struct {
	at         time.Time
	recipients int
}

func neverMore(t *rapid.T) {
	dir, err := os.MkdirTemp("", "budget")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	limits := rates(t, rapid.SampledFrom([][]string{
		{"5/1m"}, {"3/1s", "20/1h"}, {"10 recipients/1m"}, {"40/24h", "7/10m", "60 recipients/24h"}, {"1/1h"},
	}).Draw(t, "rates")...)
	reopen := func() *Budget {
		b, err := Open(stateIn(dir), "office", limits)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := reopen()
	var flying []int // recipients of what is under way
	var upstream []seen
	for range rapid.IntRange(1, 60).Draw(t, "steps") {
		switch rapid.IntRange(0, 9).Draw(t, "step") {
		case 0, 1, 2, 3:
			m, r := b.Free()
			if n := min(r, rapid.IntRange(1, 12).Draw(t, "recipients")); m > 0 && n > 0 {
				if err := b.Reserve(1, n); err != nil {
					t.Fatal(err)
				}
				if !b.Take(1, n) {
					t.Fatalf("%d recipients of %d free cannot be taken", n, r)
				}
				flying = append(flying, n)
			}
		case 4, 5, 6:
			if len(flying) == 0 {
				continue
			}
			n := flying[0]
			flying = flying[1:]
			if rapid.IntRange(0, 4).Draw(t, "sent") == 0 {
				b.Return(1, n)
				continue
			}
			upstream = append(upstream, seen{time.Now(), n})
			time.Sleep(time.Duration(rapid.IntRange(0, 3).Draw(t, "until the answer")) * time.Second)
			b.Spend(1, n)
		case 7, 8:
			time.Sleep(rapid.SampledFrom([]time.Duration{10 * time.Millisecond, time.Second, 20 * time.Second,
				7 * time.Minute, 50 * time.Minute, 11 * time.Hour}).Draw(t, "sleep"))
		case 9:
			for _, n := range flying { // the upstream may count what was under way
				upstream = append(upstream, seen{time.Now(), n})
			}
			if rapid.Bool().Draw(t, "clean") {
				for _, n := range flying {
					b.Spend(1, n)
				}
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
			}
			flying = nil
			if rapid.IntRange(0, 3).Draw(t, "clock") == 0 {
				shift(t, dir, -time.Duration(rapid.IntRange(1, 100).Draw(t, "hours"))*time.Hour)
			}
			b = reopen()
		}
	}
	check(t, limits, upstream)
	for range flying {
		b.Return(1, flying[0])
		flying = flying[1:]
	}
	time.Sleep(24 * time.Hour)
	for _, l := range limits {
		if left := b.Left()[slices.Index(limits, l)].Left; left != l.Count {
			t.Fatalf("a day after, %d of %v are left", left, l)
		}
	}
}

// check counts what each window that begins with a message has seen.
func check(t *rapid.T, limits []config.Rate, upstream []seen) {
	for _, l := range limits {
		w := window{rate: l}
		for i := range upstream {
			sum := 0
			for _, s := range upstream[i:] {
				if s.at.Sub(upstream[i].at) < l.Per {
					sum += w.amount(1, s.recipients)
				}
			}
			if sum > l.Count {
				t.Fatalf("%v: the upstream saw %d from %v on", l, sum, upstream[i].at)
			}
		}
	}
}
