package addressbook

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postern/config/wire"
)

// Entry is a person or a group of a book. It is never changed.
type Entry struct {
	Book         string   `json:"book,omitempty"`
	UID          string   `json:"uid,omitempty"` // empty: the book has none
	Name         string   `json:"name"`
	Nicknames    []string `json:"nicknames,omitempty"`
	Addresses    []string `json:"addresses,omitempty"` // that which is preferred first
	Organisation string   `json:"organisation,omitempty"`
	Groups       []string `json:"groups,omitempty"` // of the card itself: CATEGORIES
	// Group: the entry is a group, of Members: "urn:uuid:UID" or "mailto:ADDRESS".
	Group   bool     `json:"group,omitempty"`
	Members []string `json:"members,omitempty"`
	File    string   `json:"file,omitempty"` // its name in the folder
}

// Address is whom to write to; empty: nobody.
func (e *Entry) Address() string {
	if len(e.Addresses) == 0 {
		return ""
	}
	return e.Addresses[0]
}

// What is kept of one card, in bytes and numbers. The rest is passed over.
const (
	maxText      = 500
	maxAddresses = 100
	maxGroups    = 200
	maxMembers   = 100_000
)

// Card is a vCard. What is not known of it stays as it is.
type Card struct {
	lines   []line
	version string
}

var errNoCard = errors.New("is not a vCard: it does not begin with BEGIN:VCARD and end with END:VCARD")

// ParseCard reads one card of vCard 2.1, 3.0 or 4.0.
func ParseCard(text []byte) (*Card, error) {
	cards, err := ParseCards(text)
	switch {
	case err != nil:
		return nil, err
	case len(cards) != 1:
		return nil, fmt.Errorf("holds %d cards, and a file of a folder holds one", len(cards))
	}
	return cards[0], nil
}

// ParseCards reads a file of cards.
func ParseCards(text []byte) ([]*Card, error) {
	if len(text) > maxCard {
		return nil, fmt.Errorf("has more than %d MiB", maxCard>>20)
	}
	lines, err := readLines(text)
	if err != nil {
		return nil, err
	}
	var cards []*Card
	for len(lines) > 0 {
		end := slices.IndexFunc(lines, func(l line) bool { return l.name == "END" && strings.EqualFold(strings.TrimSpace(l.value), "VCARD") })
		if first := lines[0]; end < 1 || first.name != "BEGIN" || !strings.EqualFold(strings.TrimSpace(first.value), "VCARD") {
			return nil, errNoCard
		}
		c := &Card{lines: lines[1:end:end]}
		lines = lines[end+1:]
		for _, l := range slices.Backward(c.lines) {
			switch l.name {
			case "BEGIN":
				return nil, errNoCard // one inside of another
			case "VERSION":
				c.version = strings.TrimSpace(l.value) // the first, which is also the one that Bytes writes
			}
		}
		if !slices.Contains([]string{"2.1", "3.0", "4.0"}, c.version) {
			return nil, fmt.Errorf("is of version %s; 2.1, 3.0 and 4.0 are known", wire.Quote(wire.Text(c.version, 20)))
		}
		cards = append(cards, c)
	}
	if len(cards) == 0 {
		return nil, errNoCard
	}
	return cards, nil
}

// NewCard is a card of vCard 4.0 with a UID and nothing else.
func NewCard() *Card {
	return &Card{version: "4.0", lines: []line{{name: "VERSION", value: "4.0"}, {name: "UID", value: "urn:uuid:" + newUUID()}}}
}

// newUUID is a random one (RFC 9562 §5.4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Bytes is the card as a file.
func (c *Card) Bytes() []byte {
	var b strings.Builder
	b.WriteString("BEGIN:VCARD\r\n")
	for _, l := range c.lines { // RFC 6350 §6.7.9: VERSION comes first
		if l.name == "VERSION" {
			b.WriteString(l.text())
			break
		}
	}
	for _, l := range c.lines {
		if l.name != "VERSION" {
			b.WriteString(l.text())
		}
	}
	b.WriteString("END:VCARD\r\n")
	return []byte(b.String())
}

// UID is the one that the card names, without "urn:uuid:"; empty: none.
func (c *Card) UID() string { return bareUID(c.text("UID")) }

func bareUID(uid string) string {
	uid = strings.TrimSpace(uid)
	if len(uid) > 9 && strings.EqualFold(uid[:9], "urn:uuid:") {
		return uid[9:]
	}
	return uid
}

