package outgoing

import (
	"net/textproto"
	"strings"
	"sync/atomic"

	"postern/config"
	"postern/config/wire"
	"postern/relay/rewrite"
	"postern/relay/route"
	"postern/relay/upstream"
	"postern/spool"
)

// Forms finds the forms of messages. Its methods may be called concurrently.
type Forms struct {
	policy atomic.Pointer[Policy]
	events func(Event)
	told   told
}

// Policy is what a configuration says about the forms of messages. It is
// immutable.
type Policy struct {
	rewrites *rewrite.Table
}

// New finds forms by a policy that Use sets: before that, all messages go as
// they are. events is told of what people have to know; nil: nobody is.
func New(events func(Event)) *Forms { return &Forms{events: events} }

// NewPolicy compiles a configuration. It fails on what config.Load would
// refuse.
func NewPolicy(cfg *config.Config) (*Policy, error) {
	rewrites, err := rewrite.New(cfg)
	if err != nil {
		return nil, err
	}
	return &Policy{rewrites: rewrites}, nil
}

// Use puts a policy in force for all messages that are begun from now on.
func (f *Forms) Use(p *Policy) { f.policy.Store(p) }

// Form gives m its form. The outcome is not nil where it has none: then it goes
// to another upstream, or comes again, as that says.
func (f *Forms) Form(m *upstream.Form) *spool.Outcome {
	p := f.policy.Load()
	if p == nil || !p.rewrites.Any(m.Upstream.Name) {
		return nil
	}
	w := message{forms: f, policy: p, Form: m}
	return w.rewrite()
}

// message is one message that may get another form.
type message struct {
	forms  *Forms
	policy *Policy
	*upstream.Form
}

// rewrite applies the rule for the message, if there is one.
func (m *message) rewrite() *spool.Outcome {
	env := m.Delivery.Envelope
	q := route.Query{From: env.From, Listener: env.Listener, User: env.User, UnixUser: env.UnixUser}
	change, needsHeader := m.policy.rewrites.Find(m.Upstream.Name, q)
	if change == nil && !needsHeader {
		return nil
	}
	h, o := m.head()
	if o != nil {
		return o
	}
	if needsHeader {
		q.Header = values(h.fields, m.policy.rewrites.Fields(m.Upstream.Name))
		if change, _ = m.policy.rewrites.Find(m.Upstream.Name, q); change == nil {
			return nil
		}
	}
	m.From = change.ReversePath(m.From)
	changed := change.Header(h.fields)
	if len(changed.Changed) == 0 {
		return nil
	}
	m.tellBroken(change, rewrite.BrokenIn(h.fields, changed.Changed))
	m.Content = splice(append(changed.Header, crlf...), m.Content, h.body)
	return nil
}

// values is a header as rules look at it: unfolded values of the fields that
// they ask for.
func values(h []byte, wanted []string) textproto.MIMEHeader {
	m := textproto.MIMEHeader{}
	wire.EachField(h, func(name, value []byte, _, _ int) {
		for _, w := range wanted {
			if len(name) == len(w) && strings.EqualFold(string(name), w) {
				m[w] = append(m[w], strings.TrimSpace(wire.Unfold(value)))
			}
		}
	})
	return m
}
