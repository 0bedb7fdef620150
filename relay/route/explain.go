package route

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postern/config"
	"postern/config/wire"
)

// Explanation is a decision with every route that was tried for it.
type Explanation struct {
	From     string   `json:"from"` // empty: the null reverse-path
	To       string   `json:"to,omitempty"`
	Decision Decision `json:"decision"`
	// Tried has the routes in the order of the file, up to the one that
	// matched.
	Tried []Trial `json:"tried"`
	// Senders has the [[sender]]s. Where one forbids, no route is asked.
	Senders []Trial `json:"senders,omitempty"`
}

// Trial is what came of one route.
type Trial struct {
	Route      string      `json:"route"`
	Line       int         `json:"line,omitempty"` // in the configuration file
	File       string      `json:"file,omitempty"` // of conf.d that it stands in; empty: the main one
	Result     Verdict     `json:"result"`
	Conditions []Condition `json:"conditions"`
}

// Condition is what came of one condition of a route.
type Condition struct {
	Name   string  `json:"name"` // "from", "to", "header X-Tenant", …
	Result Verdict `json:"result"`
	Text   string  `json:"text"` // "a@example.com does not match *@example.org"
}

// Verdict is whether a condition or a route holds.
type Verdict string

// The verdicts.
const (
	Matches Verdict = "matches"
	Fails   Verdict = "does not match"
	Open    Verdict = "not known yet" // it depends on what the query leaves out

	// Of a sender.
	Allows   Verdict = "allows it"
	Forbids  Verdict = "does not allow it"
	NotAbout Verdict = "is about other clients"
)

// Explain decides as Recipient does and tells why. It looks at each route in
// turn, with all conditions, and so also at those that Recipient's index
// skips.
func (t *Table) Explain(q Query) Explanation {
	e := Explanation{From: q.From, To: q.To, Tried: []Trial{}, Decision: t.Recipient(q)}
	from, to := newAddress(nil, q.From), newAddress(nil, q.To)
	to.unknown = q.To == ""
	for i := range t.rules {
		trial := t.rules[i].try(&q, &from, &to)
		e.Tried = append(e.Tried, trial)
		if trial.Result == Open && to.unknown {
			// What follows only counts for some recipients.
			e.Decision = Decision{}
		}
		if trial.Result == Matches {
			if c, ok := t.rules[i].staging.explain(&to, q.To); ok {
				e.Tried[i].Conditions = append(trial.Conditions, c)
			}
			break
		}
	}
	return e
}

// try looks at every condition that the rule sets.
func (r *rule) try(q *Query, from, to *address) Trial {
	t := Trial{Route: r.name, Line: r.line, File: r.file, Result: Matches}
	add := func(name string, result Verdict, text string) {
		t.Conditions = append(t.Conditions, Condition{name, result, text})
		if result == Fails || result == Open && t.Result == Matches {
			t.Result = result
		}
	}
	if r.from != nil {
		result, text := r.from.explain(from, q.From)
		add("from", result, text)
	}
	if r.to != nil {
		result, text := r.to.explain(to, q.To)
		add("to", result, text)
	}
	for _, c := range []struct {
		name  string
		set   *nameSet
		value string
	}{{"listener", r.listener, q.Listener}, {"user", r.user, q.User}, {"unix_user", r.unixUser, q.UnixUser}} {
		if c.set != nil {
			result, text := c.set.explain(c.name, c.value)
			add(c.name, result, text)
		}
	}
	for i := range r.header {
		f := &r.header[i]
		if q.Header == nil {
			add("header "+f.name, Open, "the header is not known; it has to match "+strings.Join(f.patterns, " or "))
			continue
		}
		result, text := f.explain(q.Header[f.name])
		add("header "+f.name, result, text)
	}
	return t
}

func (s *addressSet) explain(a *address, text string) (Verdict, string) {
	if a.unknown {
		return Open, "the address is not known; it has to match " + s.String()
	}
	shown := wire.Exact(text)
	if a.null {
		shown = "<>"
	}
	if !s.matches(a) {
		why := shown + " does not match " + s.String()
		if a.whole == nil && !a.null {
			why += " (an address without a valid domain is matched by * alone)"
		}
		return Fails, why
	}
	for _, p := range s.patterns {
		if covers(p, a) {
			return Matches, shown + " matches " + p.String()
		}
	}
	return Matches, shown + " matches"
}

