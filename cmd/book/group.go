package book

import (
	"fmt"
	"slices"
	"strings"

	"postern/config/wire"
	"postern/relay/addressbook"
)

// Nobody is the error for somebody who is not in the book, or not in the group.
type Nobody struct{ Text, Hint string }

func (e *Nobody) Error() string { return e.Text }

// AddToGroup puts somebody into a group: a person by UID, address or name, or an
// address that is nobody's. Where the group has a card of its own they become a
// member there, else the group becomes a category of their card. An address that
// is nobody's needs a card of the group, which is made. It reports whether
// anything was changed.
func AddToGroup(f *addressbook.Folder, name, who string) (bool, error) {
	x, err := fresh(f)
	if err != nil {
		return false, err
	}
	card := cardOf(x, name)
	person, err := person(x, who)
	if err != nil {
		return false, err
	}
	switch {
	case person != nil && card == nil:
		changed := false
		err := f.Change(person, func(c *addressbook.Card) (bool, error) {
			groups := c.Entry().Groups
			if all := union(groups, []string{name}); len(all) > len(groups) {
				c.SetGroups(all)
				changed = true
			}
			return changed, nil
		})
		return changed, err
	case person == nil && wire.CheckMailbox(who, true) != wire.NoFault:
		return false, &Nobody{wire.Quote(wire.Line(who)) + " is nobody in " + f.Name + ", and no address", "postern book add makes a card"}
	}
	member := "mailto:" + who
	if person != nil {
		member = "urn:uuid:" + person.UID
	}
	if card == nil {
		c := addressbook.NewCard()
		c.SetName(name)
		c.SetMembers([]string{member})
		_, err := f.Add(c)
		return err == nil, err
	}
	changed := false
	err = f.Change(card, func(c *addressbook.Card) (bool, error) {
		members := c.Entry().Members
		if all := union(members, []string{member}); len(all) > len(members) {
			c.SetMembers(all)
			changed = true
		}
		return changed, nil
	})
	return changed, err
}

// RemoveFromGroup takes somebody out of a group, however they are in it.
func RemoveFromGroup(f *addressbook.Folder, name, who string) error {
	x, err := fresh(f)
	if err != nil {
		return err
	}
	person, err := person(x, who)
	if err != nil {
		return err
	}
	found := false
	if person != nil {
		err := f.Change(person, func(c *addressbook.Card) (bool, error) {
			groups := c.Entry().Groups
			left := slices.DeleteFunc(slices.Clone(groups), func(g string) bool { return strings.EqualFold(g, name) })
			if len(left) == len(groups) {
				return false, nil
			}
			found = true
			c.SetGroups(left)
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	if card := cardOf(x, name); card != nil {
		err := f.Change(card, func(c *addressbook.Card) (bool, error) {
			members := c.Entry().Members
			left := slices.DeleteFunc(slices.Clone(members), func(m string) bool {
				return strings.EqualFold(m, "mailto:"+who) || person != nil && (strings.EqualFold(m, "urn:uuid:"+person.UID) || m == person.UID)
			})
			if len(left) == len(members) {
				return false, nil
			}
			found = true
			c.SetMembers(left)
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	if !found {
		return &Nobody{wire.Quote(wire.Line(who)) + " is not in the group " + wire.Quote(wire.Line(name)), "postern book expand " + wire.Quote("group:"+name) + " shows who is"}
	}
	return nil
}

func fresh(f *addressbook.Folder) (*addressbook.Index, error) {
	f.Refresh()
	return f.Index()
}

func cardOf(x *addressbook.Index, name string) *addressbook.Entry {
	for _, e := range x.Entries {
		if e.Group && strings.EqualFold(e.Name, name) {
			return e
		}
	}
	return nil
}

// person is nil where a text is nobody.
func person(x *addressbook.Index, who string) (*addressbook.Entry, error) {
	if e := x.ByUID(who); e != nil {
		return e, nil
	}
	switch list := x.Exact(who); len(list) {
	case 0:
		return nil, nil
	case 1:
		return list[0], nil
	default:
		var uids []string
		for _, e := range list[:min(5, len(list))] {
			uids = append(uids, e.UID)
		}
		return nil, &Nobody{fmt.Sprintf("%s are %d cards: %s", wire.Quote(wire.Line(who)), len(list), wire.Line(strings.Join(uids, ", "))), "give one of these"}
	}
}

// Entry is the one of a folder that a UID, an address or a name means.
func Entry(f *addressbook.Folder, who string) (*addressbook.Entry, error) {
	e, err := Find(f, who)
	if err == nil && e == nil {
		err = &Nobody{"there is no card of " + wire.Quote(wire.Line(who)) + " in " + f.Name, "postern book find searches all books"}
	}
	return e, err
}

// Find is Entry, and nil where there is none.
func Find(f *addressbook.Folder, who string) (*addressbook.Entry, error) {
	x, err := fresh(f)
	if err != nil {
		return nil, err
	}
	e, err := person(x, who)
	if err == nil && e == nil {
		e = cardOf(x, who)
	}
	return e, err
}
