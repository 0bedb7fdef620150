package book

import (
	"errors"
	"fmt"
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
	// Faults are what of it cannot be used, of a card that is taken in.
	Faults []string `json:"faults,omitempty"`
}

// batch is how many new cards are written at once.
const batch = 256

// Import puts the cards of a file into a folder. A card is that of the folder
// with its UID, else that which has its first address, else, where it has none,
// that which has its name. To a card that is found by its address or name, what is
// missing is added, and nothing is taken away; one with the same UID is replaced.
// Members of groups follow to the cards that theirs became. dry: nothing is
// written. The error is one of the folder; the lines were carried out.
func Import(f *addressbook.Folder, c *addressbook.Contents, dry bool) ([]Line, error) {
	f.Refresh()
	x, err := f.Index()
	if err != nil {
		return nil, err
	}
	im := &importer{
		folder: f, dry: dry, known: newKnown(x), drafts: map[*addressbook.Entry]*addressbook.Card{},
		became: map[string]string{}, brought: map[string]int{},
	}
	err = im.all(c.Cards)
	if flushed := im.flush(); err == nil {
		err = flushed
	}
	im.tellMembers()
	lines := slices.DeleteFunc(im.lines, func(l Line) bool { return l.State == "" })
	slices.SortStableFunc(lines, func(a, b Line) int { return a.Line - b.Line })
	return lines, err
}

// importer carries an import out.
type importer struct {
	folder *addressbook.Folder
	dry    bool
	known  *known
	lines  []Line                                   // without a state: not carried out
	drafts map[*addressbook.Entry]*addressbook.Card // of a dry run: what would be written

	became  map[string]string // the UIDs of cards of the file that are another card of the folder
	brought map[string]int    // the line of each UID of the file
	members []memberOf

	cards   []*addressbook.Card // new ones that wait to be written
	entries []*addressbook.Entry
	at      []int // the line of each
}

func (im *importer) one(placed addressbook.Placed) error {
	card := placed.Modern()
	e := card.Entry()
	l := Line{Line: placed.Line, Name: e.Name, Address: e.Address(), UID: e.UID}
	for _, name := range placed.Lost() {
		l.Faults = append(l.Faults, name+" cannot be understood, and is left out")
	}
	if e.Name == "" && e.Address() == "" {
		l.State, l.Text = Bad, "has neither a name nor an address"
		im.lines = append(im.lines, l)
		return nil
	}
	if e.Group {
		card, e = im.follow(card, e, placed.Line)
	}
	had, byUID := im.known.find(e)
	if had == nil {
		im.lines = append(im.lines, l)
		im.brought[e.UID] = l.Line
		return im.add(card, e)
	}
	if slices.Contains(im.entries, had) { // it waits to be written
		if err := im.flush(); err != nil {
			return err
		}
		if had, byUID = im.known.find(e); had == nil {
			im.lines = append(im.lines, l)
			return im.add(card, e)
		}
	}
	l.UID = had.UID
	var err error
	if before := im.brought[e.UID]; byUID && before > 0 && strangers(had, e) {
		l.State, l.Text = Bad, fmt.Sprintf("has the UID of the card at line %d, which is somebody else", before)
	} else if byUID {
		im.brought[e.UID] = l.Line
		l.State, err = im.replace(had, card)
	} else {
		im.is(e.UID, had)
		l.State, err = im.complete(had, card)
	}
	if err == nil {
		im.lines = append(im.lines, l)
	}
	return err
}

// strangers tells whether two cards with addresses have neither one nor the name in
// common.
func strangers(a, b *addressbook.Entry) bool {
	return a.Address() != "" && b.Address() != "" && alike(a.Name) != alike(b.Name) && !slices.ContainsFunc(a.Addresses, func(one string) bool {
		return slices.ContainsFunc(b.Addresses, func(other string) bool { return strings.EqualFold(one, other) })
	})
}

