package config

import (
	"slices"
	"strings"
)

// takenSenders holds the patterns of routes that ask for the sender alone:
// mail that one of them matches reaches no later route.
type takenSenders map[Pattern]*Route

// add enters a route, if it is one of those.
func (t takenSenders) add(r *Route) {
	if len(r.User)+len(r.UnixUser)+len(r.Listener)+len(r.Header) > 0 || len(r.To) > 0 && !slices.Contains(r.To, "*") {
		return
	}
	for _, p := range senders(r) {
		if _, earlier := t[p]; !earlier {
			t[p] = r
		}
	}
}

// by is the route that takes everything that r could match, or the last one
// of several that do so together; nil: there is something left.
func (t takenSenders) by(r *Route) *Route {
	var by *Route
	for _, p := range senders(r) {
		first := t.covers(p)
		if first == nil {
			return nil
		}
		by = first
	}
	return by
}

// covers finds an entered pattern that matches every address that p does.
func (t takenSenders) covers(p Pattern) *Route {
	wider := []Pattern{p, {Kind: PatternAny}}
	switch p.Kind {
	case PatternAddress:
		wider = append(wider, Pattern{Kind: PatternDomain, Domain: p.Domain}, Pattern{Kind: PatternLocal, Local: p.Local})
		fallthrough
	case PatternDomain, PatternSubdomains:
		for _, up, more := strings.Cut(p.Domain, "."); more; _, up, more = strings.Cut(up, ".") {
			wider = append(wider, Pattern{Kind: PatternSubdomains, Domain: up})
		}
	}
	for _, w := range wider {
		if r := t[w]; r != nil {
			return r
		}
	}
	return nil
}

// senders are the patterns of r's from, or the one that stands for a missing
// condition. Patterns that are wrong were reported and count for nothing.
func senders(r *Route) []Pattern {
	if len(r.From) == 0 {
		return []Pattern{{Kind: PatternAny}}
	}
	var list []Pattern
	for _, s := range r.From {
		if p, err := ParsePattern(s); err == nil {
			list = append(list, p)
		}
	}
	return list
}
