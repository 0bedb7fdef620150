package submission

import (
	"context"
	"net/textproto"

	"postern/config"
	"postern/relay/route"
	"postern/spool"
)

// maxNotified bounds the addresses that the sender of a message stands for.
const maxNotified = 100

// internal is whoever writes our own notices.
var internal = &Client{Listener: config.InternalListener}

// Notify says who gets a notice of ours about a message, and by which upstreams:
// its sender, by the same names and routes as other mail; where no route takes
// it, by upstreams, which are those of the message. Nobody: the routes let none
// of it out. It may be called before Use.
func (a *Agent) Notify(sender string, upstreams []string) (list []spool.Recipient) {
	p := a.policy.Load()
	if p == nil {
		return []spool.Recipient{{Address: sender, Upstreams: upstreams}}
	}
	addresses := []string{sender}
	if p.names.Local(sender) {
		// A book that has no answer keeps no notice back: it goes to the name itself.
		ctx, cancel := context.WithTimeout(context.Background(), maxLookUp)
		if x, err := a.expand(ctx, p, sender, maxNotified); err == nil && x != nil {
			addresses = x.Addresses
		}
		cancel()
	}
	m := &Message{agent: a, policy: p, client: internal, env: &spool.Envelope{}}
	for _, to := range addresses {
		to, _ = p.names.Complete(to)
		// The header is known, and has nothing that a route could ask for.
		d := route.Own(p.routes, route.Query{To: to, Listener: config.InternalListener, Header: textproto.MIMEHeader{}}, upstreams)
		m.divert(to, &d)
		if d.Instead == config.OtherwiseRefuse {
			continue
		}
		list = m.place(list, spool.Recipient{Address: to, Upstreams: d.Upstreams}, &d)
	}
	m.tellDiverted(0)
	return list
}
