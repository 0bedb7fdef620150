package route

import (
	"strings"

	"postern/config"
	"postern/config/wire"
)

// addressBytes is room for every address that RFC 5321 §4.5.3.1 allows.
// Longer ones cost an allocation.
const addressBytes = 330

// address is an address in the form in which it is compared.
type address struct {
	null    bool   // the null reverse-path
	unknown bool   // not given: only a condition that is not set holds
	whole   []byte // canonical "local@domain"; nil: only "*" matches it
	at      int    // index of the @ in whole
}

// newAddress brings an address in wire form into canonical form, using dst
// for storage.
func newAddress(dst []byte, text string) address {
	if text == "" {
		return address{null: true}
	}
	if !wire.IsASCII(text) && strings.ContainsFunc(text, wire.Unaddressable) {
		return address{}
	}
	local, domain := wire.SplitAddress(text)
	whole, ok := wire.AppendLocal(dst, local)
	if !ok || domain == "" {
		return address{}
	}
	at := len(whole)
	whole = append(whole, '@')
	if wire.IsASCII(domain) {
		if domain[0] == '.' || domain[len(domain)-1] == '.' || strings.Contains(domain, "..") {
			return address{}
		}
		return address{whole: wire.AppendLower(whole, domain), at: at}
	}
	canonical, ok := wire.CanonicalDomain(domain)
	if !ok {
		return address{}
	}
	return address{whole: append(whole, canonical...), at: at}
}

func (a *address) local() []byte  { return a.whole[:a.at] }
func (a *address) domain() []byte { return a.whole[a.at+1:] }

// parent cuts the first label off a domain; nil when there is no other.
func parent(domain []byte) []byte {
	for i, c := range domain {
		if c == '.' && i > 0 {
			return domain[i+1:]
		}
	}
	return nil
}

// addressSet is the condition on a sender or recipient. A nil one is not
// set and always holds.
type addressSet struct {
	patterns                          []config.Pattern
	any, null                         bool
	addresses, domains, below, locals map[string]struct{}
}

func newAddressSet(patterns []string) (*addressSet, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	s := &addressSet{}
	put := func(m *map[string]struct{}, key string) {
		if *m == nil {
			*m = map[string]struct{}{}
		}
		(*m)[key] = struct{}{}
	}
	for _, text := range patterns {
		p, err := config.ParsePattern(text)
		if err != nil {
			return nil, &PatternError{Pattern: text, Err: err}
		}
		s.patterns = append(s.patterns, p)
		switch p.Kind {
		case config.PatternAny:
			s.any = true
		case config.PatternNull:
			s.null = true
		case config.PatternAddress:
			put(&s.addresses, p.Local+"@"+p.Domain)
		case config.PatternDomain:
			put(&s.domains, p.Domain)
		case config.PatternSubdomains:
			put(&s.below, p.Domain)
		case config.PatternLocal:
			put(&s.locals, p.Local)
		}
	}
	return s, nil
}

// narrow reports whether the condition holds for few addresses, so that an
// index over it pays.
func (s *addressSet) narrow() bool { return s != nil && !s.any }

func (s *addressSet) matches(a *address) bool {
	switch {
	case s == nil:
		return true
	case a.unknown:
		return false
	case s.any:
		return true
	case a.null:
		return s.null
	case a.whole == nil:
		return false
	}
	if has(s.addresses, a.whole) || has(s.domains, a.domain()) || has(s.locals, a.local()) {
		return true
	}
	if len(s.below) > 0 {
		for up := parent(a.domain()); up != nil; up = parent(up) {
			if has(s.below, up) {
				return true
			}
		}
	}
	return false
}

func has(m map[string]struct{}, key []byte) bool {
	_, ok := m[string(key)]
	return ok
}

// index finds the rules whose patterns match an address, without looking at
// the others.
type index struct {
	null                              []int
	addresses, domains, below, locals map[string][]int
}

// add enters rule i under each of its patterns. Rules are added in ascending
// order.
func (x *index) add(patterns []config.Pattern, i int) {
	put := func(m *map[string][]int, key string) {
		if *m == nil {
			*m = map[string][]int{}
		}
		(*m)[key] = enter((*m)[key], i)
	}
	for _, p := range patterns {
		switch p.Kind {
		case config.PatternNull:
			x.null = enter(x.null, i)
		case config.PatternAddress:
			put(&x.addresses, p.Local+"@"+p.Domain)
		case config.PatternDomain:
			put(&x.domains, p.Domain)
		case config.PatternSubdomains:
			put(&x.below, p.Domain)
		case config.PatternLocal:
			put(&x.locals, p.Local)
		}
	}
}

// enter appends i, once.
func enter(list []int, i int) []int {
	if len(list) > 0 && list[len(list)-1] == i {
		return list
	}
	return append(list, i)
}

// candidates appends the lists of rules with a pattern that matches a.
func (x *index) candidates(lists [][]int, a *address) [][]int {
	switch {
	case a.unknown:
		return lists
	case a.null:
		return append(lists, x.null)
	case a.whole == nil:
		return lists
	}
	lists = append(lists, x.addresses[string(a.whole)], x.domains[string(a.domain())], x.locals[string(a.local())])
	if len(x.below) > 0 {
		for up := parent(a.domain()); up != nil; up = parent(up) {
			if list := x.below[string(up)]; list != nil {
				lists = append(lists, list)
			}
		}
	}
	return lists
}

// PatternError is a pattern that cannot be understood.
type PatternError struct {
	Pattern string
	Err     error
}

func (e *PatternError) Error() string {
	return "pattern " + wire.Quote(e.Pattern) + " " + e.Err.Error()
}

// Unwrap is the reason.
func (e *PatternError) Unwrap() error { return e.Err }
