package main

import (
	"testing"

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
		if got := noDomain(route.Query{From: c.from, To: c.to}); (got != "") != c.refused {
			t.Errorf("from %q to %q: %q", c.from, c.to, got)
		}
	}
}
