package graph

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"postern/config"
	"postern/relay/directory"
	"postern/relay/webclient"
)

// Graph is the directory of one organisation. It may be used concurrently.
type Graph struct {
	name    string
	set     *config.Book
	parts   []part
	answers *directory.Answers

	mu     sync.Mutex
	tokens webclient.Tokens // nil: there are none
	http   *http.Client     // nil: not made yet
	away   *directory.Away  // why nobody is asked
	until  time.Time        // when somebody is
}

// pause is how long nobody asks again after a failure.
const pause = time.Minute

// New makes one of a book. name is what it is called in errors. Nobody is asked
// yet.
func New(name string, set *config.Book) *Graph {
	g := &Graph{name: name, set: set, answers: directory.NewAnswers(set.Directory.Cache)}
	for _, what := range set.What {
		g.parts = append(g.parts, partOf(what))
	}
	return g
}

// UseTokens says who gets its tokens.
func (g *Graph) UseTokens(t webclient.Tokens) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens = t
}

// Find are the entries with an address that Microsoft finds for a text, and the
// contacts of mailboxes that have every word of it, at most limit.
func (g *Graph) Find(ctx context.Context, text string, limit int) (*directory.Answer, error) {
	return g.answer(ctx, fmt.Sprintf("find %d %s", limit, text), limit, func(p part) question {
		return question{search: p.search(text), keep: func(e *directory.Entry) bool {
			return (e.Address() != "" || e.Kind != directory.Person) && (p.mailbox == "" || contains(e, text))
		}}
	})
}

// Exact are the people that have an address, or else exactly a name or a
// nickname, and the groups that do, at most limit.
func (g *Graph) Exact(ctx context.Context, text string, limit int) (*directory.Answer, error) {
	return g.answer(ctx, fmt.Sprintf("exact %d %s", limit, text), limit, func(p part) question {
		return question{filter: p.exact(text), keep: func(e *directory.Entry) bool { return e.Is(text) }}
	})
}

// Groups are those of a name, an address or a nickname; all that have an address,
// for an empty name.
func (g *Graph) Groups(ctx context.Context, name string, limit int) (*directory.Answer, error) {
	return g.answer(ctx, fmt.Sprintf("groups %d %s", limit, name), limit, func(p part) question {
		switch {
		case p.kind != directory.Group:
			return question{}
		case name == "":
			return question{filter: p.addressed, keep: func(e *directory.Entry) bool { return true }}
		}
		return question{filter: p.exact(name), keep: func(e *directory.Entry) bool { return e.Is(name) }}
	})
}

// Prefix are the people with an address whose name, or a word of it, begins with
// a text.
func (g *Graph) Prefix(ctx context.Context, text string, limit int) (*directory.Answer, error) {
	return g.answer(ctx, fmt.Sprintf("prefix %d %s", limit, text), limit, func(p part) question {
		if p.kind != directory.Person {
			return question{}
		}
		return question{filter: p.prefix(text), keep: func(e *directory.Entry) bool { return e.Address() != "" && e.Begins(text) }}
	})
}

// question is what one part is asked. One without keep is asked nothing.
type question struct {
	search string                      // for $search
	filter string                      // for $filter
	keep   func(*directory.Entry) bool // of what comes
}

// answer asks each part, and keeps what it hears; or takes what was heard before.
func (g *Graph) answer(ctx context.Context, key string, limit int, ask func(part) question) (*directory.Answer, error) {
	v, age, err := g.answers.Get(key, func() (any, int, error) {
		out := &directory.Answer{}
		err := g.ask(ctx, 4, func(ctx context.Context, c *client) error {
			for _, p := range g.parts {
				q := ask(p)
				if q.keep == nil {
					continue
				}
				if err := g.entries(ctx, c, p, q, limit, out); err != nil {
					return fmt.Errorf("%s: %w", p.name, err)
				}
			}
			return nil
		})
		return out, len(out.Entries), err
	})
	if err != nil {
		return nil, err
	}
	out := *v.(*directory.Answer)
	out.Age = age
	return &out, nil
}

// entries adds those of a part.
func (g *Graph) entries(ctx context.Context, c *client, p part, q question, limit int, out *directory.Answer) error {
	add := func(e *directory.Entry, hidden bool) bool {
		if hidden || !q.keep(e) {
			return true
		}
		if len(out.Entries) >= limit {
			out.More = true
			return false
		}
		out.Entries = append(out.Entries, e)
		return true
	}
	if p.mailbox != "" {
		all, err := g.contacts(ctx, c, p)
		for i := 0; i < len(all) && add(all[i], false); i++ {
		}
		return err
	}
	query := url.Values{"$select": {p.fields}, "$count": {"true"}, "$top": {fmt.Sprint(min(limit+1, pageSize))}}
	if q.search != "" {
		query.Set("$search", q.search)
	} else {
		query.Set("$filter", q.filter)
	}
	_, err := c.all(ctx, p.path, query, func(i *item) bool { return add(i.entry(p), i.hidden()) })
	return err
}

// maxContacts bounds what is read of one mailbox.
const maxContacts = 50_000

