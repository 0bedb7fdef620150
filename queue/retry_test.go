package queue

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"postern/config"
	"postern/spool"
)

func TestRetryDelay(t *testing.T) {
	steps := []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}
	for attempt, want := range map[int]time.Duration{0: time.Minute, 1: time.Minute, 2: 5 * time.Minute,
		3: 15 * time.Minute, 4: time.Hour, 5: time.Hour, 1000: time.Hour} {
		if got := retryDelay(steps, attempt, 0.5); got != want {
			t.Errorf("after attempt %d: %v, want %v", attempt, got, want)
		}
	}
	if got := retryDelay(nil, 1, 0.5); got != time.Minute {
		t.Errorf("without steps: %v", got)
	}
}

func TestRetryJitter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		step := time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(24*time.Hour)).Draw(t, "step"))
		got := retryDelay([]time.Duration{step}, rapid.IntRange(1, 9).Draw(t, "attempt"), rapid.Float64Range(0, 1).Draw(t, "at"))
		if f := float64(got) / float64(step); f < 0.7999 || f > 1.2001 {
			t.Fatalf("%v from a step of %v", got, step)
		}
	})
}

func TestProbeDelay(t *testing.T) {
	steps := []time.Duration{time.Minute, time.Hour}
	for _, c := range []struct {
		state State
		step  int
		want  time.Duration
	}{
		{Waiting, 1, 5 * time.Second}, {Waiting, 2, 15 * time.Second}, {Waiting, 3, 30 * time.Second},
		{Waiting, 4, time.Minute}, {Waiting, 99, time.Minute},
		{Parked, 1, time.Minute}, {Parked, 2, time.Hour}, {Parked, 99, time.Hour},
	} {
		if got := probeDelay(c.state, steps, c.step, 0.5); got != c.want {
			t.Errorf("%s, step %d: %v, want %v", c.state, c.step, got, c.want)
		}
	}
	if got := probeDelay(Waiting, []time.Duration{time.Second}, 3, 0.5); got != time.Second {
		t.Errorf("a probe comes later than a retry: %v", got)
	}
}

func TestProbeWait(t *testing.T) {
	steps := []time.Duration{time.Minute, 3 * time.Minute, time.Hour}
	for _, c := range []struct {
		state State
		stage spool.Stage
		code  int
		step  int
		want  time.Duration
	}{
		{Waiting, spool.StageSignIn, 454, 1, time.Minute},
		{Waiting, spool.StageSignIn, 454, 2, 3 * time.Minute},
		{Waiting, spool.StageSignIn, 454, 3, 5 * time.Minute},
		{Waiting, spool.StageSignIn, 0, 1, 5 * time.Second}, // no answer
		{Waiting, spool.StageGreet, 421, 1, 5 * time.Second},
		{Parked, spool.StageSignIn, 535, 3, time.Hour},
		{Parked, spool.StageSignIn, 454, 3, time.Hour}, // it was refused for good before
	} {
		if got := probeWait(c.state, &spool.Outcome{Stage: c.stage, Code: c.code}, steps, c.step, 0.5); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestClockOf(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r := &config.Retry{Lifetime: 120 * time.Hour, WarnAfter: 4 * time.Hour}
	for name, c := range map[string]struct {
		retry    *config.Retry
		age      time.Duration
		deadline time.Duration
		back     bool
		warned   bool
		want     clock
		next     time.Duration
	}{
		"young":                       {r, time.Hour, 0, false, false, clockNothing, 4 * time.Hour},
		"late":                        {r, 4 * time.Hour, 0, false, false, clockWarn, 120 * time.Hour},
		"late and told":               {r, 5 * time.Hour, 0, false, true, clockNothing, 120 * time.Hour},
		"old":                         {r, 120 * time.Hour, 0, false, true, clockExpire, 0},
		"old and never told":          {r, 121 * time.Hour, 0, false, false, clockExpire, 0},
		"no lifetime":                 {&config.Retry{WarnAfter: time.Hour}, 9999 * time.Hour, 0, false, true, clockNothing, 0},
		"no warning":                  {&config.Retry{Lifetime: 100 * time.Hour}, 50 * time.Hour, 0, false, false, clockNothing, 100 * time.Hour},
		"deadline ahead":              {r, time.Minute, time.Hour, true, false, clockNothing, time.Hour},
		"deadline to be returned":     {r, time.Hour, time.Hour, true, false, clockReturn, 0},
		"deadline to be told":         {r, time.Hour, time.Hour, false, false, clockWarn, 120 * time.Hour},
		"deadline told":               {r, 2 * time.Hour, time.Hour, false, true, clockNothing, 120 * time.Hour},
		"deadline returned when told": {r, 5 * time.Hour, 5 * time.Hour, true, true, clockReturn, 0},
	} {
		s := &spool.Summary{Accepted: start, Warned: c.warned}
		if c.deadline > 0 {
			s.Deadline = start.Add(c.deadline)
		}
		got, next := clockOf(c.retry, s, c.back, start.Add(c.age))
		want := time.Time{}
		if c.next > 0 {
			want = start.Add(c.next)
		}
		if got != c.want || !next.Equal(want) {
			t.Errorf("%s: %d, next %v; want %d, next %v", name, got, next, c.want, want)
		}
	}
}
