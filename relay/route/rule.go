package route

import (
	"net/textproto"
	"slices"
	"strings"

	"postern/config"
)

// rule is one route, compiled.
type rule struct {
	name     string
	line     int
	file     string
	from, to *addressSet
	user     *nameSet
	unixUser *nameSet
	listener *nameSet
	header   []field
	upstream []string
	priority *int
	archive  []string
	reject   string
	watched  bool     // somebody is told when it takes no mail
	staging  *staging // nil: mail goes to its recipients
}

// field is a condition on a header field: one of its values has to match one
// of the patterns.
type field struct {
	name     string // canonical
	patterns []string
}

func compile(r *config.Route, position int) (rule, error) {
	from, err := newAddressSet(r.From)
	if err != nil {
		return rule{}, err
	}
	to, err := newAddressSet(r.To)
	if err != nil {
		return rule{}, err
	}
	out := rule{
		name: r.Name, line: r.Line, file: r.File, from: from, to: to,
		user: newNameSet(r.User), unixUser: newNameSet(r.UnixUser), listener: newNameSet(r.Listener),
		upstream: slices.Clone(r.Upstream), priority: r.Priority, archive: slices.Clone(r.Archive), reject: r.Reject, watched: r.Expect > 0,
	}
	for name, patterns := range r.Header {
		out.header = append(out.header, field{textproto.CanonicalMIMEHeaderKey(name), slices.Clone(patterns)})
	}
	slices.SortFunc(out.header, func(a, b field) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	if out.name == "" {
		out.name = routeNumber(position)
	}
	if out.staging, err = newStaging(&r.Staging); err != nil {
		return rule{}, err
	}
	return out, nil
}

// admits checks everything that is known at MAIL.
func (r *rule) admits(q *Query, from *address) bool {
	return r.from.matches(from) && r.listener.matches(q.Listener) && r.user.matches(q.User) && r.unixUser.matches(q.UnixUser)
}

// headerHolds checks the conditions on header fields; all must hold.
func (r *rule) headerHolds(header textproto.MIMEHeader) bool {
	for i := range r.header {
		if !r.header[i].matches(header[r.header[i].name]) {
			return false
		}
	}
	return true
}

func (f *field) matches(values []string) bool {
	for _, value := range values {
		for _, pattern := range f.patterns {
			if glob(pattern, value) {
				return true
			}
		}
	}
	return false
}

// nameSet is a condition on a name. A nil one is not set and always holds;
// "*" holds for every name that is not empty. Names are compared as they are.
type nameSet struct {
	any   bool
	names map[string]struct{}
	list  string // the names as people read them
}

func newNameSet(names []string) *nameSet {
	if len(names) == 0 {
		return nil
	}
	s := &nameSet{names: make(map[string]struct{}, len(names)), list: strings.Join(names, " or ")}
	for _, name := range names {
		s.names[name] = struct{}{}
		s.any = s.any || name == "*"
	}
	return s
}

func (s *nameSet) narrow() bool { return s != nil && !s.any }

func (s *nameSet) matches(name string) bool {
	switch {
	case s == nil:
		return true
	case name == "":
		return false
	case s.any:
		return true
	}
	_, ok := s.names[name]
	return ok
}

// glob matches the value of a header field: "*" stands for any run of
// characters, also none; everything else for itself, ASCII letters without
// regard to capitals, spaces at either end ignored. Its time is bounded by
// the product of the two lengths.
func glob(pattern, value string) bool {
	value = strings.Trim(value, " \t\r\n")
	p, v := 0, 0
	star, mark := -1, 0 // the last * seen, and where its run ends for now
	for v < len(value) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, v
			p++
		case p < len(pattern) && lower(pattern[p]) == lower(value[v]):
			p++
			v++
		case star >= 0:
			mark++
			p, v = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
