package book

import (
	"slices"
	"strings"

	"postern/relay/addressbook"
)

// memberOf is a card that a group of the file names.
type memberOf struct {
	line int
	uid  string
}

// all takes people first, and then groups: they name members by the UIDs of the
// file, and a card that the folder has keeps its own.
func (im *importer) all(cards []addressbook.Placed) error {
	var groups []addressbook.Placed
	for _, card := range cards {
		if card.Entry().Group {
			groups = append(groups, card)
		} else if err := im.one(card); err != nil {
			return err
		}
	}
	for _, g := range groups {
		e := g.Entry()
		if had, byUID := im.known.find(e); had != nil && !byUID {
			im.is(e.UID, had)
		}
	}
	for _, g := range groups {
		if err := im.one(g); err != nil {
			return err
		}
	}
	return nil
}

// is says that a UID of the file is a card that there is.
func (im *importer) is(uid string, had *addressbook.Entry) {
	if uid != "" && had.UID != "" && uid != had.UID {
		im.became[uid] = had.UID
	}
}

const urn = "urn:uuid:"

// uidOf is the UID that a member of a group names; empty: it is an address.
func uidOf(member string) string {
	if len(member) > len(urn) && strings.EqualFold(member[:len(urn)], urn) {
		return member[len(urn):]
	}
	return ""
}

// follow is a group with the members that its own became.
func (im *importer) follow(card *addressbook.Card, e *addressbook.Entry, line int) (*addressbook.Card, *addressbook.Entry) {
	members := slices.Clone(e.Members)
	for i, m := range members {
		uid := uidOf(m)
		if to := im.became[uid]; to != "" {
			uid, members[i] = to, urn+to
		}
		if uid != "" {
			im.members = append(im.members, memberOf{line, uid})
		}
	}
	if slices.Equal(members, e.Members) {
		return card, e
	}
	card.SetMembers(members)
	return card, card.Entry()
}

// tellMembers tells of members that are no card, neither of the file nor of the
// folder.
func (im *importer) tellMembers() {
	at := map[int]*Line{}
	for i := range im.lines {
		at[im.lines[i].Line] = &im.lines[i]
	}
	for _, m := range im.members {
		if l := at[m.line]; l != nil && im.known.uid[m.uid] == nil {
			l.Faults = append(l.Faults, "member "+urn+m.uid+" is no card of the file or the book")
		}
	}
}
