package main

import (
	"slices"
	"testing"

	"postern/config"
	"postern/relay/naming"
	"postern/relay/route"
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
		if got := callNames(nil, &route.Query{From: c.from, To: c.to}); (got.refused != nil) != c.refused {
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
		got := callNames(named, &q)
		if got.String() != c.steps || !slices.Equal(got.to, c.recipients) || got.refused != nil {
			t.Errorf("from %q to %q: %q %q %v", c.from, c.to, got.String(), got.to, got.refused)
		}
	}
}