// covers reports whether one pattern matches a.
func covers(p config.Pattern, a *address) bool {
	switch {
	case p.Kind == config.PatternAny:
		return true
	case a.null:
		return p.Kind == config.PatternNull
	case a.whole == nil:
		return false
	}
	local, domain := string(a.local()), string(a.domain())
	switch p.Kind {
	case config.PatternAddress:
		return local == p.Local && domain == p.Domain
	case config.PatternDomain:
		return domain == p.Domain
	case config.PatternSubdomains:
		return strings.HasSuffix(domain, "."+p.Domain)
	case config.PatternLocal:
		return local == p.Local
	}
	return false
}

// shownPatterns bounds how many patterns a sentence lists.
const shownPatterns = 8

// String lists the patterns.
func (s *addressSet) String() string {
	texts := make([]string, 0, shownPatterns)
	for i, p := range s.patterns {
		if i == shownPatterns {
			return strings.Join(texts, ", ") + fmt.Sprintf(" or %d more", len(s.patterns)-i)
		}
		texts = append(texts, p.String())
	}
	return strings.Join(texts, " or ")
}

func (s *nameSet) explain(what, value string) (Verdict, string) {
	switch {
	case s.matches(value) && s.any:
		return Matches, wire.Exact(value) + " matches *"
	case s.matches(value):
		return Matches, wire.Exact(value) + " is listed"
	case value == "":
		return Fails, "no " + what + " is given; it has to be " + s.list
	}
	return Fails, wire.Exact(value) + " is not " + s.list
}

func (f *field) explain(values []string) (Verdict, string) {
	want := strings.Join(f.patterns, " or ")
	if len(values) == 0 {
		return Fails, "the message has no such field; it has to match " + want
	}
	for _, value := range values {
		for _, pattern := range f.patterns {
			if glob(pattern, value) {
				return Matches, wire.Quote(value) + " matches " + pattern
			}
		}
	}
	return Fails, wire.Quote(values[0]) + " does not match " + want
}

// Forbidden reports whether a sender keeps the client from the address.
func (e *Explanation) Forbidden() bool {
	return slices.ContainsFunc(e.Senders, func(t Trial) bool { return t.Result == Forbids })
}

// String is the explanation for people, several lines with a newline at the
// end.
func (e Explanation) String() string {
	var b strings.Builder
	to := "any recipient"
	if e.To != "" {
		to = "<" + wire.Exact(e.To) + ">"
	}
	fmt.Fprintf(&b, "from <%s> to %s\n", wire.Exact(e.From), to)
	for _, t := range slices.Concat(e.Senders, e.Tried) {
		fmt.Fprintf(&b, "  %s", wire.Exact(t.Route))
		if t.File != "" {
			fmt.Fprintf(&b, " (line %d of %s)", t.Line, wire.Exact(t.File))
		} else if t.Line > 0 {
			fmt.Fprintf(&b, " (line %d)", t.Line)
		}
		fmt.Fprintf(&b, ": %s\n", t.Result)
		for _, c := range t.Conditions {
			fmt.Fprintf(&b, "    %s: %s\n", c.Name, c.Text)
		}
	}
	switch {
	case e.Forbidden():
		b.WriteString("=> this client may not send as this address\n")
	case e.Decision.Instead == config.OtherwiseDrop:
		b.WriteString("=> accepted and dropped\n")
	case e.Decision.Matched && len(e.Decision.Redirect) > 0:
		fmt.Fprintf(&b, "=> to %s in place of it, by upstream %s\n", strings.Join(e.Decision.Redirect, ", "), strings.Join(e.Decision.Upstreams, ", then "))
	case e.Decision.Matched:
		fmt.Fprintf(&b, "=> upstream %s\n", strings.Join(e.Decision.Upstreams, ", then "))
	case e.Decision.Reject != "":
		fmt.Fprintf(&b, "=> %s refuses it: %s\n", wire.Exact(e.Decision.Route), wire.Exact(e.Decision.Reject))
	case e.Decision.NeedsHeader:
		b.WriteString("=> decided when the header of the message is known\n")
	case e.To == "":
		b.WriteString("=> depends on the recipient, or no route matches\n")
	default:
		b.WriteString("=> no route matches; the message is refused\n")
	}
	return b.String()
}

func routeNumber(position int) string { return "route " + strconv.Itoa(position+1) }
