package queue

import (
	"cmp"
	"context"
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
	Claimed  int           `json:"claimed"` // of them; the store calls those due at no time
	Due      time.Time     `json:"due"`     // when the first of the others is; zero: there is none, or it is held
	// Scheduled is Due of those that are not to go out yet, which Due leaves out.
	Scheduled time.Time `json:"scheduled"`

	LastSuccess time.Time `json:"last_success"` // last delivery since the start; zero: none
	Down        time.Time `json:"down"`         // since when the upstream fails; zero: it does not

	Refused []RefusedSender `json:"refused"` // senders that it refuses at present

	Budget []budget.Left `json:"budget"` // what is left of each rate
	// Short is since when due mail waits for the rates; zero: none does.
	Short time.Time `json:"short"`
	// Pace is how many messages a minute may go while it is slowed; 0: any.
	Pace        float64 `json:"pace"`
	MaxSessions int     `json:"max_sessions"` // at present; 0: no upstream of that name is configured
	By          string  `json:"by"`           // operator who paused it; empty: nobody
	// Holder is the relay that has the lane and delivers its mail; empty: this one.
	Holder string `json:"holder,omitempty"`
}

// Lanes tells the state of every lane, by name. An error is the store's, which
// can't tell what waits.
func (q *Queue) Lanes(ctx context.Context) ([]LaneStatus, error) {
	q.mu.RLock()
	lanes := q.lanesLocked()
	q.mu.RUnlock()
	by := make(map[string]*LaneStatus, len(lanes))
	for _, l := range lanes {
		s := l.status()
		by[l.name] = &s
	}
	pending, err := q.store.Lanes(ctx)
	if err != nil {
		return nil, err
	}
	for name, state := range pending {
		if by[name] == nil {
			by[name] = &LaneStatus{Upstream: name, State: Missing}
		}
		by[name].Pending, by[name].Due, by[name].Scheduled = state.Shares, state.Due, state.Scheduled
	}
	all := make([]LaneStatus, 0, len(by))
	for _, l := range by {
		all = append(all, *l)
	}
	slices.SortFunc(all, func(a, b LaneStatus) int { return cmp.Compare(a.Upstream, b.Upstream) })
	return all, nil
}

func (l *lane) status() LaneStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := &l.state
	v := st.shown()
	s := LaneStatus{Upstream: l.name, State: v.state, Since: v.since, Cause: st.cause(),
		Faults: st.health.step, Sessions: len(st.sessions.all), Idle: len(st.sessions.idle), LastSuccess: st.health.lastSuccess,
		Budget: st.rates.budget.Left(), Short: st.rates.short.since, Pace: 60 * st.pace.Rate(), Holder: st.tenure.holder}
	if st.up != nil {
		s.MaxSessions = st.limit()
	}
	if st.pause.Paused {
		s.By = st.pause.By
	}
	if st.health.state != Up && !st.pause.Paused && st.up != nil {
		s.Probe = st.health.probeAt
	}
	s.Refused, s.Down, s.Claimed = st.senders.list(), st.downSince(), st.claimed()
	return s
}

// LaneHealth is what a health check asks of a lane.
type LaneHealth struct {
	State State
	Since time.Time // of the state; of Missing: zero
	// Down is since when the upstream has failed without taking mail in
	// between; zero: it does not, or an operator has paused it.
	Down  time.Time
	Cause spool.Outcome // of the last fault, or why it is slowed; zero unless Down is set or it is Slowed
	// LastSuccess is the last delivery since the start; zero: none.
	LastSuccess time.Time
	// Short is since when due mail waits for the rates; zero: none does.
	Short   time.Time
	Claimed int    // shares in its hands and those of its sessions
	Rated   bool   // due mail waits for its rates, and for nothing else
	Holder  string // the relay that has the lane; empty: this one
	Refused []RefusedSender
}

// Health tells how every lane is, without looking at the queue.
func (q *Queue) Health() map[string]LaneHealth {
	q.mu.RLock()
	lanes := q.lanesLocked()
	q.mu.RUnlock()
	all := make(map[string]LaneHealth, len(lanes))
	for _, l := range lanes {
		l.mu.Lock()
		st := &l.state
		v := st.shown()
		h := LaneHealth{State: v.state, Since: v.since, Claimed: st.claimed(), Rated: st.flows() && !st.rates.short.since.IsZero(), Holder: st.tenure.holder,
			LastSuccess: st.health.lastSuccess, Short: st.rates.short.since}
		if h.Down = st.downSince(); !h.Down.IsZero() || v.state == Slowed {
			h.Cause = st.cause()
		}
		if len(st.senders) > 0 {
			h.Refused = st.senders.list()
		}
		l.mu.Unlock()
		all[l.name] = h
	}
	return all
}

// Holder names the other relay that delivers by an upstream; empty: this one does,
// or it is not known to be anybody.
func (q *Queue) Holder(upstream string) string {
	l := q.lane(upstream)
	if l == nil {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.tenure.holder
}