// Entry is what the card says, bounded and without what cannot be shown.
func (c *Card) Entry() *Entry {
	e := &Entry{}
	type weighed struct {
		address string
		weight  int
	}
	var addresses []weighed
	var family []string
	for i := range c.lines {
		l := &c.lines[i]
		switch l.name {
		case "FN", "N", "NICKNAME", "ORG", "EMAIL", "CATEGORIES", "UID", "KIND", "MEMBER", "X-ADDRESSBOOKSERVER-KIND", "X-ADDRESSBOOKSERVER-MEMBER":
		default:
			continue
		}
		v, err := l.decoded()
		if err != nil {
			continue // told by Faults
		}
		switch l.name {
		case "FN":
			if e.Name == "" {
				e.Name = shown(unescape(v))
			}
		case "N":
			family = split(v, ';')
		case "NICKNAME":
			e.Nicknames = texts(e.Nicknames, split(v, ','), maxGroups)
		case "ORG":
			if e.Organisation == "" {
				e.Organisation = shown(split(v, ';')[0])
			}
		case "EMAIL":
			if a := mailbox(v); a != "" && len(addresses) < maxAddresses {
				addresses = append(addresses, weighed{strings.Clone(a), preference(l)})
			}
		case "CATEGORIES":
			e.Groups = texts(e.Groups, split(v, ','), maxGroups)
		case "UID":
			e.UID = shown(bareUID(unescape(v)))
		case "KIND", "X-ADDRESSBOOKSERVER-KIND":
			e.Group = strings.EqualFold(unescape(v), "group")
		case "MEMBER", "X-ADDRESSBOOKSERVER-MEMBER":
			e.Members = texts(e.Members, []string{unescape(v)}, maxMembers)
		}
	}
	slices.SortStableFunc(addresses, func(a, b weighed) int { return a.weight - b.weight })
	for _, a := range addresses {
		if !slices.Contains(e.Addresses, a.address) {
			e.Addresses = append(e.Addresses, a.address)
		}
	}
	if e.Name == "" && len(family) > 1 {
		e.Name = shown(strings.TrimSpace(family[1] + " " + family[0]))
	}
	return e
}

// mailbox is the address of a value; empty: it is none.
func mailbox(value string) string {
	a := plainMailbox(unescape(value))
	if wire.CheckMailbox(a, true) != wire.NoFault {
		return ""
	}
	return a
}

// plainMailbox is an address without what some write around it: "mailto:", and
// angle brackets with a name before them, which has no "@" of its own.
func plainMailbox(value string) string {
	value = strings.TrimSpace(value)
	if i := strings.IndexByte(value, '<'); i >= 0 && strings.HasSuffix(value, ">") && !strings.Contains(value[:i], "@") {
		value = strings.TrimSpace(value[i+1 : len(value)-1])
	}
	const scheme = "mailto:"
	if len(value) > len(scheme) && strings.EqualFold(value[:len(scheme)], scheme) {
		value = value[len(scheme):]
	}
	return value
}

// preference is from 1, the most; 100: none is said (RFC 6350 §5.3).
func preference(l *line) int {
	if n, err := strconv.Atoi(l.param("PREF")); err == nil && n >= 1 && n <= 100 {
		return n
	}
	if l.hasType("pref") { // vCard 3.0 and 2.1
		return 1
	}
	return 100
}

// shown is a text as it is kept: without the card that it stood in.
func shown(s string) string { return strings.Clone(wire.Text(s, maxText)) }

func texts(list, more []string, most int) []string {
	for _, s := range more {
		if s = shown(s); s != "" && len(list) < most {
			list = append(list, s)
		}
	}
	return list
}

// Faults are what cannot be used of the card.
func (c *Card) Faults() (faults []string) {
	for i := range c.lines {
		l := &c.lines[i]
		if l.name != "EMAIL" && l.name != "FN" && l.name != "CATEGORIES" && l.name != "NICKNAME" {
			continue
		}
		v, err := l.decoded()
		switch {
		case err != nil:
			faults = append(faults, err.Error())
		case l.name == "EMAIL" && mailbox(v) == "":
			faults = append(faults, "EMAIL "+wire.Quote(wire.Text(v, 100))+" is not an address")
		}
	}
	return faults
}

func (c *Card) text(name string) string {
	for i := range c.lines {
		if c.lines[i].name == name {
			v, _ := c.lines[i].decoded()
			return unescape(v)
		}
	}
	return ""
}

// set replaces the lines of a name by one with a text.
func (c *Card) set(name, text string) { c.replace(name, []line{{name: name, value: escape(text)}}) }

// replace puts lines where those of a name stood, else at the end.
func (c *Card) replace(name string, with []line) {
	at := slices.IndexFunc(c.lines, func(l line) bool { return l.name == name })
	if at < 0 {
		at = len(c.lines)
	}
	kept := slices.DeleteFunc(slices.Clone(c.lines), func(l line) bool { return l.name == name })
	c.lines = slices.Insert(kept, min(at, len(kept)), with...)
}
