package addressbook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/config"
	"postern/relay/directory"
	"postern/relay/graph"
)

// asked is a book that somebody else holds, and answers for.
type asked struct {
	name string
	max  int // entries of one answer
	source
	parts bool // each thing that is tested is a part of it; else they hold the same
}

// source is a directory: one of LDAP, or Microsoft 365. What its methods return is
// told where *directory.Directory has them.
type source interface {
	Find(ctx context.Context, text string, limit int) (*directory.Answer, error)
	Exact(ctx context.Context, text string, limit int) (*directory.Answer, error)
	Groups(ctx context.Context, name string, limit int) (*directory.Answer, error)
	Prefix(ctx context.Context, text string, limit int) (*directory.Answer, error)
	Expand(ctx context.Context, group *directory.Entry, limit int) (*directory.Expansion, error)
	Test(ctx context.Context) (all []directory.Tested, ok bool)
}

func newAsked(c *config.Book) *asked {
	a := &asked{name: c.Name, max: c.Directory.Max}
	if called := "the book " + c.Name; c.Provider == config.BookGraph {
		a.source, a.parts = graph.New(called, c), true
	} else {
		a.source = directory.New(called, c.Directory)
	}
	return a
}

func (a *asked) find(ctx context.Context, text string, limit int) (*Found, error) {
	got, err := a.Find(ctx, text, min(limit, a.max))
	if err != nil {
		return nil, err
	}
	found := &Found{Entries: a.entries(got.Entries), More: got.More}
	if got.Age > 0 {
		found.Faults = append(found.Faults, Fault{a.name, "", "can't be asked now: this is what it said " + ago(got.Age)})
	}
	if got.Incomplete != "" {
		found.Faults = append(found.Faults, Fault{a.name, "", "there may be others: " + got.Incomplete + " was reached"})
	}
	return found, nil
}

func ago(d time.Duration) string { return d.Truncate(time.Second).String() + " ago" }

func (a *asked) entries(list []*directory.Entry) []*Entry {
	out := make([]*Entry, len(list))
	for i, e := range list {
		out[i] = &Entry{
			Book: a.name, UID: e.ID, Name: e.Name, Nicknames: e.Nicknames, Addresses: e.Addresses,
			Organisation: e.Organisation, Group: e.Kind != directory.Person,
		}
	}
	return out
}

// exact: what a directory has not told all of is not known.
func (a *asked) exact(ctx context.Context, text string, group bool) (resolved, error) {
	ask := a.Exact
	if group {
		ask = a.Groups
	}
	got, err := ask(ctx, text, 10)
	if err != nil {
		return resolved{}, err
	}
	if got.Incomplete != "" {
		return resolved{}, a.incomplete(got.Incomplete)
	}
	var people, groups []*directory.Entry
	for _, e := range got.Entries {
		if e.Kind == directory.Person {
			people = append(people, e)
		} else {
			groups = append(groups, e)
		}
	}
	if same := slices.DeleteFunc(slices.Clone(people), func(e *directory.Entry) bool { return !has(e, text) }); len(same) > 0 {
		people = same // an address goes before a name
	}
	switch list := a.entries(people); {
	case len(list) > 1 && !samePerson(list):
		return resolved{}, ambiguous(text, list)
	case len(list) > 0:
		return resolved{entry: list[0]}, nil
	case len(groups) > 1:
		return resolved{}, ambiguous(text, a.entries(groups))
	case len(groups) == 1:
		return resolved{group: groups[0].Name, expand: a.expander(groups[0])}, nil
	case len(got.Elsewhere) > 0:
		return resolved{}, &Unknown{
			Text: "nobody of that name in " + a.name + ", of which parts are on " + strings.Join(got.Elsewhere, ", "),
			Hint: "add these servers to url, or name a global catalog (port 3269)",
		}
	}
	return resolved{}, nil
}

func has(e *directory.Entry, address string) bool {
	return slices.ContainsFunc(e.Addresses, func(s string) bool { return sameAddress(s) == sameAddress(address) })
}

func (a *asked) incomplete(why string) error {
	return fmt.Errorf("the book %s has not told all: %s was reached", a.name, why)
}

func (a *asked) expander(group *directory.Entry) func(context.Context, int) (*Expansion, error) {
	return func(ctx context.Context, limit int) (*Expansion, error) {
		limit = min(limit, maxExpanded)
		got, err := a.Expand(ctx, group, limit)
		var no *directory.Unusable
		var many *directory.TooMany
		switch {
		case errors.As(err, &no):
			return nil, &Unknown{Text: no.Text, Hint: no.Hint}
		case errors.As(err, &many):
			return nil, &TooMany{limit}
		case err != nil:
			return nil, err
		}
		x := &Expansion{Name: group.Name, Book: a.name, Members: make([]Member, len(got.Members)), Loops: got.Loops, Missing: got.Missing}
		for i, m := range got.Members {
			x.Members[i] = Member{m.Name, m.Address, m.Path}
		}
		sortMembers(x.Members)
		if got.Age > 0 {
			x.Age = ago(got.Age)
		}
		return x, nil
	}
}

func (a *asked) prefix(ctx context.Context, text string, limit int) ([]*Entry, error) {
	got, err := a.Prefix(ctx, text, limit)
	switch {
	case err != nil:
		return nil, err
	case got.Incomplete != "" && len(got.Entries) < 2:
		return nil, a.incomplete(got.Incomplete)
	}
	return a.entries(got.Entries), nil
}

// maxListed is how many groups of a directory are listed.
const maxListed = 1000

func (a *asked) groups(ctx context.Context) ([]string, error) {
	got, err := a.Groups(ctx, "", maxListed)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range got.Entries {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	return names, nil
}

// near: nobody reads a directory as a whole for a guess.
func (a *asked) near(bool, string, int, map[string]string) {}

func (a *asked) check(ctx context.Context, c *Checked) {
	tested, ok := a.Test(ctx)
	var why []string
	for _, t := range tested {
		if t.Error == "" {
			entries, groups := t.People+t.Groups, t.Groups
			if a.parts {
				entries, groups = c.Entries+entries, c.Groups+groups
			}
			c.Entries, c.Groups = entries, groups
			for _, note := range t.Notes {
				c.Faults = append(c.Faults, Fault{a.name, t.URL, note})
			}
			continue
		}
		text := t.Error
		if t.Hint != "" {
			text += "; " + t.Hint
		}
		c.Faults = append(c.Faults, Fault{a.name, t.URL, text})
		why = append(why, t.URL+": "+t.Error)
	}
	if c.Servers = tested; !ok {
		c.Error = "the book " + a.name + " can't be asked now: " + strings.Join(why, "; ")
	}
}
