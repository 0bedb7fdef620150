package queue

import (
	"math/rand/v2"
	"time"

	"postern/queue/verdict"
	"postern/spool"
)

// State is the state of a lane.
type State string

// The states of a lane. Only in the first two is mail claimed, apart from one
// probe at a time in Waiting and Parked.
const (
	Up      State = "up"
	Slowed  State = "slowed"  // the upstream throttles; mail goes at a pace that it bears
	Waiting State = "waiting" // out of reach, overloaded or throttling; probed often
	Parked  State = "parked"  // sign-in, TLS or permission is at fault; probed by retry.backoff
	Paused  State = "paused"  // by an operator
	Missing State = "missing" // no upstream of that name is configured
)

// health is the breaker of a lane: up, or down with a time for the next probe.
type health struct {
	state   State // Up, Waiting or Parked
	since   time.Time
	down    time.Time     // since when it is not Up, by whatever faults; zero while it is
	cause   spool.Outcome // of the last fault; zero while up
	step    int           // faults in a row
	probeAt time.Time
	probing bool // the one probe is under way
	// needAnswer means that the fault came after a good sign-in, so that
	// opening a session proves nothing.
	needAnswer  bool
	lastSuccess time.Time // last delivery
	asked       bool      // the probe that is next or under way is an operator's, and no step
	strikes     int       // transactions in a row that the upstream refused for now, while up
}

// enoughStrikes is how many transactions in a row an upstream may refuse for
// reasons of its own before it is left alone: some answer a single 451 to one
// session of many, and mail through the others goes on.
const enoughStrikes = 3

// throttleStrikes is how many it may throttle in a row, each of which has
// slowed the lane; manyStrikes where the speed has shown to be without
// influence.
const (
	throttleStrikes = 6
	manyStrikes     = 8
)

// bears counts a refusal for now, and tells that it is too early to take the
// lane down for it.
func (h *health) bears(strikes int) bool {
	if h.state != Up {
		return false
	}
	h.strikes++
	return h.strikes < strikes
}

// fail records a fault and says whether the state changed. What is parked
// stays parked until a probe succeeds, so that there is one alert.
func (h *health) fail(now time.Time, o spool.Outcome, blame verdict.Blame, needAnswer bool, backoff []time.Duration) bool {
	before := h.state
	if before == Up {
		h.down = now
	}
	if blame == verdict.Access {
		h.state = Parked
	} else if h.state == Up {
		h.state = Waiting
	}
	if h.state != before {
		h.since = now
		h.step, h.asked = 0, false
	}
	if !h.asked || h.step == 0 {
		h.step++
	}
	h.cause, h.needAnswer, h.probing, h.asked = o, needAnswer, false, false
	h.probeAt = now.Add(probeWait(h.state, &o, backoff, h.step, rand.Float64()))
	return h.state != before
}

// askedFor brings the next probe forward for an operator or a reload.
func (h *health) askedFor(now time.Time) {
	if h.state != Up {
		h.probeAt, h.asked = now, true
	}
}

// recover closes the breaker and says whether it was open.
func (h *health) recover(now time.Time) bool {
	if h.state == Up {
		return false
	}
	*h = health{state: Up, since: now, lastSuccess: h.lastSuccess}
	return true
}
