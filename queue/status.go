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
	Idle     int           `json:"idle"`    // of them
	Pending  int           `json:"pending"` // shares that are to be tried here next

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

// Lanes tells the state of every lane, by name.
func (q *Queue) Lanes() []LaneStatus {
	q.mu.RLock()
	lanes := q.lanesLocked()
	q.mu.RUnlock()
	by := make(map[string]*LaneStatus, len(lanes))
	for _, l := range lanes {
		s := l.status()
		by[l.name] = &s
	}
	for name, n := range q.store.Upstreams() {
		if by[name] == nil {
			by[name] = &LaneStatus{Upstream: name, State: Missing}
		}
		by[name].Pending = n
	}
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
		s.MaxSessions = l.sessions()
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
