// Package pace finds how fast an upstream that throttles may be sent to. It is
// arithmetic on times that the caller gives: it has no clock and no lock, and
// sends nothing.
//
// It works as TCP finds the speed of a line: less at once when the upstream
// refuses, a little more with each message that it takes. Three things are
// added to that, each of which is worth it (docs/measurements/pace.md): a
// search that doubles, for when the speed is not known; faster growth above the
// last limit; and leaving refusals alone that have nothing to do with speed.
package pace

import (
	"time"

	"postern/spool"
)

const (
	// round is how many messages lead from a cut back to where the pace was.
	round = 24
	// cutTo is what a cut leaves at most, of what was too fast.
	cutTo = 0.8
	// growth is by how much the pace grows with each message above what was
	// thought to be the limit.
	growth = 1.07
	// searchStep is the least time for which a pace is tried in a search.
	searchStep = time.Second
	// The slowest pace, the slowest after an outage, the least that slowing
	// begins with, and the fastest, in messages a second.
	slowest       = 1.0 / 600
	slowestSearch = 1.0 / 5
	first         = 1.0
	fastest       = 10000.0
	// hold is the least time for which a lane is slowed, maxHold what it grows
	// to where the slowing begins again and again.
	hold    = time.Minute
	maxHold = time.Hour
	// quiet is how long an upstream has to refuse nothing before a lane without
	// due mail is at full speed again.
	quiet = 10 * time.Minute
	// few refusals say something.
	few = 3
	// maxUseless is how many cuts in a row may be without effect.
	maxUseless = 3
)

// Pace is how fast transactions may begin. The zero Pace is at full speed. It
// may not be used by several goroutines at once.
type Pace struct {
	rate     float64   // transactions a second; 0: not slowed
	top      float64   // the rate that is thought to be too fast
	full     float64   // what was done before it was slowed
	at       time.Time // when the next one may begin
	sessions int       // at most, while slowed

	since, ended time.Time     // when it was slowed last, and no longer
	hold         time.Duration // the least time of this slowing
	cause        spool.Outcome // the last refusal; zero: not slowed

	search    bool          // the pace doubles until the upstream refuses
	doubled   time.Time     // when it did so last
	good      int           // accepted since the last refusal
	refusedAt time.Time     // of the last refusal that counted
	cutAt     time.Time     // of the last cut
	recent    [16]time.Time // when messages were accepted, a ring
	next      int           // index of the oldest

	// After some cuts that led to no longer time without refusals, refusals
	// are ignored for a while.
	useless     int
	ignoreUntil time.Time
	ignoreFor   time.Duration
	ignored     int     // since ignoring began
	before      float64 // the rate until then
}

// Effect is what a refusal changed.
type Effect uint8

// The effects of a refusal.
const (
	Slower    Effect = iota // the pace was cut
	Old                     // nothing: it was under way when the pace was cut
	Unrelated               // nothing: speed is not what the upstream minds
)

// Slowed says whether transactions have to keep apart.
func (p *Pace) Slowed() bool { return p.rate > 0 }

// Rate is how many transactions a second may begin; 0: as many as can.
func (p *Pace) Rate() float64 { return p.rate }

// Sessions is how many sessions may be open while it is slowed.
func (p *Pace) Sessions() int { return p.sessions }

// Since is when it was slowed last, Ended when that ended last; zero: never.
func (p *Pace) Since() time.Time { return p.since }

// Ended is when it was at full speed again; zero: it was never slowed.
func (p *Pace) Ended() time.Time { return p.ended }

// Cause is the refusal for which it is slowed.
func (p *Pace) Cause() spool.Outcome { return p.cause }

// Gap is the time between the beginnings of two transactions; 0: not slowed.
func (p *Pace) Gap() time.Duration {
	if p.rate == 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / p.rate)
}

// Wait is when the next transaction may begin; zero: now.
func (p *Pace) Wait(now time.Time) time.Time {
	if p.rate == 0 || !now.Before(p.at) {
		return time.Time{}
	}
	return p.at
}

// Began notes that a transaction begins.
func (p *Pace) Began(now time.Time) {
	if p.rate == 0 {
		return
	}
	gap := p.Gap()
	if late := now.Sub(p.at); late < gap/4 {
		p.at = p.at.Add(gap) // a timer that is late slows nothing
	} else {
		p.at = now.Add(gap)
	}
}

// Late notes that a transaction which began while its session was opened is
// sent only now.
func (p *Pace) Late(now time.Time) {
	if next := now.Add(p.Gap()); p.rate > 0 && next.After(p.at) {
		p.at = next
	}
}

