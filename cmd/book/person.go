package book

import (
	"slices"
	"strings"

	"postern/config/wire"
	"postern/relay/addressbook"
)

// Person is what is said of somebody by flags or in a form.
type Person struct {
	Name         string
	Addresses    []string // the first is preferred
	Nicknames    []string
	Organisation string
	Groups       []string
}

// Faulty is the error of a Person or a card that cannot be kept.
type Faulty struct{ Text string }

func (e *Faulty) Error() string { return e.Text }

// Check says what is wrong with p; nil: nothing.
func (p *Person) Check() error {
	if strings.TrimSpace(p.Name) == "" {
		return &Faulty{"the name is missing"}
	}
	for _, a := range p.Addresses {
		if wire.CheckMailbox(a, true) != wire.NoFault {
			return &Faulty{wire.Quote(wire.Line(a)) + " is not an address"}
		}
	}
	return nil
}

// Add makes a card of somebody.
func Add(f *addressbook.Folder, p *Person) (*addressbook.Entry, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	c := addressbook.NewCard()
	p.write(c, &addressbook.Entry{})
	return f.Add(c)
}

// Update has a card that was read say what p says; all else of it stays. Nothing
// is written where it says so. The errors are a *Faulty and those of Folder.
func Update(f *addressbook.Folder, s *addressbook.Stored, p *Person) error {
	if err := p.Check(); err != nil {
		return err
	}
	return f.Change(s.Entry, func(c *addressbook.Card) (bool, error) {
		now, err := f.Get(s.Entry)
		switch {
		case err != nil:
			return false, err
		case now.Etag() != s.Etag():
			return false, addressbook.ErrChanged
		}
		return p.write(c, s.Entry), nil
	})
}

// write sets what is another than was said, and reports whether anything is.
func (p *Person) write(c *addressbook.Card, was *addressbook.Entry) (any bool) {
	set := func(other bool, do func()) {
		if other {
			do()
			any = true
		}
	}
	name := strings.TrimSpace(p.Name)
	set(name != was.Name, func() { c.SetName(name) })
	set(!slices.Equal(p.Addresses, was.Addresses), func() { c.SetAddresses(p.Addresses) })
	set(!slices.Equal(p.Nicknames, was.Nicknames), func() { c.SetNicknames(p.Nicknames) })
	set(!slices.Equal(p.Groups, was.Groups), func() { c.SetGroups(p.Groups) })
	set(p.Organisation != was.Organisation, func() { c.SetOrganisation(p.Organisation) })
	return any
}

// Rewrite puts a card that was edited as a text in the place of one that was
// read. The errors are a *Faulty and those of Folder.
func Rewrite(f *addressbook.Folder, s *addressbook.Stored, text []byte) (*addressbook.Entry, error) {
	card, err := addressbook.ParseCard(text)
	if err != nil {
		return nil, &Faulty{"the card " + err.Error()}
	}
	if faults := card.Faults(); len(faults) > 0 {
		return nil, &Faulty{"the card has faults: " + strings.Join(faults, "; ")}
	}
	if err := f.Replace(s, card); err != nil {
		return nil, err
	}
	return card.Entry(), nil
}
