package queue

import (
	"errors"

	"postern/config"
	"postern/queue/budget"
	"postern/spool"
)

// remember reads what is known of the upstream. Nobody else has the lane yet. A
// database that is away is asked again before anything is sent.
func (l *lane) remember() {
	var failed error
	l.state.pause, failed = l.q.readPause(l.name)
	if errors.Is(failed, spool.ErrAway) {
		failed = nil
	}
	if l.state.pause.Paused {
		c := LaneChanged{Upstream: l.name, State: l.state.visible(), Previous: Up, By: l.state.pause.By}
		l.afterLocked(func() { l.q.tell(&c) })
	}
	l.state.rates.budget, _ = budget.Open(nil, l.name, nil)
	if failed != nil {
		l.afterLocked(func() { l.q.tell(&StateFailed{l.name, failed}) })
	}
	l.limitLocked(l.state.up, l.openBudget(l.state.up))
}

// recall reads again what relays share of an upstream: whether it is paused, each
// time, and what its rates have counted, with a lease of another epoch. After an
// error not all of that is known, and nothing is to be sent under a new lease. The
// lane is not locked.
func (l *lane) recall(lease spool.Lease, ours bool) error {
	if l.q.state == nil {
		return nil
	}
	if err := l.hearPause(); err != nil {
		return err
	}
	l.mu.Lock()
	epoch, up, limited := l.state.tenure.lease.Epoch, l.state.up, l.state.rates.limited
	l.mu.Unlock()
	if !ours || epoch == lease.Epoch || !limited || up == nil {
		return nil
	}
	counted, err := budget.Open(l.q.state, l.name, up.Rate)
	if errors.Is(err, spool.ErrAway) {
		return err
	}
	l.mu.Lock()
	defer l.unlock()
	if err != nil {
		l.afterLocked(func() { l.q.tell(&StateFailed{l.name, err}) })
	}
	if l.state.rates.limited && counted != nil {
		counted.SetRates(l.state.up.Rate)
		l.state.rates.budget = counted
	}
	return nil
}

// opened is a budget with what it has used, as it was read.
type opened struct {
	budget *budget.Budget // nil: it was not to be read
	err    error
}

// openBudget reads the budget of an upstream that is limited from now on. The
// lane is not locked, since that takes as long as the state folder does.
func (l *lane) openBudget(up *config.Upstream) (o opened) {
	l.mu.Lock()
	limited := l.state.rates.limited
	l.mu.Unlock()
	if !limited && up != nil && len(up.Rate) > 0 {
		o.budget, o.err = budget.Open(l.q.state, l.name, up.Rate)
	}
	return o
}

// limitLocked puts the rates of the configuration in force; o is what
// openBudget has read for them.
func (l *lane) limitLocked(up *config.Upstream, o opened) {
	switch r := &l.state.rates; {
	case up == nil:
	case r.limited:
		r.budget.SetRates(up.Rate)
	case o.budget != nil:
		r.limited, r.budget = true, o.budget
		if o.err != nil {
			l.afterLocked(func() { l.q.tell(&StateFailed{l.name, o.err}) })
		}
	}
}

// keepBudget makes durable what the rates have counted.
func (l *lane) keepBudget() {
	l.mu.Lock()
	b := l.state.rates.budget
	l.mu.Unlock()
	err := b.Close()
	l.mu.Lock()
	defer l.unlock()
	l.unkeptLocked(err)
}
