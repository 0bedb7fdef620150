package spool

import (
	"math/rand/v2"
	"time"
)

// Schedule says how long after an attempt the next one follows. It is a value,
// so that a store which is not in this process can reckon with it.
type Schedule struct {
	// Steps are the delays after the first attempt, the second, and so on; the
	// last one repeats. Without any, the next attempt follows at once.
	Steps []time.Duration
	// Jitter is the part, from 0 to 1, by which a delay is moved to either side,
	// so that what failed together doesn't come back together.
	Jitter float64
}

// Delay is the time from the given attempt, from 1, to the next. at, from 0 to
// 1, chooses the point in the range of the jitter; 0.5 is its middle.
func (s Schedule) Delay(attempt int, at float64) time.Duration {
	if len(s.Steps) == 0 {
		return 0
	}
	step := s.Steps[min(max(attempt, 1), len(s.Steps))-1]
	return time.Duration(float64(step) * (1 - s.Jitter + 2*s.Jitter*at))
}

// Next is when the next attempt follows one that is made at now.
func (s Schedule) Next(now time.Time, attempt int) time.Time {
	return now.Add(s.Delay(attempt, rand.Float64()))
}

// Longest is the longest delay that there can be.
func (s Schedule) Longest() time.Duration {
	var d time.Duration
	for _, step := range s.Steps {
		d = max(d, step)
	}
	return time.Duration(float64(d) * (1 + s.Jitter))
}
