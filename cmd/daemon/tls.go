package daemon

import (
	"context"

	"postern/cmd/control"
	"postern/config"
	"postern/queue"
	"postern/relay/memory"
	"postern/relay/upstream"
)

// remembered is what is remembered about the TLS of an upstream; nil: its mode
// has no memory.
func (d *daemon) remembered(up *config.Upstream) *control.TLSMemory {
	if up.TLS != config.TLSOpportunistic && up.TLS != config.TLSAuto {
		return nil
	}
	facts, err := d.memory.Recall(up.Name, upstream.Target(up))
	if err != nil {
		return &control.TLSMemory{Problem: err.Error()}
	}
	m := &control.TLSMemory{Offered: moment(facts.Offered), Valid: moment(facts.Valid)}
	if w := facts.Way; w != nil {
		m.Way, m.Implicit, m.Found = w.String(), w.Implicit, &w.Found
	}
	return m
}

// ForgetTLS forgets what is remembered about an upstream.
func (d *daemon) ForgetTLS(ctx context.Context, name, operator string) (had bool, err error) {
	up := d.state.Load().cfg.Upstreams[name]
	if up == nil {
		return false, queue.ErrNoUpstream
	}
	// What cannot be read is forgotten all the same.
	facts, err := d.memory.Recall(name, upstream.Target(up))
	if err != nil {
		facts = memory.Facts{}
	}
	if had, err = d.memory.Forget(ctx, name); err != nil {
		return had, err
	}
	if had {
		d.events.ForgotTLS(name, operator, facts)
	}
	return had, nil
}
