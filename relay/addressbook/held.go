package addressbook

import (
	"context"
	"slices"
)

// asker answers what is asked of a book. The errors are sentences that name the
// book, which can't be asked now, or *Unknown.
type asker interface {
	// find are the entries that a text may mean, at most limit.
	find(ctx context.Context, text string, limit int) (*Found, error)
	// exact is who has an address, else a name or nickname, or the group of that
	// name.
	exact(ctx context.Context, text string, group bool) (resolved, error)
	// prefix are those whose name, or a word of it, begins with a text.
	prefix(ctx context.Context, text string, limit int) ([]*Entry, error)
	// groups are the names of all groups, sorted.
	groups(ctx context.Context) ([]string, error)
	// near adds names that may be a folded one with so many changes, by how they are
	// compared.
	near(group bool, folded string, changes int, into map[string]string)
	// check looks at the book as a whole.
	check(ctx context.Context, c *Checked)
	// state tells what is known without asking anybody else.
	state(s *State)
}

// held is a book whose entries are in memory.
type held struct{ Book }

func (h held) find(_ context.Context, text string, limit int) (*Found, error) {
	x, err := h.Index()
	if err != nil {
		return nil, err
	}
	return &Found{Entries: x.Search(text, limit), Faults: x.Faults}, nil
}

func (h held) exact(_ context.Context, text string, group bool) (resolved, error) {
	x, err := h.Index()
	if err != nil {
		return resolved{}, err
	}
	if !group {
		switch people := x.Exact(text); {
		case len(people) > 1 && !samePerson(people):
			return resolved{}, ambiguous(text, people)
		case len(people) > 0:
			return resolved{entry: people[0]}, nil
		}
	}
	if name, ok := x.Group(text); ok {
		return resolved{group: name, expand: func(_ context.Context, limit int) (*Expansion, error) { return x.expand(name, limit) }}, nil
	}
	return resolved{}, nil
}

func (h held) prefix(_ context.Context, text string, limit int) ([]*Entry, error) {
	x, err := h.Index()
	if err != nil {
		return nil, err
	}
	return x.Prefix(text, limit), nil
}

func (h held) groups(context.Context) ([]string, error) {
	x, err := h.Index()
	if err != nil {
		return nil, err
	}
	return x.Groups(), nil
}

func (h held) near(group bool, k string, changes int, into map[string]string) {
	x, err := h.Index()
	if err != nil {
		return
	}
	for name, g := range x.groups {
		if max(len(name)-len(k), len(k)-len(name)) <= changes {
			into[name] = g.name
		}
	}
	if !group {
		x.near(k, changes, into)
	}
}

func (h held) check(_ context.Context, c *Checked) {
	x, err := h.Index()
	if err != nil {
		c.Error = err.Error()
		return
	}
	c.Entries, c.Groups = len(x.Entries), len(x.groups)
	c.Faults = append(c.Faults, x.Faults...)
	for _, g := range x.Groups() {
		if e, err := x.expand(g, maxExpanded); err == nil {
			c.Faults = append(c.Faults, e.faults(c.Book)...)
		}
	}
	c.Faults = slices.Clip(c.Faults)
}
