package main

import (
	"fmt"
	"math"
	"strings"

	"postern/config/alias"
	"postern/config/wire"
	"postern/relay/naming"
	"postern/relay/route"
	"postern/relay/submission"
)

// explainedNames is what `postern explain --json` prints where a name was
// completed or has an alias.
type explainedNames struct {
	Names      []nameStep  `json:"names"`
	Recipients []explained `json:"recipients"` // one for each address
}

// nameStep is one thing that was done with a name.
type nameStep struct {
	Name  string   `json:"name"`
	Why   string   `json:"why"`
	Means []string `json:"means"`
}

// calledNames is what becomes of the addresses of a question before a route is
// asked.
type calledNames struct {
	steps   []nameStep
	to      []string            // recipients; one that is empty where none is asked for
	refused *submission.Refusal // nil: routes are asked
}

// callNames completes and expands the addresses of q.
func callNames(named *naming.Names, q *route.Query) (c calledNames) {
	complete := func(address string, sender bool) string {
		whole, ok := named.Complete(address)
		switch {
		case !ok && (sender || !strings.EqualFold(address, "postmaster")): // RFC 5321 §4.5.1
			c.refused = submission.NeedsDomain(address, sender)
		case whole != address:
			c.steps = append(c.steps, nameStep{address, "domain of [submission]", []string{whole}})
		}
		return whole
	}
	if q.From = complete(q.From, true); c.refused != nil {
		return c
	}
	if q.To != "" && named.Local(q.To) {
		if x, _ := named.Expand(q.To, math.MaxInt); x != nil {
			for i := range x.Steps {
				c.steps = append(c.steps, stepOf(&x.Steps[i]))
			}
			c.to = x.Addresses
			return c
		}
	}
	c.to = []string{complete(q.To, false)}
	return c
}

func stepOf(s *alias.Step) nameStep {
	why := "alias of [submission]"
	if s.Alias.File != "" {
		why = fmt.Sprintf("alias in line %d of %s", s.Alias.Line, s.Alias.File)
	}
	if s.Instead != "" {
		why += ", that of " + s.Instead
	}
	out := nameStep{Name: s.Name, Why: why}
	for _, t := range s.Alias.To {
		out.Means = append(out.Means, t.String())
	}
	return out
}

// String is one line for each step.
func (c *calledNames) String() string {
	var b strings.Builder
	for _, s := range c.steps {
		means := make([]string, len(s.Means))
		for i, m := range s.Means {
			means[i] = wire.Exact(m)
		}
		fmt.Fprintf(&b, "%s is %s (%s)\n", wire.Exact(s.Name), strings.Join(means, ", "), wire.Exact(s.Why))
	}
	return b.String()
}
