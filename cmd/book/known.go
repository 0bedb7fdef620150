package book

import (
	"slices"
	"strings"

	"postern/relay/addressbook"
)

// known are the entries that a card of a file may be, those of the folder and
// those that the same file has brought.
type known struct {
	uid, address, group map[string]*addressbook.Entry
	name                map[string][]*addressbook.Entry // of people
}

func newKnown(x *addressbook.Index) *known {
	k := &known{
		uid: map[string]*addressbook.Entry{}, address: map[string]*addressbook.Entry{}, group: map[string]*addressbook.Entry{},
		name: map[string][]*addressbook.Entry{},
	}
	for _, e := range x.Entries {
		k.take(e)
	}
	return k
}

func alike(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

// take adds an entry. The first one with an address keeps it.
func (k *known) take(e *addressbook.Entry) {
	first := func(m map[string]*addressbook.Entry, key string) {
		if m[key] == nil && key != "" {
			m[key] = e
		}
	}
	first(k.uid, e.UID)
	if e.Group {
		first(k.group, alike(e.Name))
		return
	}
	for _, a := range e.Addresses {
		first(k.address, alike(a))
	}
	k.name[alike(e.Name)] = append(k.name[alike(e.Name)], e)
}

// drop takes an entry away.
func (k *known) drop(e *addressbook.Entry) {
	gone := func(m map[string]*addressbook.Entry, key string) {
		if m[key] == e {
			delete(m, key)
		}
	}
	gone(k.uid, e.UID)
	gone(k.group, alike(e.Name))
	for _, a := range e.Addresses {
		gone(k.address, alike(a))
	}
	k.name[alike(e.Name)] = slices.DeleteFunc(k.name[alike(e.Name)], func(o *addressbook.Entry) bool { return o == e })
}

// find is the entry that a card stands for; nil: there is none.
func (k *known) find(e *addressbook.Entry) (had *addressbook.Entry, byUID bool) {
	if had := k.uid[e.UID]; had != nil && e.UID != "" {
		return had, true
	}
	switch {
	case e.Group:
		return k.group[alike(e.Name)], false
	case e.Address() != "":
		return k.address[alike(e.Address())], false
	}
	same := k.name[alike(e.Name)]
	for _, one := range same {
		if one.Address() == "" {
			return one, false
		}
	}
	if len(same) == 1 {
		return same[0], false
	}
	return nil, false // several, and nobody can tell which
}