// contacts are all of a mailbox, which Microsoft does not search.
func (g *Graph) contacts(ctx context.Context, c *client, p part) ([]*directory.Entry, error) {
	v, _, err := g.answers.Get("contacts "+p.mailbox, func() (any, int, error) {
		var all []*directory.Entry
		_, err := c.all(ctx, p.path, url.Values{"$select": {p.fields}, "$top": {fmt.Sprint(pageSize)}}, func(i *item) bool {
			all = append(all, i.entry(p))
			return len(all) <= maxContacts
		})
		if err == nil && len(all) > maxContacts {
			err = fmt.Errorf("the mailbox has more than %d contacts", maxContacts)
		}
		return all, len(all), err
	})
	if err != nil {
		return nil, err
	}
	return v.([]*directory.Entry), nil
}

// Expand lists the addresses of a group and of the groups in it, each once and at
// most limit. Microsoft does not say by which group somebody came. The error is
// as of directory.Directory.Expand.
func (g *Graph) Expand(ctx context.Context, group *directory.Entry, limit int) (*directory.Expansion, error) {
	v, age, err := g.answers.Get(fmt.Sprintf("expand %d %s", limit, group.ID), func() (any, int, error) {
		out := &directory.Expansion{}
		err := g.ask(ctx, 12, func(ctx context.Context, c *client) error {
			m := members{group: group.Name, limit: limit, out: out, seen: map[string]bool{}}
			query := url.Values{"$select": {memberFields}, "$count": {"true"}, "$top": {fmt.Sprint(pageSize)}}
			if _, err := c.all(ctx, "/groups/"+url.PathEscape(group.ID)+"/transitiveMembers", query, m.take); err != nil {
				return err
			}
			return m.err
		})
		return out, len(out.Members), err
	})
	if err != nil {
		return nil, err
	}
	out := *v.(*directory.Expansion)
	out.Age = age
	return &out, nil
}

// ask has a client answer a question. pages bounds the time.
func (g *Graph) ask(ctx context.Context, pages int, question func(context.Context, *client) error) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(pages)*g.set.Directory.Timeout)
	defer cancel()
	err = question(ctx, c)
	var many *directory.TooMany
	if err == nil || errors.As(err, &many) {
		return err
	}
	return g.failed(err)
}

// client is one for a question; the error says why nobody is asked now.
func (g *Graph) client() (*client, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.away != nil && time.Now().Before(g.until) {
		return nil, g.away
	}
	g.away = nil
	base, err := url.Parse(g.set.URL)
	if err == nil && g.http == nil {
		g.http, err = webclient.New(g.set.Directory.CAFile)
	}
	if err != nil {
		return nil, &directory.Away{Name: g.name, Text: err.Error(), Err: err}
	}
	return &client{base: base, http: g.http, account: &g.set.Directory.Account, tokens: g.tokens, timeout: g.set.Directory.Timeout}, nil
}

// failed is an error for whoever asked. Nobody asks again for a while, unless the
// question was at fault, or whoever asked went away.
func (g *Graph) failed(err error) *directory.Away {
	text, hint := g.explain(err)
	away := &directory.Away{Name: g.name, Text: g.set.URL + ": " + text, Hint: hint, Err: err}
	wait := pause
	var no *refused
	switch {
	case errors.Is(err, context.Canceled):
		return away
	case errors.As(err, &no) && no.status/100 == 4 && !no.busy() && no.status != http.StatusUnauthorized:
		return away
	case no != nil && no.again > 0:
		wait = no.again
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.away, g.until = away, time.Now().Add(wait)
	return away
}

// explain is an error in words, and what to do about it.
func (g *Graph) explain(err error) (text, hint string) {
	var no *refused
	switch {
	case !errors.As(err, &no):
	case no.status == http.StatusForbidden:
		hint = "grant the application, in the portal of Microsoft Entra, " + g.permissions() + ", and have an administrator consent"
	case no.status == http.StatusUnauthorized:
		hint = "the token is not for " + g.set.URL + ", or its application is no longer there"
	case no.busy() && no.again > 0:
		hint = "Microsoft wants nobody to ask for " + no.again.String()
	}
	return err.Error(), hint
}

func (g *Graph) permissions() string {
	var all []string
	for _, p := range g.parts {
		all = append(all, p.permission)
	}
	return strings.Join(all, ", ")
}

// Test asks each part by itself, and counts who has an address. ok: all of them
// can be used.
func (g *Graph) Test(ctx context.Context) (all []directory.Tested, ok bool) {
	ok = true
	for _, p := range g.parts {
		began := time.Now()
		t := directory.Tested{URL: strings.TrimSuffix(g.set.URL, "/") + p.path, As: g.set.Directory.Account.OAuth.ClientID}
		n := 0
		err := g.ask(ctx, 4, func(ctx context.Context, c *client) (err error) {
			if p.mailbox != "" {
				contacts, err := g.contacts(ctx, c, p)
				n = len(contacts)
				return err
			}
			n, err = c.all(ctx, p.path, url.Values{"$select": {"id"}, "$count": {"true"}, "$top": {"1"}, "$filter": {p.addressed}}, func(*item) bool { return false })
			if c.tls != nil {
				t.TLS = tls.VersionName(c.tls.Version)
			}
			return err
		})
		if p.kind == directory.Person {
			t.People = n
		} else {
			t.Groups = n
		}
		var away *directory.Away
		if errors.As(err, &away) {
			t.Error, t.Hint = strings.TrimPrefix(away.Text, g.set.URL+": "), away.Hint
		} else if err != nil {
			t.Error = err.Error()
		}
		ok = ok && err == nil
		t.Took = time.Since(began)
		all = append(all, t)
	}
	return all, ok
}
