package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"postern/config"
	"postern/queue/budget"
	"postern/spool"
)

// pause is whether an operator has paused an upstream, and who last changed it.
type pause struct {
	Paused bool      `json:"paused"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// remember reads what is known of the upstream. Nobody else has the lane yet.
func (l *lane) remember() {
	var failed error
	l.state.pause, failed = l.q.readPause(l.name)
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
// time, and what its rates have counted, with a lease of another epoch. What
// can't be read now leaves all as it is. The lane is not locked.
func (l *lane) recall(lease spool.Lease, ours bool) {
	if l.q.state == nil {
		return
	}
	now, err := l.q.readPause(l.name)
	l.mu.Lock()
	known, epoch, up := l.state.pause, l.state.tenure.lease.Epoch, l.state.up
	limited := l.state.rates.limited
	l.mu.Unlock()
	if err == nil && now.Paused != known.Paused && now.At.After(known.At) {
		l.setPause(now.Paused, now.By)
	}
	if !ours || epoch == lease.Epoch || !limited || up == nil {
		return
	}
	counted, err := budget.Open(l.q.state, l.name, up.Rate)
	l.mu.Lock()
	defer l.unlock()
	if err != nil {
		l.afterLocked(func() { l.q.tell(&StateFailed{l.name, err}) })
	}
	if l.state.rates.limited && counted != nil {
		counted.SetRates(l.state.up.Rate)
		l.state.rates.budget = counted
	}
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

// readPause reads whether an upstream is paused. Where an operator has said
// something that cannot be read or understood any more it is: mail that waits
// can still be sent.
func (q *Queue) readPause(upstream string) (pause, error) {
	if q.state == nil {
		return pause{}, nil
	}
	f := spool.Fact{Kind: spool.KindPause, Name: upstream}
	content, err := q.state.Read(context.Background(), f)
	if errors.Is(err, fs.ErrNotExist) {
		return pause{}, nil
	}
	var p pause
	if err == nil {
		p, err = parsePause(content)
	}
	switch {
	case err == nil:
		return p, nil
	case !q.state.Has(f):
		return pause{}, fmt.Errorf("whether an operator has paused the upstream is not known: %w", err)
	}
	return pause{Paused: true, At: time.Now()},
		fmt.Errorf("whether an operator has paused the upstream is not known, so it is paused until somebody runs `postern upstream resume %s`: %w", upstream, err)
}

// parsePause reads what keepPause has written, and nothing else.
func parsePause(content []byte) (pause, error) {
	var p struct {
		Paused *bool      `json:"paused"`
		By     *string    `json:"by"`
		At     *time.Time `json:"at"`
	}
	if err := spool.DecodeFact(content, &p); err != nil {
		return pause{}, err
	}
	if p.Paused == nil || p.By == nil || p.At == nil {
		return pause{}, fmt.Errorf("the file %w: something is missing", spool.ErrForm)
	}
	return pause{*p.Paused, *p.By, *p.At}, nil
}

// keepPause makes durable what operators have last told l.
func (l *lane) keepPause() error {
	if l.q.state == nil {
		return nil
	}
	l.pauseWrite.Lock() // the last to write has the last word
	defer l.pauseWrite.Unlock()
	l.mu.Lock()
	p := l.state.pause
	l.mu.Unlock()
	content, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return l.q.state.Write(context.Background(), spool.Fact{Kind: spool.KindPause, Name: l.name}, append(content, '\n'))
}
