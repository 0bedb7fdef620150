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
	paceCut = 0.8
	// searchStep is the least time for which a pace is tried in a search.
	searchStep = time.Second
	// These bound it, in messages a second: the slowest of all, the slowest
	// after an outage, and where slowing begins at the least.
	slowest       = 1.0 / 600
	slowestSearch = 1.0 / 5
	firstPace     = 1.0
	fastest       = 10000.0
	// paceGrowth is by how much it grows with each message once it is above what
	// was thought to be the limit.
	paceGrowth = 1.07
	// paceHold is the least time for which a lane is slowed, paceHoldMost what
	// it grows to where the slowing begins again and again.
	paceHold     = time.Minute
	paceHoldMost = time.Hour
	// paceQuiet is how long an upstream has to refuse nothing before a lane
	// without due mail is at full speed again, however little went there.
	paceQuiet = 10 * time.Minute
	// paceFew is how many say something.
	paceFew = 3
	// paceMarks is how many cuts in a row may be without effect.
	paceMarks = 3
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

	// search is the time after several refusals in a row, or where the speed
	// is not known, in which the pace doubles with each message until the
	// upstream refuses one.
	search    bool
	doubled   time.Time
	good      int           // accepted since the last refusal
	refusedAt time.Time     // the last time
	cutAt     time.Time     // of the last cut
	recent    [16]time.Time // when messages were accepted, a ring
	next      int           // index of the oldest

	// A cut that did not lead to a longer time without refusals leaves a mark.
	// After some in a row the refusals have nothing to do with speed, and are
	// left alone for a while.
	marks     int
	deafUntil time.Time
	deafFor   time.Duration
	deafTo    int     // refusals since then
	kept      float64 // the rate until then
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
	if late := now.Sub(p.at); late < gap/4 {
		p.at = p.at.Add(gap) // a timer that is late slows nothing
	} else {
		p.at = now.Add(gap)
	}
}

// late notes that a transaction which began while its session was opened is
// sent only now.
func (p *pace) late(now time.Time) {
	if next := now.Add(p.gap()); p.rate > 0 && next.After(p.at) {
		p.at = next
	}
}

// accepted notes that the upstream took a message or answered about it. It
// returns true where the lane is slowed no longer.
func (p *pace) accepted(now time.Time, most int) bool {
	p.recent[p.next] = now
	p.next = (p.next + 1) % len(p.recent)
	p.good++
	if p.rate == 0 {
		return false
	}
	if p.good%paceRound == 0 {
		p.sessions = min(p.sessions+1, most)
	}
	if p.search {
		if now.Sub(p.doubled) >= searchStep {
			p.rate, p.doubled = min(2*p.rate, fastest), now
		}
	} else if p.rate < 1.1*p.top {
		p.rate += p.top * (1 - paceCut) / paceRound
	} else { // the limit is elsewhere than thought, or gone
		p.rate = min(paceGrowth*p.rate, fastest)
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
		if p.deafTo++; p.deafTo < paceFew || 2*p.deafTo < p.good {
			return lessonNothing
		}
		p.hear(now, o) // it did have to do with speed
		return lessonSlower
	case !begun.After(p.cutAt):
		return lessonOld
	case p.rate == 0:
		p.begin(now, sessions, o)
		return lessonSlower
	}
	p.cause = o
	near := p.good >= paceFew
	switch {
	case p.good == 0:
		p.marks = 0 // of that, speed may well be the reason
	case near && p.good < paceRound && !p.search:
		p.marks++
	}
	if p.marks >= paceMarks {
		p.deafFor = min(max(2*p.deafFor, paceQuiet), 24*paceQuiet)
		p.deafUntil, p.deafTo, p.kept, p.good = now.Add(p.deafFor), 0, p.rate, 0
		p.end(now)
		return lessonNothing
	}
	p.cut(now, near)
	return lessonSlower
}

// hear goes back to the pace before refusals were left alone.
func (p *pace) hear(now time.Time, o spool.Outcome) {
	p.deafUntil = time.Time{}
	p.since, p.cause, p.rate = now, o, p.kept
	p.refusedAt, p.cutAt, p.good = now, now, 0
	p.at = now.Add(2 * p.gap())
}

// begin slows the lane to half of what it did.
func (p *pace) begin(now time.Time, sessions int, o spool.Outcome) {
	if p.ended.IsZero() || now.Sub(p.ended) > paceQuiet {
		p.hold = 0
	}
	p.hold = min(max(2*p.hold, paceHold), paceHoldMost)
	p.since, p.cause, p.marks = now, o, 0
	speed, known := p.speed(now)
	p.search = !known
	if p.full = max(speed, 2*firstPace); !known {
		p.full = fastest / 2
	}
	p.rate = max(speed/2, firstPace)
	p.top = p.full
	p.sessions = max(1, sessions/2)
	p.refusedAt, p.cutAt, p.good = now, now, 0
	p.at = now.Add(p.gap())
}

// cut goes slower. near: the last speed was nearly right.
//
// Of an upstream with a bucket of tokens each refusal says that it is empty,
// so that what was taken from one refusal to the next, divided by the time
// between them, is the rate at which it fills.
func (p *pace) cut(now time.Time, near bool) {
	was := p.rate
	p.rate = was / 2
	if near && !p.search {
		// It can be too low, where there was not enough to send.
		filling := float64(p.good) / max(now.Sub(p.refusedAt).Seconds(), 1e-3)
		p.rate = max(min(paceCut*was, filling), p.rate)
	}
	p.top = min(was, p.rate/paceCut)
	p.search = p.good == 0 // it may be an outage, and no limit at all
	p.rate = max(p.rate, slowest)
	p.sessions = max(1, p.sessions/2)
	p.refusedAt, p.cutAt, p.good = now, now, 0
	p.at = now.Add(2 * p.gap()) // for what is under way takes its share, too
}

// denied notes that a probe was throttled.
func (p *pace) denied(now time.Time) { p.refusedAt, p.good = now, 0 }

// resumed follows an outage of a lane that was slowed: in all that time the
// upstream took one message. It is the least that it may be able to do.
func (p *pace) resumed(now time.Time) {
	if p.rate == 0 {
		return
	}
	p.rate = min(p.rate, 1/max(now.Sub(p.cutAt).Seconds(), 1e-3))
	p.rate = max(p.rate, slowestSearch)
	p.search, p.cutAt = true, now
	p.at = now.Add(p.gap())
}

// speed is how many messages a second were accepted of late; false: too few to
// go by.
func (p *pace) speed(now time.Time) (float64, bool) {
	n, oldest := 0, now
	for _, t := range p.recent {
		if !t.IsZero() && now.Sub(t) < time.Minute {
			n++
			if t.Before(oldest) {
				oldest = t
			}
		}
	}
	if n < len(p.recent)/2 {
		return 0, false
	}
	return float64(n) / max(now.Sub(oldest).Seconds(), 1e-3), true
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

func (p *pace) calmAt() time.Time { return p.cutAt.Add(paceQuiet) }

func (p *pace) end(now time.Time) {
	p.rate, p.ended, p.cause, p.marks = 0, now, spool.Outcome{}, 0
}
