package outgoing

import (
	"errors"
	"io"
	"sync/atomic"

	"postern/config"
	"postern/config/wire"
	"postern/relay/convert"
	"postern/relay/rewrite"
	"postern/relay/route"
	"postern/relay/sign"
	"postern/relay/upstream"
	"postern/spool"
)

// Forms finds the forms of messages. Its methods may be called concurrently.
type Forms struct {
	policy atomic.Pointer[Policy]
	events func(Event)
	told   told
	bench  *sign.Bench
}

// Policy is what a configuration says about the forms of messages. It is
// immutable.
type Policy struct {
	rewrites *rewrite.Table
	keys     *sign.Keys // nil: nothing is signed
}

// New finds forms by a policy that Use sets: before that, all messages go as
// they are. events is told of what people have to know; nil: nobody is.
func New(events func(Event)) *Forms { return &Forms{events: events, bench: sign.NewBench()} }

// NewPolicy compiles a configuration and reads its keys. It fails on what
// config.Load would refuse.
func NewPolicy(cfg *config.Config) (*Policy, error) {
	rewrites, err := rewrite.New(cfg)
	if err != nil {
		return nil, err
	}
	keys, err := sign.New(cfg)
	if err != nil {
		return nil, err
	}
	return &Policy{rewrites, keys}, nil
}

// noPolicy is in force before Use.
var noPolicy Policy

// Use puts a policy in force for all messages that are begun from now on.
func (f *Forms) Use(p *Policy) { f.policy.Store(p) }

// Form gives m its form. The outcome is not nil where it has none: then it goes
// to another upstream, or comes again, as that says.
func (f *Forms) Form(m *upstream.Form) *spool.Outcome {
	p := f.policy.Load()
	want := wanted(m)
	if p == nil {
		p = &noPolicy
	}
	if want == (convert.Want{}) && p.keys == nil && !p.rewrites.Any(m.Upstream.Name) {
		return nil
	}
	w := message{forms: f, policy: p, Form: m}
	if o := w.rewrite(); o != nil {
		return o
	}
	if o := w.convert(want); o != nil {
		return o
	}
	return w.sign()
}

// message is one message that may get another form.
type message struct {
	forms  *Forms
	policy *Policy
	*upstream.Form
	header *header // of Content; nil: it was not read yet
	// converted is the way in which the body was: 0, it was not.
	converted uint8
}

// rewrite applies the rule for the message, if there is one.
func (m *message) rewrite() *spool.Outcome {
	if !m.policy.rewrites.Any(m.Upstream.Name) {
		return nil
	}
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
		q.Header = wire.Values(h.fields, m.policy.rewrites.Fields(m.Upstream.Name))
		if change, _ = m.policy.rewrites.Find(m.Upstream.Name, q); change == nil {
			return nil
		}
	}
	m.From = change.ReversePath(m.From)
	changed := change.Header(h.fields)
	if len(changed.Changed) == 0 {
		return nil
	}
	m.tellBroken(change.Rule, rewrite.BrokenIn(h.fields, changed.Changed))
	head := append(changed.Header, crlf...)
	m.Content = splice(head, m.Content, h.body)
	m.header = &header{changed.Header, int64(len(head))}
	return nil
}

// sign adds signatures, where there are keys for the domain of From. Content
// that isn't lines (BINARYMIME) can't be signed for everybody to check.
func (m *message) sign() *spool.Outcome {
	if m.policy.keys == nil || m.Delivery.Envelope.Body == spool.BodyBinaryMIME {
		return nil
	}
	h, o := m.head()
	if o != nil {
		return o
	}
	domain := m.policy.keys.For(rewrite.Author(h.fields))
	if domain == nil {
		return nil
	}
	fields, err := m.forms.bench.Sign(domain, &sign.Message{
		ID: m.Delivery.ID, Header: h.fields, Converted: m.converted,
		Body: io.NewSectionReader(m.Content, h.body, m.Content.Size()-h.body),
	})
	switch {
	case errors.Is(err, sign.ErrEmptyLines):
		m.tell(NotSigned{ID: m.Delivery.ID, Upstream: m.Upstream.Name, Domain: domain.Name, Reason: err.Error()})
		return nil
	case err != nil:
		return unreadable(err)
	}
	m.Content = splice(fields, m.Content, 0)
	return nil
}
