package route

import (
	"slices"
	"strings"

	"postern/config"
)

// staging is what keeps the mail of a route from recipients.
type staging struct {
	allow     *addressSet // nil: nobody
	redirect  []string
	otherwise config.Otherwise
}

func newStaging(c *config.Staging) (*staging, error) {
	if len(c.Redirect) == 0 && len(c.AllowTo) == 0 {
		return nil, nil
	}
	allow, err := newAddressSet(c.AllowTo)
	if err != nil {
		return nil, err
	}
	s := &staging{allow: allow, redirect: slices.Clone(c.Redirect), otherwise: c.Otherwise}
	switch {
	case len(s.redirect) > 0:
		s.otherwise = config.OtherwiseRedirect
	case s.otherwise == "":
		s.otherwise = config.OtherwiseRefuse
	}
	return s, nil
}

// notAllowed is what a client is told. It names no pattern.
const notAllowed = "mail may not go to this recipient from here (allow_to); `postern explain` shows why"

// captured are the upstreams of mail that is held back in the Maildir.
var captured = []string{config.CaptureProvider}

// allows reports whether mail may go to a recipient itself.
func (s *staging) allows(to *address) bool {
	return s == nil || to.unknown || s.allow != nil && s.allow.matches(to)
}

// divert is the decision of a rule that has matched, for a recipient that its
// staging does not allow.
func (r *rule) divert(d Decision) Decision {
	d.Instead = r.staging.otherwise
	switch d.Instead {
	case config.OtherwiseRedirect:
		d.Redirect = r.staging.redirect
	case config.OtherwiseCapture:
		d.Upstreams = captured
	case config.OtherwiseDrop:
		d.Upstreams = nil
	default:
		return Decision{Route: r.name, Reject: notAllowed, Instead: d.Instead}
	}
	return d
}

// Held decides for mail that goes to a recipient by upstreams though no route
// says so: what the staging of a route that shares one of them does not allow
// stays as it does with that route.
func (t *Table) Held(to string, upstreams []string) Decision {
	var storage [addressBytes]byte
	a := newAddress(storage[:0], to)
	plain := Decision{Upstreams: upstreams, Matched: true}
	for i := range t.rules {
		r := &t.rules[i]
		shared := slices.ContainsFunc(r.upstream, func(name string) bool { return slices.Contains(upstreams, name) })
		if shared && !r.staging.allows(&a) {
			plain.Route = r.name
			return r.divert(plain)
		}
	}
	return plain
}

// Own decides for mail of our own, such as a notice or a copy, which is refused
// to nobody: where no route takes it, it goes by the upstreams of the message
// that it is about. Not Matched: there are none, it depends on the header, or
// staging holds it back (Instead).
func Own(t interface {
	Recipient(q Query) Decision
	Held(to string, upstreams []string) Decision
}, q Query, by []string) Decision {
	d := t.Recipient(q)
	if d.Matched || d.NeedsHeader || d.Instead != "" || len(by) == 0 {
		return d
	}
	return t.Held(q.To, by)
}

// explain is what staging does with a recipient, as one more condition; false:
// there is none.
func (s *staging) explain(to *address, text string) (Condition, bool) {
	if s == nil {
		return Condition{}, false
	}
	what := map[config.Otherwise]string{
		config.OtherwiseRefuse: "refused", config.OtherwiseCapture: "kept in the Maildir of the capture server",
		config.OtherwiseDrop: "accepted and dropped", config.OtherwiseRedirect: "redirected to " + strings.Join(s.redirect, ", "),
	}[s.otherwise]
	if s.allow == nil {
		return Condition{"redirect", Matches, "what is for others is " + what}, true
	}
	result, why := s.allow.explain(to, text)
	if result != Matches {
		why += ": " + what
	}
	return Condition{"allow_to", result, why}, true
}
