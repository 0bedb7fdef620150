package book

import (
	"errors"
	"slices"
	"strings"

	"postern/relay/addressbook"
)

// State is what an import makes of a card.
type State string

// The states.
const (
	New     State = "new"
	Changed State = "changed"
	Same    State = "same"
	Bad     State = "bad"
)

// Line tells of one card of a file.
type Line struct {
	Line    int    `json:"line"`
	State   State  `json:"state"`
	Name    string `json:"name,omitempty"`
	Address string `json:"address,omitempty"`
	UID     string `json:"uid,omitempty"`
	Text    string `json:"text,omitempty"` // why it is bad
}

// Import puts the cards of a file into a folder. A card is that of the folder
// with its UID, else that which has its first address. Of a card that is found
// by its address, names, addresses and groups are added, and nothing is taken
// away; one with the same UID is replaced. dry: nothing is written. The error is
// one of the folder; the lines before it were carried out.
func Import(f *addressbook.Folder, c *addressbook.Contents, dry bool) ([]Line, error) {
	var lines []Line
	for _, card := range c.Cards {
		l, err := one(f, card, dry)
		if err != nil {
			return lines, err
		}
		lines = append(lines, l)
	}
	return lines, nil
}

func one(f *addressbook.Folder, placed addressbook.Placed, dry bool) (Line, error) {
	card := placed.Modern()
	e := card.Entry()
	l := Line{Line: placed.Line, State: New, Name: e.Name, Address: e.Address(), UID: e.UID}
	if e.Name == "" && e.Address() == "" {
		l.State, l.Text = Bad, "has neither a name nor an address"
		return l, nil
	}
	f.Refresh()
	x, err := f.Index()
	if err != nil {
		return l, err
	}
	known, byUID := find(x, e)
	if known == nil {
		if dry {
			return l, nil
		}
		added, err := f.Add(card)
		if errors.Is(err, addressbook.ErrThere) { // a file of that name, which is no card
			l.State, l.Text = Bad, err.Error()
			return l, nil
		}
		if err == nil {
			l.UID = added.UID
		}
		return l, err
	}
	l.UID = known.UID
	if byUID {
		l.State, err = replace(f, known, card, dry)
	} else {
		l.State, err = complete(f, known, e, dry)
	}
	return l, err
}

func find(x *addressbook.Index, e *addressbook.Entry) (known *addressbook.Entry, byUID bool) {
	if known := x.ByUID(e.UID); known != nil {
		return known, true
	}
	if e.Group {
		for _, other := range x.Entries {
			if other.Group && strings.EqualFold(other.Name, e.Name) {
				return other, false
			}
		}
		return nil, false
	}
	if e.Address() != "" {
		if same := x.Exact(e.Address()); len(same) > 0 {
			return same[0], false
		}
	}
	return nil, false
}

func replace(f *addressbook.Folder, known *addressbook.Entry, card *addressbook.Card, dry bool) (State, error) {
	s, err := f.Get(known)
	switch {
	case err != nil:
		return Bad, err
	case string(s.Modern().Bytes()) == string(card.Bytes()):
		return Same, nil
	case dry:
		return Changed, nil
	}
	return Changed, f.Replace(s, card)
}

// complete adds to a card what another one says of the same person or group.
func complete(f *addressbook.Folder, known, e *addressbook.Entry, dry bool) (State, error) {
	state := Same
	err := f.Change(known, func(c *addressbook.Card) (bool, error) {
		now := c.Entry()
		changed := false
		if now.Name == "" && e.Name != "" {
			c.SetName(e.Name)
			changed = true
		}
		if now.Organisation == "" && e.Organisation != "" {
			c.SetOrganisation(e.Organisation)
			changed = true
		}
		for _, list := range []struct {
			has, more []string
			set       func([]string)
		}{{now.Addresses, e.Addresses, c.SetAddresses}, {now.Groups, e.Groups, c.SetGroups}, {now.Nicknames, e.Nicknames, c.SetNicknames}, {now.Members, e.Members, c.SetMembers}} {
			if all := union(list.has, list.more); len(all) > len(list.has) {
				list.set(all)
				changed = true
			}
		}
		if changed {
			state = Changed
		}
		return changed && !dry, nil
	})
	return state, err
}

func union(has, more []string) []string {
	all := slices.Clone(has)
	for _, s := range more {
		if !slices.ContainsFunc(all, func(t string) bool { return strings.EqualFold(s, t) }) {
			all = append(all, s)
		}
	}
	return all
}
