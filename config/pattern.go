package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/config/wire"
)

// PatternKind says which addresses a Pattern matches.
type PatternKind uint8

// The kinds of patterns.
const (
	PatternAny        PatternKind = iota // "*": every address, the null reverse-path too
	PatternNull                          // "<>": the null reverse-path alone
	PatternAddress                       // "a@b": one address
	PatternDomain                        // "*@b": every address at the domain b
	PatternSubdomains                    // "*@*.b": every address at a domain below b, not at b
	PatternLocal                         // "a@*": the local part a at any domain
)

// Pattern is an address pattern of a route, in the form in which it is
// compared: Domain as wire.CanonicalDomain gives it, Local as wire.CanonicalLocal does.
type Pattern struct {
	Kind   PatternKind
	Local  string
	Domain string
}

// ParsePattern reads an address pattern.
func ParsePattern(s string) (Pattern, error) {
	switch s {
	case "*":
		return Pattern{Kind: PatternAny}, nil
	case "<>":
		return Pattern{Kind: PatternNull}, nil
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return Pattern{}, errors.New("contains a character that cannot be seen")
	}
	local, domain := wire.SplitAddress(s)
	if domain == "" {
		if strings.Contains(s, ".") && !strings.ContainsAny(s, "@*<> ") {
			return Pattern{}, fmt.Errorf(`has no @; for a whole domain write "*@%s"`, s)
		}
		return Pattern{}, errors.New(`is not an address pattern; write "a@b", "*@b", "*@*.b", "a@*", "*" or "<>"`)
	}
	if strings.ContainsAny(s, "<>") && local != "" && local[0] != '"' {
		return Pattern{}, errors.New("is written without angle brackets")
	}
	p := Pattern{Kind: PatternAddress}
	if err := p.setLocal(local); err != nil {
		return Pattern{}, err
	}
	if err := p.setDomain(domain); err != nil {
		return Pattern{}, err
	}
	return p, nil
}

func (p *Pattern) setLocal(local string) error {
	if local == "*" {
		p.Kind = PatternDomain
		return nil
	}
	canonical, ok := wire.CanonicalLocal(local)
	switch {
	case !ok:
		return errors.New("has no valid part before the @")
	case strings.Contains(local, "*") && local[0] != '"':
		return errors.New(`has a * inside the part before the @; only "*@domain" and whole addresses are known`)
	case local[0] != '"' && strings.ContainsFunc(local, wire.NeedsQuotes):
		return errors.New("has a character before the @ that has to stand in quotes")
	}
	p.Local = canonical
	return nil
}

func (p *Pattern) setDomain(domain string) error {
	if domain == "*" {
		if p.Kind == PatternDomain {
			return errors.New(`matches every address that has a domain; write "*"`)
		}
		p.Kind = PatternLocal
		return nil
	}
	if below, ok := strings.CutPrefix(domain, "*."); ok {
		if p.Kind != PatternDomain {
			return errors.New(`has a * in the domain of a single address; only "*@*.domain" is known`)
		}
		p.Kind, domain = PatternSubdomains, below
	}
	canonical, ok := wire.CanonicalDomain(domain)
	if !ok || domain[0] != '[' && !wire.IsDomain(domain, true) {
		return errors.New("has no valid domain")
	}
	p.Domain = canonical
	return nil
}

// String writes the pattern as ParsePattern reads it.
func (p Pattern) String() string {
	switch p.Kind {
	case PatternNull:
		return "<>"
	case PatternAddress:
		return p.local() + "@" + p.Domain
	case PatternDomain:
		return "*@" + p.Domain
	case PatternSubdomains:
		return "*@*." + p.Domain
	case PatternLocal:
		return p.local() + "@*"
	}
	return "*"
}

// local is Local in wire form, and in quotes where it has a *, which would mean
// something else.
func (p Pattern) local() string {
	local := wire.QuoteLocal(p.Local)
	if strings.Contains(local, "*") && local[0] != '"' {
		return `"` + local + `"`
	}
	return local
}

// takenSenders holds the patterns of routes that ask for the sender alone:
// mail that one of them matches reaches no later route.
type takenSenders map[Pattern]*Route

// add enters a route, if it is one of those.
func (t takenSenders) add(r *Route) { t.addAll(r, senders(r)) }

// addAll is add with the patterns of r's senders.
func (t takenSenders) addAll(r *Route, patterns []Pattern) {
	if len(r.User)+len(r.UnixUser)+len(r.Listener)+len(r.Header) > 0 || len(r.To) > 0 && !slices.Contains(r.To, "*") {
		return
	}
	for _, p := range patterns {
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

// meets reports whether one of list and p have an address in common.
func meets(list []Pattern, p Pattern) bool {
	for _, q := range list {
		if q.covers(p) || p.covers(q) {
			return true
		}
	}
	return false
}

// covers reports whether every address that q matches is one that p matches.
func (p Pattern) covers(q Pattern) bool {
	if p == q || p.Kind == PatternAny {
		return true
	}
	switch q.Kind {
	case PatternAddress:
		if p.Kind == PatternDomain && p.Domain == q.Domain || p.Kind == PatternLocal && p.Local == q.Local {
			return true
		}
	case PatternDomain, PatternSubdomains:
	default:
		return false
	}
	above, below := strings.CutSuffix(q.Domain, p.Domain)
	return p.Kind == PatternSubdomains && below && strings.HasSuffix(above, ".")
}
