package daemon

import (
	"context"

	"postern/config"
	"postern/relay/admin"
	"postern/relay/memory"
	"postern/relay/upstream"
)

// tls is how the connections to an upstream are protected, and what is
// remembered about it.
func (d *daemon) tls(up *config.Upstream) *admin.TLS {
	t := &admin.TLS{Mode: string(up.TLS)}
	if up.TLS != config.TLSOpportunistic && up.TLS != config.TLSAuto {
		return t
	}
	facts, err := d.memory.Recall(up.Name, upstream.Target(up))
	if err != nil {
		t.Problem = err.Error()
		return t
	}
	t.Offered, t.Valid = moment(facts.Offered), moment(facts.Valid)
	if w := facts.Way; w != nil {
		t.Way, t.Found = w.String(), &w.Found
		t.Implicit = w.Implicit
	}
	return t
}

// ForgetTLS forgets what is remembered about an upstream.
func (d *daemon) ForgetTLS(ctx context.Context, name, operator string) (had bool, err error) {
	up := d.state.Load().cfg.Upstreams[name]
	if up == nil {
		return false, admin.ErrNoUpstream
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
