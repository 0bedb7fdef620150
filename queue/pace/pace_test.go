package pace

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"postern/spool"
)

// limit answers a transaction that began at the given time, with so many
// sessions at work: true where the upstream takes it.
type limit func(begun time.Time, sessions int) bool

var start = time.Unix(1e9, 0)

// bucket fills by rate a second up to size.
func bucket(rate, size float64) limit {
	tokens, at := size, start
	return func(now time.Time, _ int) bool {
		if now.After(at) {
			tokens, at = min(size, tokens+rate*now.Sub(at).Seconds()), now
		}
		if tokens < 1 {
			return false
		}
		tokens--
		return true
	}
}

// window takes n in each span of the clock.
func window(n int, span time.Duration) limit {
	var current int64
	taken := 0
	return func(now time.Time, _ int) bool {
		if w := now.UnixNano() / int64(span); w != current {
			current, taken = w, 0
		}
		taken++
		return taken <= n
	}
}

// random refuses a share of all.
func random(share float64) limit {
	r := rand.New(rand.NewPCG(1, 2))
	return func(time.Time, int) bool { return r.Float64() >= share }
}

// outage takes nothing from one time to another.
func outage(from, to time.Duration) limit {
	return func(now time.Time, _ int) bool { at := now.Sub(start); return at < from || at >= to }
}

// after is one limit and, from a time on, another.
func after(d time.Duration, one, other limit) limit {
	return func(now time.Time, n int) bool {
		if now.Sub(start) < d {
			return one(now, n)
		}
		return other(now, n)
	}
}

// result is what came of an hour with more to send than could go.
type result struct{ accepted, refused, ends int }

// simulate sends for an hour over up to eight sessions. A transaction takes
// from 25 to 75 ms, so 160 a second are the most.
func simulate(takes limit) (r result) {
	const most = 8
	type transaction struct{ begun, ends time.Time }
	var p Pace
	var under []transaction // under way, in the order in which they end
	jitter := rand.New(rand.NewPCG(7, 7))
	for now := start; now.Sub(start) < time.Hour; {
		free := most
		if p.Slowed() {
			free = p.Sessions()
		}
		wait := p.Wait(now)
		if len(under) < free && wait.IsZero() {
			p.Began(now)
			t := transaction{now, now.Add(25*time.Millisecond + time.Duration(jitter.Int64N(int64(50*time.Millisecond))))}
			at, _ := slices.BinarySearchFunc(under, t, func(a, b transaction) int { return a.ends.Compare(b.ends) })
			under = slices.Insert(under, at, t)
			continue
		}
		if len(under) == 0 || len(under) < free && wait.Before(under[0].ends) {
			now = wait
			continue
		}
		t, sessions := under[0], len(under)
		under, now = under[1:], t.ends
		if !takes(t.begun, sessions) {
			r.refused++
			p.Refused(now, t.begun, sessions, spool.Outcome{Code: 451})
			continue
		}
		r.accepted++
		if p.Accepted(now, most) {
			r.ends++
		}
	}
	return r
}

// Near to what each upstream bears, with few refusals, and without saying all
// the time that it is slowed or no longer.
func TestPace(t *testing.T) {
	const all = 160
	for _, c := range []struct {
		name    string
		takes   limit
		bears   float64 // messages a second
		least   float64 // share of that
		refused float64 // at most, for each that is accepted
		ends    int     // at most
	}{
		{"one in 20 s", bucket(0.05, 1), 0.05, 0.7, 0.2, 0},
		{"one in 5 s, 20 at once", bucket(0.2, 20), 0.2, 0.95, 0.1, 0},
		{"one a second", bucket(1, 1), 1, 0.75, 0.06, 0},
		{"20 a second, 200 at once", bucket(20, 200), 20, 0.95, 0.06, 0},
		{"100 a second", bucket(100, 20), 100, 0.95, 0.08, 8},
		{"30 in each minute", window(30, time.Minute), 0.5, 0.9, 0.3, 0},
		{"600 in each minute", window(600, time.Minute), 10, 0.9, 0.06, 8},
		{"5 in each second", window(5, time.Second), 5, 0.85, 0.08, 20},
		{"refusals that have nothing to do with speed", random(0.05), 0.95 * all, 0.95, 0.07, 4},
		{"many of those", random(0.2), 0.8 * all, 0.9, 0.27, 4},
		{"two sessions", func(_ time.Time, n int) bool { return n <= 2 }, 40, 0.5, 0.06, 0},
		{"a limit that is lifted", after(10*time.Minute, bucket(5, 10), bucket(100, 10)), (5*10 + 100*50) / 60., 0.93, 0.08, 8},
		{"a limit that comes", after(10*time.Minute, bucket(100, 10), bucket(5, 10)), (100*10 + 5*50) / 60., 0.93, 0.08, 8},
		{"nothing for five minutes", outage(0, 5*time.Minute), all * 55 / 60., 0.8, 0.001, 1},
		{"nothing for five minutes after ten", outage(10*time.Minute, 15*time.Minute), all * 55 / 60., 0.8, 0.001, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := simulate(c.takes)
			share, refused := float64(r.accepted)/(c.bears*3600), float64(r.refused)/float64(r.accepted)
			t.Logf("%.2f of what it bears, %.3f refused, slowed %d times", share, refused, r.ends)
			if share < c.least || refused > c.refused || r.ends > c.ends {
				t.Errorf("want at least %.2f, at most %.3f and %d", c.least, c.refused, c.ends)
			}
		})
	}
}
