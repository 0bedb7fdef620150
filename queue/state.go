package queue

import (
	"time"

	"postern/config"
	"postern/queue/pace"
	"postern/spool"
)

// laneState is what a lane knows and decides by. Its methods have no lock, ask
// no store and start nothing; the lane guards it. Apart from the budget, which
// has a mutex of its own, it is a plain value.
type laneState struct {
	up          *config.Upstream // nil: none of that name is configured
	gen         int              // counts the settings that up has had
	stopping    bool
	pause       pause
	untold      bool // the pause is not recorded yet
	health      health
	pace        pace.Pace
	rates       rates
	senders     holdoffs
	connections connections
	tenure      tenure // of the lane's lease
	work        work
	sessions    sessions
	looked      time.Time // when what waits was last handed out and claimed
}

// shown is the state that people are told.
type shown struct {
	state State
	since time.Time
}

// visible is the state that is shown.
func (s *laneState) visible() State {
	switch {
	case s.up == nil:
		return Missing
	case s.pause.Paused:
		return Paused
	case s.health.state == Up && s.pace.Slowed():
		return Slowed
	}
	return s.health.state
}

func (s *laneState) shown() shown {
	v := shown{s.visible(), s.health.since}
	switch ended := s.pace.Ended(); {
	case v.state == Paused:
		v.since = s.pause.At
	case v.state == Slowed:
		v.since = s.pace.Since()
	case v.state == Up && ended.After(v.since):
		v.since = ended
	}
	if s.pause.At.After(v.since) {
		v.since = s.pause.At // it was resumed then
	}
	return v
}

// cause is why the lane is not up; zero while it is.
func (s *laneState) cause() spool.Outcome {
	if s.visible() == Slowed {
		return s.pace.Cause()
	}
	return s.health.cause
}

// downSince is since when the upstream fails; zero: it does not, or it is
// paused.
func (s *laneState) downSince() time.Time {
	if v := s.visible(); v == Waiting || v == Parked {
		return s.health.down
	}
	return time.Time{}
}

// open says whether anything may be begun, a probe at least.
func (s *laneState) open() bool { return !s.stopping && !s.pause.Paused && s.up != nil }

// flows says whether deliveries may be taken.
func (s *laneState) flows() bool { return s.open() && s.health.state == Up }

// isDown says whether the mail of the lane has reason to go elsewhere: not
// where an operator has paused it.
func (s *laneState) isDown() bool {
	return !s.pause.Paused && (s.up == nil || s.health.state != Up)
}

// mostSessions is what the configuration says. up is set.
func (s *laneState) mostSessions() int {
	if s.up.MaxConnections <= 0 {
		return defaultConnections
	}
	return s.up.MaxConnections
}

// limit is how many sessions there may be at present. up is set.
func (s *laneState) limit() int {
	if s.pace.Slowed() {
		return min(s.mostSessions(), s.pace.Sessions())
	}
	return s.mostSessions()
}

// want is how many deliveries are to be claimed now. What is ready is filled
// up before it is used up, so that no session waits for the store.
func (s *laneState) want(now time.Time) int {
	ready := len(s.work.ready)
	switch batch := min(maxBatch, max(leastBatch, 4*s.limit())); {
	case !s.work.hot || s.work.claiming:
		return 0
	case s.sessions.open > 0 && ready <= batch/2:
		return batch - ready
	case s.sessions.open == 0 && ready == 0 && s.sessions.canGrow(now, s.limit()):
		return 1 // should the session fail, only one share has to be written down
	}
	return 0
}

// probes says whether it is time to try out a lane that is down.
func (s *laneState) probes(now time.Time) bool {
	return s.open() && s.tenure.lasts(now) && s.health.state != Up && !s.health.probing && !now.Before(s.health.probeAt)
}

// rest is the time until something is to be done unasked.
func (s *laneState) rest(now time.Time) time.Duration {
	d := s.tenure.wait(now)
	until := func(t time.Time) {
		if !t.IsZero() {
			d = min(d, max(t.Sub(now), time.Millisecond))
		}
	}
	switch {
	case !s.open() || !s.tenure.lasts(now):
		return d
	case s.health.state != Up:
		if !s.health.probing {
			until(s.health.probeAt)
		}
		return d
	}
	until(s.work.nextWake)
	if s.work.waits() {
		// What had to wait when it was looked at may go by now, and then nobody
		// else would see it.
		for _, t := range [...]time.Time{s.sessions.growAt, s.sessions.catchUpUntil()} {
			if s.looked.Before(t) {
				until(t)
			}
		}
		until(s.pace.Wait(s.looked))
		until(s.rates.budget.Next(s.looked))
	}
	if s.pace.Slowed() && now.Before(s.pace.CalmAt()) {
		until(s.pace.CalmAt())
	}
	return d
}

// isOver says whether a session is to end.
func (s *laneState) isOver(f *session, now time.Time) bool {
	return f.empty || f.ended || f.gen != s.gen || !s.open() || s.spent(f, now) ||
		s.pace.Slowed() && f.first == nil && len(s.sessions.all) > s.limit() // fewer are wanted
}

// spent ends a session that has carried as much, or has lasted as long, as one
// connection may, and makes room for its successor.
func (s *laneState) spent(f *session, now time.Time) bool {
	if f.handed == 0 || f.ended || !f.isSpent(now) {
		return false
	}
	f.finish()
	s.sessions.renewals++
	return true
}

// begin takes the first of a list, ready or fresh, and counts it as sent from
// now on; nil: there is none, or it is not its time yet. stale: the rates have
// changed since it was claimed, and what was claimed is to be given back.
func (s *laneState) begin(from *[]*spool.Delivery, now time.Time, ps *parts) (_ *spool.Delivery, stale bool) {
	list := *from
	if len(list) == 0 || s.health.state == Up && !s.pace.Wait(now).IsZero() {
		return nil, false
	}
	d := list[0]
	ps.narrow(d)
	if !s.rates.budget.Take(1, len(d.Pending)) {
		ps.widen(d)
		return nil, true
	}
	s.pace.Began(now)
	list[0] = nil
	*from = list[1:]
	return d, false
}

// claimed is the number of shares in the hands of the lane and of its sessions.
func (s *laneState) claimed() int {
	n := len(s.work.ready) + len(s.work.fresh)
	for f := range s.sessions.all {
		if n += len(f.taken); f.first != nil {
			n++
		}
	}
	return n
}
