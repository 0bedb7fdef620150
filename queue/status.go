package queue

import (
	"cmp"
	"slices"
	"time"

	"postern/queue/budget"
	"postern/spool"
)

// LaneStatus is what there is to know about a lane.
type LaneStatus struct {
	Upstream string        `json:"upstream"`
	State    State         `json:"state"`
	Since    time.Time     `json:"since"`
	Cause    spool.Outcome `json:"cause"`  // why it is not up; zero while it is
	Probe    time.Time     `json:"probe"`  // the next one; zero: none
	Faults   int           `json:"faults"` // in a row
	Sessions int           `json:"sessions"`
	Idle     int           `json:"idle"` // of them
	// Pending counts shares, Due those of them whose time has come, Held those
	// on hold, Claimed those that a session has or is about to get.
	Pending     int       `json:"pending"`
	Due         int       `json:"due"`
	Held        int       `json:"held"`
	Claimed     int       `json:"claimed"`
	OldestDue   time.Time `json:"oldest_due"`   // acceptance of the oldest that is due; zero: none
	LastSuccess time.Time `json:"last_success"` // last delivery since the start; zero: none
	Refused     []string  `json:"refused"`      // senders that it refuses at present

	Budget []budget.Left `json:"budget"` // what is left of each rate
	// Short is since when due mail waits for the rates; zero: none does.
	Short time.Time `json:"short"`
	// Pace is how many messages a minute may go while it is slowed; 0: any.
	Pace        float64 `json:"pace"`
	MaxSessions int     `json:"max_sessions"` // at present; 0: no upstream of that name is configured
	By          string  `json:"by"`           // operator who paused it; empty: nobody
}

// Lanes tells the state of every lane, by name. It goes through the whole
// queue.
func (q *Queue) Lanes() []LaneStatus {
	q.mu.RLock()
	lanes := q.lanesLocked()
	q.mu.RUnlock()
	by := make(map[string]*LaneStatus, len(lanes))
	for _, l := range lanes {
		s := l.status()
		by[l.name] = &s
	}
	now := time.Now()
	q.store.Walk(func(s spool.Summary) bool {
		name := s.Upstreams[s.Failover]
		l := by[name]
		if l == nil {
			l = &LaneStatus{Upstream: name, State: Missing}
			by[name] = l
		}
		l.Pending++
		switch {
		case s.Claimed:
			l.Claimed++
		case s.Held:
			l.Held++
		case !s.Due.After(now):
			l.Due++
			if l.OldestDue.IsZero() || s.Accepted.Before(l.OldestDue) {
				l.OldestDue = s.Accepted
			}
		}
		return true
	})
	all := make([]LaneStatus, 0, len(by))
	for _, l := range by {
		all = append(all, *l)
	}
	slices.SortFunc(all, func(a, b LaneStatus) int { return cmp.Compare(a.Upstream, b.Upstream) })
	return all
}

func (l *lane) status() LaneStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := LaneStatus{Upstream: l.name, State: l.visible(), Since: l.since(), Cause: l.cause(),
		Faults: l.health.step, Sessions: len(l.feeds), Idle: len(l.idle), LastSuccess: l.health.lastSuccess,
		Budget: l.budget.Left(), Short: l.short.since, Pace: 60 * l.pace.rate}
	if l.up != nil {
		s.MaxSessions = l.connections()
	}
	if l.pause.Paused {
		s.By = l.pause.By
	}
	if l.health.state != Up && !l.pause.Paused && l.up != nil {
		s.Probe = l.health.probeAt
	}
	for sender := range l.senders {
		s.Refused = append(s.Refused, sender)
	}
	slices.Sort(s.Refused)
	return s
}

// States tells the state of every lane without looking at the queue, for
// health checks.
func (q *Queue) States() map[string]State {
	q.mu.RLock()
	lanes := q.lanesLocked()
	q.mu.RUnlock()
	states := make(map[string]State, len(lanes))
	for _, l := range lanes {
		l.mu.Lock()
		states[l.name] = l.visible()
		l.mu.Unlock()
	}
	return states
}

// OldestDue is how long the share that is due for the longest has been waiting
// for its attempt; zero: nothing is due. What is on hold, or in a lane that an
// operator has paused, does not count.
func (q *Queue) OldestDue() time.Duration {
	states := q.States()
	now := time.Now()
	var oldest time.Duration
	q.store.Walk(func(s spool.Summary) bool {
		if !s.Held && !s.Claimed && states[s.Upstreams[s.Failover]] != Paused {
			oldest = max(oldest, now.Sub(s.Due))
		}
		return true
	})
	return oldest
}

// WaitsForRate says whether due mail waits for the rates of an upstream.
func (q *Queue) WaitsForRate(upstream string) bool {
	l := q.lane(upstream)
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flows() && !l.short.since.IsZero()
}

// Show tells everything about one message. spool.ErrNotFound: it is not in
// the queue.
func (q *Queue) Show(id spool.ID) (*spool.Detail, error) { return q.store.Detail(id) }

// Content opens the content of a queued message.
func (q *Queue) Content(id spool.ID) (spool.Content, error) { return q.store.Content(id) }
