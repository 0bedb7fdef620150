package graph

import (
	"errors"
	"slices"
	"strings"

	"postern/relay/directory"
)

// members takes those of a group.
type members struct {
	group string
	limit int
	out   *directory.Expansion
	seen  map[string]bool // addresses
	err   error
}

// maxMissing bounds how many members without an address are told.
const maxMissing = 100

// errUnreadable is for members of which nothing but their number is told.
var errUnreadable = errors.New("it does not tell who the members are: the application may read groups, and not the people in them")

// take takes one member; false: there is an error. The members of groups in the
// group come by themselves.
func (m *members) take(i *item) bool {
	kind := strings.TrimPrefix(i.Type, "#microsoft.graph.")
	switch kind {
	case "user", "orgContact":
	default:
		return true // a group, a device, an application
	}
	e := i.entry(part{})
	address := e.Address()
	switch {
	case address == "" && e.Name == "":
		m.err = errUnreadable
		return false
	case address == "":
		if text := e.Name + " has no address"; len(m.out.Missing) < maxMissing && !slices.Contains(m.out.Missing, text) {
			m.out.Missing = append(m.out.Missing, text)
		}
		return true
	}
	if k := strings.ToLower(address); !m.seen[k] {
		m.seen[k] = true
		m.out.Members = append(m.out.Members, directory.Member{Name: e.Name, Address: address, Path: []string{m.group}})
	}
	if len(m.out.Members) > m.limit {
		m.err = &directory.TooMany{Limit: m.limit}
		return false
	}
	return true
}