// add has a card wait until there are many to be written.
func (im *importer) add(card *addressbook.Card, e *addressbook.Entry) error {
	last := len(im.lines) - 1
	im.known.take(e)
	if im.dry {
		im.lines[last].State, im.drafts[e] = New, card
		return nil
	}
	im.cards, im.entries, im.at = append(im.cards, card), append(im.entries, e), append(im.at, last)
	if len(im.cards) < batch {
		return nil
	}
	return im.flush()
}

// flush writes the cards that wait.
func (im *importer) flush() error {
	if len(im.cards) == 0 {
		return nil
	}
	added, err := im.folder.AddAll(im.cards)
	for i, a := range added {
		im.known.drop(im.entries[i])
		l := &im.lines[im.at[i]]
		if a.Err != nil { // a file of that name, which is no card
			l.State, l.Text = Bad, a.Err.Error()
			continue
		}
		l.State, l.UID = New, a.Entry.UID
		im.known.take(a.Entry)
	}
	im.cards, im.entries, im.at = nil, nil, nil
	return err
}

// replace puts a card in the place of the one with its UID, also where somebody
// else has just changed that one.
func (im *importer) replace(had *addressbook.Entry, card *addressbook.Card) (State, error) {
	for tries := 1; ; tries++ {
		is, write, err := im.get(had)
		if err != nil || string(is.Modern().Bytes()) == string(card.Bytes()) {
			return Same, err
		}
		err = write(card)
		switch {
		case errors.Is(err, addressbook.ErrChanged) && tries < 10:
			continue
		case err != nil:
			return Bad, err
		}
		e := card.Entry()
		if im.now(had, e); im.dry {
			im.drafts[e] = card
		}
		return Changed, nil
	}
}

// complete adds to a card what another one says of the same person or group.
func (im *importer) complete(had *addressbook.Entry, card *addressbook.Card) (State, error) {
	if im.dry {
		is, _, err := im.get(had)
		if err != nil {
			return Bad, err
		}
		if !merge(is, card) {
			return Same, nil
		}
		e := is.Entry()
		im.now(had, e)
		im.drafts[e] = is
		return Changed, nil
	}
	var is *addressbook.Entry // as it is written; nil: nothing has changed
	err := im.folder.Change(had, func(c *addressbook.Card) (bool, error) {
		if is = nil; merge(c, card) {
			is = c.Entry()
		}
		return is != nil, nil
	})
	if err != nil || is == nil {
		return Same, err
	}
	im.now(had, is)
	return Changed, nil
}

// get is the card of an entry, and what writes another one in its place: nothing
// does in a dry run.
func (im *importer) get(e *addressbook.Entry) (is *addressbook.Card, write func(*addressbook.Card) error, err error) {
	none := func(*addressbook.Card) error { return nil }
	if card := im.drafts[e]; card != nil {
		return card, none, nil
	}
	s, err := im.folder.Get(e)
	if err != nil {
		return nil, nil, err
	}
	if im.dry {
		return s.Card, none, nil
	}
	return s.Card, func(c *addressbook.Card) error { return im.folder.Replace(s, c) }, nil
}

// now says what became of an entry.
func (im *importer) now(had, e *addressbook.Entry) {
	if e.File = had.File; e.UID == "" {
		e.UID = had.UID
	}
	im.known.drop(had)
	im.known.take(e)
}

// merge adds to a card what another one has more, and says whether there was any.
func merge(c, other *addressbook.Card) bool {
	is, e := c.Entry(), other.Entry()
	changed := false
	if is.Name == "" && e.Name != "" {
		c.SetName(e.Name)
		changed = true
	}
	if is.Organisation == "" && e.Organisation != "" {
		c.SetOrganisation(e.Organisation)
		changed = true
	}
	for _, list := range []struct {
		has, more []string
		set       func([]string)
	}{{is.Addresses, e.Addresses, c.SetAddresses}, {is.Groups, e.Groups, c.SetGroups}, {is.Nicknames, e.Nicknames, c.SetNicknames}, {is.Members, e.Members, c.SetMembers}} {
		if all := union(list.has, list.more); len(all) > len(list.has) {
			list.set(all)
			changed = true
		}
	}
	return c.Complete(other) || changed
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
