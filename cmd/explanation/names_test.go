package explanation

import (
	"slices"
	"strings"
	"testing"

	"postern/config"
	"postern/relay/naming"
	"postern/relay/route"
	"postern/relay/submission/submissiontest"
)

// TestExplainRefusesNamesWithoutDomain: what a listener refuses is not said to
// match a route.
func TestExplainRefusesNamesWithoutDomain(t *testing.T) {
	for _, c := range []struct {
		from, to string
		refused  bool
	}{
		{"root", "b@example.net", true}, {"a@example.com", "root", true},
		{"", "b@example.net", false}, {"a@example.com", "", false},
		{"a@example.com", "Postmaster", false}, {"a@example.com", "b@example.net", false},
	} {
		if got := callNames(t.Context(), nil, &route.Query{From: c.from, To: c.to}, nil); (got.refused != nil) != c.refused {
			t.Errorf("from %q to %q: %v", c.from, c.to, got.refused)
		}
	}
}

// explain shows what becomes of names, step by step.
func TestExplainNames(t *testing.T) {
	named, err := naming.New(&config.Config{Submission: config.Submission{
		Domain: "example.com", Alias: map[string][]string{"root": {"ops", "x@example.net"}, "ops": {"bob"}, "*": {"root"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, to, steps string
		recipients      []string
	}{
		{"root", "b@example.net", "root is root@example.com (domain of [submission])\n", []string{"b@example.net"}},
		{"a@example.com", "", "", []string{""}},
		{"", "ROOT@localhost", "root is ops, x@example.net (alias of [submission])\nops is bob (alias of [submission])\n", []string{"bob@example.com", "x@example.net"}},
		{"", "who", "who is root (alias of [submission], that of *)\nroot is ops, x@example.net (alias of [submission])\nops is bob (alias of [submission])\n", []string{"bob@example.com", "x@example.net"}},
		{"", "root@example.com", "", []string{"root@example.com"}},
	} {
		q := route.Query{From: c.from, To: c.to}
		got := callNames(t.Context(), named, &q, func(*config.Book) bool { return true })
		if got.String() != c.steps || !slices.Equal(got.to, c.recipients) || got.refused != nil {
			t.Errorf("from %q to %q: %q %q %v", c.from, c.to, got.String(), got.to, got.refused)
		}
	}
}

// explain shows whom address books mean by a name, with loops and members that
// no mail can go to, and asks none for an address with a domain.
func TestExplainBooks(t *testing.T) {
	books := (&submissiontest.Named{Books: submissiontest.Cards}).OpenBooks(t)
	named, err := naming.New(&config.Config{Books: books, Submission: config.Submission{
		Domain: "example.com", Alias: map[string][]string{"root": {"group:Ops", "ali", "x@example.net"}, "bob": {"book:Bob Brown"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ to, steps, recipients, refused string }{
		{to: "ali", steps: "ali is alice@book.example (Alice Liddell in the book Team)\n", recipients: "alice@book.example"},
		{to: "root", recipients: "alice@book.example x@book.example x@example.net", steps: "root is group:Ops, ali, x@example.net (alias of [submission])\n" +
			"group:Ops is alice@book.example, x@book.example (group Ops in the book Team)\ngroup:Ops is Ops > Ops (a group that holds itself counts once)\n" +
			"ali is alice@book.example (Alice Liddell in the book Team)\n"},
		{to: "who", steps: "who is who@example.com (domain of [submission])\n", recipients: "who@example.com"},
		{to: "ali@example.com", recipients: "ali@example.com"},
		{to: "bob", refused: `553 5.1.4 "Bob Brown" may be`},
	} {
		q := route.Query{To: c.to}
		got := callNames(t.Context(), named, &q, func(*config.Book) bool { return true })
		if c.refused != "" {
			if got.refused == nil || !strings.HasPrefix(got.refused.Error(), c.refused) {
				t.Errorf("%s: refused %v", c.to, got.refused)
			}
			continue
		}
		if got.String() != c.steps || strings.Join(got.to, " ") != c.recipients || got.refused != nil {
			t.Errorf("%s: %q %q %v", c.to, got.String(), got.to, got.refused)
		}
	}
}
