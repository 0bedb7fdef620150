package explanation

import (
	"context"
	"fmt"
	"strings"

	"postern/config"
	"postern/config/alias"
	"postern/config/wire"
	"postern/relay/naming"
	"postern/relay/route"
	"postern/relay/submission"
)

// withNames is the document where a name was completed or has an alias.
type withNames struct {
	Names      []NameStep  `json:"names"`
	Recipients []Recipient `json:"recipients"` // one for each address
}

// NameStep is one thing that was done with a name.
type NameStep struct {
	Name  string   `json:"name"`
	Why   string   `json:"why"`
	Means []string `json:"means"`
}

// calledNames is what becomes of the addresses of a question before a route is
// asked.
type calledNames struct {
	steps   []NameStep
	to      []string            // recipients; one that is empty where none is asked for
	refused *submission.Refusal // nil: routes are asked
	why     error               // what a client is not told of it; may be nil
}

// callNames completes the addresses of q, and finds whom they stand for.
func callNames(ctx context.Context, named *naming.Names, q *route.Query, may func(*config.Book) bool) (c calledNames) {
	complete := func(address string, sender bool) string {
		whole, ok := named.Complete(address)
		switch {
		case !ok && (sender || !strings.EqualFold(address, "postmaster")): // RFC 5321 §4.5.1
			c.refused = submission.NeedsDomain(address, sender)
		case whole != address:
			c.steps = append(c.steps, NameStep{address, "domain of [submission]", []string{whole}})
		}
		return whole
	}
	if q.From = complete(q.From, true); c.refused != nil {
		return c
	}
	var m *naming.Meaning
	var err error
	if q.To != "" && named.Local(q.To) {
		if m, _, err = named.Expand(ctx, q.To, maxExplained); err != nil {
			c.refused, c.why = submission.NamelessAlias(err, maxExplained, named.Books(), may), err
			return c
		}
	}
	if m == nil && naming.Bare(q.To) {
		m, err = named.Call(ctx, q.To, may, maxExplained)
	}
	switch {
	case err != nil:
		c.refused, c.why = submission.Nameless(err, maxExplained), err
	case m == nil:
		c.to = []string{complete(q.To, false)}
	default:
		for i := range m.Aliases {
			c.steps = append(c.steps, stepOf(&m.Aliases[i]))
		}
		for i := range m.Books {
			c.steps = append(c.steps, stepsInBook(&m.Books[i])...)
		}
		c.to = m.Addresses
	}
	return c
}

// maxExplained is how many addresses of one name are looked at.
const maxExplained = 100_000

// maxShown is how many members of a group are listed.
const maxShown = 20

// stepsInBook tells whom a book means by a name, with each loop and each member
// that no mail can go to.
func stepsInBook(c *naming.Called) []NameStep {
	why := c.Expansion.Name + " in the book " + c.Book
	if len(c.Members) > 0 && len(c.Members[0].Path) > 0 {
		why = "group " + why
	}
	if c.Age != "" {
		why += ", which can't be asked now: this is what it said " + c.Age
	}
	one := NameStep{Name: c.Name, Why: why}
	for _, m := range c.Members[:min(maxShown, len(c.Members))] {
		one.Means = append(one.Means, m.Address)
	}
	if more := len(c.Members) - maxShown; more > 0 {
		one.Means = append(one.Means, fmt.Sprintf("%d more", more))
	}
	list := []NameStep{one}
	for _, l := range c.Loops {
		list = append(list, NameStep{c.Name, "a group that holds itself counts once", []string{l}})
	}
	for _, l := range c.Missing {
		list = append(list, NameStep{c.Name, "gets nothing", []string{l}})
	}
	return list
}

func stepOf(s *alias.Step) NameStep {
	why := "alias of [submission]"
	if s.Alias.File != "" {
		why = fmt.Sprintf("alias in line %d of %s", s.Alias.Line, s.Alias.File)
	}
	if s.Instead != "" {
		why += ", that of " + s.Instead
	}
	out := NameStep{Name: s.Name, Why: why}
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
