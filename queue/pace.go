package queue

import (
	"time"

	"postern/spool"
)

// The pace of an upstream that throttles is found as TCP finds the speed of a
// line: less at once when it refuses, a little more with each message that it
// takes.
const (
	// paceRound is how many messages lead from a cut back to where it was.
	paceRound = 24
	// paceCut is what a cut leaves where the speed was nearly right; where it
	// was far off, half is left.
	paceCut = 0.7
	// These bound it, in messages a second: the slowest of all, the slowest
	// after an outage, and where slowing begins at the least.
	slowest       = 1.0 / 600
	slowestSearch = 1.0 / 60
	firstPace     = 0.5
	// paceHold is the least time for which a lane is slowed, paceHoldMost what
	// it grows to where the slowing begins again and again.
	paceHold     = time.Minute
	paceHoldMost = time.Hour
	// paceQuiet is how long an upstream has to refuse nothing before its lane
	// goes at full speed, however little went there meanwhile.
	paceQuiet = 10 * time.Minute
	// paceMarks is how many cuts in a row may be without effect.
	paceMarks = 4
)

// pace is how fast a lane may begin transactions. Zero: as fast as it can.
type pace struct {
	rate     float64   // transactions a second; 0: not slowed
	top      float64   // the rate that is thought to be too fast
	full     float64   // what the lane did before it was slowed
	at       time.Time // when the next one may begin
	sessions int       // at most, while slowed

	since time.Time // slowed
	ended time.Time // of the last slowing
	hold  time.Duration
	cause spool.Outcome // of the last refusal

	// search is the time after an outage, in which the pace doubles with each
	// message until the upstream refuses one.
	search   bool
	good     int       // accepted since the last cut
	cutAt    time.Time // of the last cut
	lastGood time.Time
	recent   [16]time.Time // when messages were accepted, a ring
	next     int           // index of the oldest

	// A cut that did not lead to a longer time without refusals leaves a mark.
	// After some in a row the refusals have nothing to do with speed, and are
	// left alone for a while.
	marks     int
	deafUntil time.Time
	deafFor   time.Duration
}

func (p *pace) slowed() bool { return p.rate > 0 }

// gap is the time between the beginnings of two transactions.
func (p *pace) gap() time.Duration {
	if p.rate == 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / p.rate)
}

// wait is when the next transaction may begin; zero: now.
func (p *pace) wait(now time.Time) time.Time {
	if p.rate == 0 || !now.Before(p.at) {
		return time.Time{}
	}
	return p.at
}

// began notes that a transaction begins.
func (p *pace) began(now time.Time) {
	if p.rate == 0 {
		return
	}
	gap := p.gap()
	if late := now.Sub(p.at); late < gap {
		p.at = p.at.Add(gap) // a timer that is late slows nothing
	} else {
		p.at = now.Add(gap)
	}
}

// accepted notes that the upstream took a message or answered about it. It
// returns true where the lane is slowed no longer.
func (p *pace) accepted(now time.Time, most int) bool {
	p.recent[p.next] = now
	p.next = (p.next + 1) % len(p.recent)
	p.lastGood = now
	if p.rate == 0 {
		return false
	}
	p.good++
	if p.good%paceRound == 0 {
		p.sessions = min(p.sessions+1, most)
	}
	if p.search {
		p.rate = min(2*p.rate, 4*p.full)
	} else if p.rate < 1.25*p.top {
		p.rate += p.top * (1 - paceCut) / paceRound
	} else if p.rate < 4*p.full { // the limit is elsewhere than thought, or gone
		p.rate *= 1.1
		p.sessions = min(p.sessions+1, most)
	}
	if p.good >= paceRound {
		p.marks, p.deafFor = 0, 0
	}
	if p.rate >= 2*p.full && !now.Before(p.since.Add(p.hold)) {
		p.end(now)
		return true
	}
	return false
}

// lesson is what a refusal tells.
type lesson uint8

const (
	lessonSlower  lesson = iota // the pace was cut
	lessonOld                   // nothing new: it was under way when the pace was cut
	lessonNothing               // speed is not what the upstream minds
)

// refused notes that the upstream throttled a transaction that had begun at
// the given time, while so many sessions were open.
func (p *pace) refused(now, begun time.Time, sessions int, o spool.Outcome) lesson {
	switch {
	case now.Before(p.deafUntil):
		return lessonNothing
	case begun.Before(p.cutAt):
		return lessonOld
	case p.rate == 0:
		p.begin(now, sessions, o)
		return lessonSlower
	}
	p.cause = o
	near := p.good >= 3
	if near && p.good < paceRound {
		p.marks++
	}
	if p.marks >= paceMarks {
		p.deafFor = min(max(2*p.deafFor, paceQuiet), 24*paceQuiet)
		p.deafUntil = now.Add(p.deafFor)
		p.end(now)
		return lessonNothing
	}
	p.cut(now, near)
	return lessonSlower
}

// begin slows the lane to half of what it did.
func (p *pace) begin(now time.Time, sessions int, o spool.Outcome) {
	if p.ended.IsZero() || now.Sub(p.ended) > paceQuiet {
		p.hold = 0
	}
	p.hold = min(max(2*p.hold, paceHold), paceHoldMost)
	p.since, p.cause, p.marks = now, o, 0
	p.search = false
	p.full = max(p.speed(now), 4*firstPace)
	p.rate = max(p.full/2, firstPace)
	p.top = p.full
	p.sessions = max(1, sessions/2)
	p.cutAt, p.good = now, 0
	p.at = now.Add(p.gap())
}

// cut goes slower. near: the last speed was nearly right.
func (p *pace) cut(now time.Time, near bool) {
	p.top = p.rate
	p.rate *= paceCut
	if p.search || !near {
		p.rate = p.top / 2
		p.top = p.rate / paceCut
	}
	p.search = false
	p.rate = max(p.rate, slowest)
	p.sessions = max(1, p.sessions/2)
	p.cutAt, p.good = now, 0
	p.at = now.Add(p.gap())
}

// resumed follows an outage of a lane that was slowed: in all that time the
// upstream took one message. It is the least that it may be able to do.
func (p *pace) resumed(now time.Time) {
	if p.rate == 0 {
		return
	}
	if !p.lastGood.IsZero() {
		p.rate = min(p.rate, 1/max(now.Sub(p.lastGood).Seconds(), 1e-3))
	}
	p.rate = max(p.rate, slowestSearch)
	p.search, p.good, p.cutAt = true, 0, now
	p.at = now.Add(p.gap())
}

// speed is how many messages a second were accepted of late.
func (p *pace) speed(now time.Time) float64 {
	n, oldest := 0, now
	for _, t := range p.recent {
		if !t.IsZero() && now.Sub(t) < time.Minute {
			n++
			if t.Before(oldest) {
				oldest = t
			}
		}
	}
	if n < 2 {
		return 0
	}
	return float64(n) / max(now.Sub(oldest).Seconds(), 1e-3)
}

// calm ends the slowing where nothing was refused for long enough, and says
// whether it did.
func (p *pace) calm(now time.Time) bool {
	if p.rate == 0 || now.Before(p.calmAt()) {
		return false
	}
	p.end(now)
	return true
}

func (p *pace) calmAt() time.Time { return p.cutAt.Add(max(paceQuiet, 60*p.gap())) }

func (p *pace) end(now time.Time) {
	p.rate, p.ended, p.cause, p.marks = 0, now, spool.Outcome{}, 0
}