// Accepted notes that the upstream took a message or answered about it. most
// is how many sessions may be open at full speed. It returns true where it is
// slowed no longer.
func (p *Pace) Accepted(now time.Time, most int) bool {
	p.recent[p.next] = now
	p.next = (p.next + 1) % len(p.recent)
	p.good++
	if p.rate == 0 {
		return false
	}
	if p.good >= round {
		p.useless, p.ignoreFor = 0, 0
	}
	more := p.good%round == 0
	switch {
	case p.search:
		if now.Sub(p.doubled) >= searchStep {
			p.rate, p.doubled = min(2*p.rate, fastest), now
		}
	case p.rate < 1.1*p.top:
		p.rate += p.top * (1 - cutTo) / round
	default: // the limit is elsewhere than thought, or gone
		p.rate, more = min(growth*p.rate, fastest), true
	}
	if more {
		p.sessions = min(p.sessions+1, most)
	}
	if p.rate < 2*p.full || now.Before(p.since.Add(p.hold)) {
		return false
	}
	p.end(now)
	return true
}

// Refused notes that the upstream throttled a transaction that had begun at
// the given time, while so many sessions were open.
func (p *Pace) Refused(now, begun time.Time, sessions int, o spool.Outcome) Effect {
	switch {
	case now.Before(p.ignoreUntil):
		if p.ignored++; p.ignored < few || 2*p.ignored < p.good {
			return Unrelated
		}
		p.goBack(now, o) // it did have to do with speed
		return Slower
	case !begun.After(p.cutAt):
		return Old
	case p.rate == 0:
		p.begin(now, sessions, o)
		return Slower
	}
	p.cause = o
	if p.good >= few && p.good < round && !p.search {
		p.useless++
	}
	if p.useless >= maxUseless {
		p.ignoreFor = min(max(2*p.ignoreFor, quiet), 24*quiet)
		p.ignoreUntil, p.ignored, p.before, p.good = now.Add(p.ignoreFor), 0, p.rate, 0
		p.end(now)
		return Unrelated
	}
	p.cut(now)
	return Slower
}

// goBack returns to the pace before refusals were ignored.
func (p *Pace) goBack(now time.Time, o spool.Outcome) {
	p.ignoreUntil = time.Time{}
	p.since, p.cause, p.rate = now, o, p.before
	p.rest(now)
}

// begin slows to half of what was done of late.
func (p *Pace) begin(now time.Time, sessions int, o spool.Outcome) {
	if now.Sub(p.ended) > quiet {
		p.hold = 0
	}
	p.hold = min(max(2*p.hold, hold), maxHold)
	p.since, p.cause, p.useless = now, o, 0
	speed, known := p.speed(now)
	p.search = !known
	if p.full = max(speed, 2*first); !known {
		p.full = fastest / 2
	}
	p.rate, p.top = max(speed/2, first), p.full
	p.sessions = max(1, sessions/2)
	p.rest(now)
}

// cut goes slower.
//
// Of an upstream with a bucket of tokens each refusal says that it is empty,
// so that what was taken from one refusal to the next, divided by the time
// between them, is the rate at which it fills.
func (p *Pace) cut(now time.Time) {
	was := p.rate
	p.rate = was / 2
	if !p.search {
		// It can be too low, where there was not enough to send.
		filling := float64(p.good) / max(now.Sub(p.refusedAt).Seconds(), 1e-3)
		p.rate = max(min(cutTo*was, filling), p.rate)
	}
	p.top = min(was, p.rate/cutTo)
	p.search = p.good == 0 // it may be an outage, and no limit at all
	p.rate = max(p.rate, slowest)
	p.sessions = max(1, p.sessions/2)
	p.rest(now)
}

// rest follows a cut. What is under way takes its share too, hence two gaps.
func (p *Pace) rest(now time.Time) {
	p.refusedAt, p.cutAt, p.good = now, now, 0
	p.at = now.Add(2 * p.Gap())
}

// Denied notes that a probe was throttled.
func (p *Pace) Denied(now time.Time) { p.refusedAt, p.good = now, 0 }

// Resumed follows an outage while it was slowed: in all that time the upstream
// took one message. It is the least that it may be able to do.
func (p *Pace) Resumed(now time.Time) {
	if p.rate == 0 {
		return
	}
	p.rate = min(p.rate, 1/max(now.Sub(p.cutAt).Seconds(), 1e-3))
	p.rate = max(p.rate, slowestSearch)
	p.search, p.cutAt = true, now
	p.at = now.Add(p.Gap())
}

// speed is how many messages a second were accepted of late; false: too few to
// go by.
func (p *Pace) speed(now time.Time) (float64, bool) {
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

// Calm ends the slowing where nothing was refused for long enough, and says
// whether it did.
func (p *Pace) Calm(now time.Time) bool {
	if p.rate == 0 || now.Before(p.CalmAt()) {
		return false
	}
	p.end(now)
	return true
}

// CalmAt is when Calm ends it, should nothing be refused until then.
func (p *Pace) CalmAt() time.Time { return p.cutAt.Add(quiet) }

func (p *Pace) end(now time.Time) {
	p.rate, p.ended, p.cause, p.useless = 0, now, spool.Outcome{}, 0
}
