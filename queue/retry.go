package queue

import (
	"time"

	"postern/config"
	"postern/spool"
)

// jitter is the share by which a retry time is moved to either side, so that
// what failed together doesn't come back together.
const jitter = 0.2

// defaultBackoff stands in for an empty configuration.
var defaultBackoff = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}

// schedule is when what failed is tried again, by retry.backoff.
func schedule(backoff []time.Duration) spool.Schedule {
	if len(backoff) == 0 {
		backoff = defaultBackoff
	}
	return spool.Schedule{Steps: backoff, Jitter: jitter}
}

// retryDelay is the time from the end of the given attempt, from 1, to the
// next. at, from 0 to 1, chooses the point in the range of the jitter.
func retryDelay(backoff []time.Duration, attempt int, at float64) time.Duration {
	return schedule(backoff).Delay(attempt, at)
}

// probeSteps are the delays after which an upstream that could not be reached
// is tried again; none is longer than the retry time of the same step.
var probeSteps = []time.Duration{5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute}

// probeDelay is the time until the next probe after step failures in a row.
// An upstream that is out of reach comes back by itself, so it is asked often;
// one that refuses us waits for somebody, and asking often can lock an account.
func probeDelay(state State, backoff []time.Duration, step int, at float64) time.Duration {
	d := retryDelay(backoff, step, at)
	if state == Parked {
		return d
	}
	return min(d, retryDelay(probeSteps, step, at))
}

// signInProbe is the longest time until a sign-in is tried again that was
// refused for now.
const signInProbe = 5 * time.Minute

// probeWait is probeDelay after the fault o. A sign-in that the upstream answers
// by 4xx is not tried every few seconds: some count them, and refuse for longer
// with each (Gmail: "too many login attempts").
func probeWait(state State, o *spool.Outcome, backoff []time.Duration, step int, at float64) time.Duration {
	d := probeDelay(state, backoff, step, at)
	if state == Waiting && o.Stage == spool.StageSignIn && o.Code/100 == 4 {
		return max(d, min(retryDelay(backoff, step, at), signInProbe))
	}
	return d
}

// longest is the longest time that may lie between now and a due time.
func longest(r *config.Retry) time.Duration {
	return max(schedule([]time.Duration{time.Minute}).Longest(), schedule(r.Backoff).Longest())
}

// clock is what the age of a share asks for.
type clock uint8

const (
	clockNothing clock = iota
	clockWarn          // a delay notification
	clockExpire        // its lifetime is over
	clockReturn        // its deadline is over, and it asked to be returned: RFC 2852 §4.2
)

// clockOf says what the age of a share asks for at now, and when it will ask
// for the next thing (zero: never). deadlineReturn is by-mode R.
func clockOf(r *config.Retry, s *spool.Summary, deadlineReturn bool, now time.Time) (clock, time.Time) {
	var next time.Time
	earliest := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if !s.Deadline.IsZero() && deadlineReturn {
		if !now.Before(s.Deadline) {
			return clockReturn, time.Time{}
		}
		earliest(s.Deadline)
	}
	if r.Lifetime > 0 {
		end := s.Begins().Add(r.Lifetime)
		if !now.Before(end) {
			return clockExpire, time.Time{}
		}
		earliest(end)
	}
	if s.Warned {
		return clockNothing, next
	}
	if !s.Deadline.IsZero() && !deadlineReturn {
		if !now.Before(s.Deadline) {
			return clockWarn, next // by-mode N: the sender is told
		}
		earliest(s.Deadline)
	}
	if r.WarnAfter > 0 {
		at := s.Begins().Add(r.WarnAfter)
		if !now.Before(at) {
			return clockWarn, next
		}
		earliest(at)
	}
	return clockNothing, next
}
