package addressbook

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"postern/config/wire"
)

// attributes are those of LDIF that are read, by the field: of inetOrgPerson
// and of Thunderbird.
var attributes = map[string]string{
	"cn": fieldName, "displayname": fieldName, "givenname": fieldFirst, "sn": fieldLast, "mail": fieldEmail, "mozillasecondemail": fieldEmail,
	"mozillanickname": fieldNickname, "o": fieldOrganisation, "company": fieldOrganisation,
}

// nameOfEntry is the attribute that makes an entry of a record. Words of a record
// without it are not told: the file may be something else.
const nameOfEntry = "dn"

// attribute is one of a record of LDIF, as it is written behind the colon.
type attribute struct {
	name  string
	value []byte
}

// ldif is a file of records that is being read.
type ldif struct {
	*Contents
	addresses map[string]string // by the name of an entry, as alike has it
	users     map[string]string // addresses by uid in small letters
	groups    []ldifGroup       // whose members may stand behind them
}

// ldifGroup is a card whose members are named by their entries.
type ldifGroup struct {
	line    int
	card    *Card
	members []string // names of entries
	users   []string // uids: a posixGroup has these (RFC 2307 §2.2)
	told    func(string) string
}

// groupClasses are the classes of entries that are groups of entries, in small
// letters: of RFC 4519, RFC 2307, Thunderbird and Active Directory.
var groupClasses = []string{"groupofnames", "groupofuniquenames", "mailgroup", "group", "posixgroup"}

// readLDIF reads RFC 2849: content records, and of changes those that add one.
func (c *Contents) readLDIF(text []byte) {
	l := &ldif{Contents: c, addresses: map[string]string{}, users: map[string]string{}}
	l.read(text)
	for _, g := range l.groups {
		l.join(g)
	}
}

func (c *ldif) read(text []byte) {
	var record []attribute
	line, from, full := 0, 1, false
	var last *[]byte // what a line that begins with a blank continues
	var other []byte
	end := func() {
		c.record(from, record)
		record, last, from, full = record[:0], nil, line+1, false
	}
	for one := range bytes.Lines(text) {
		line++
		one = bytes.TrimRight(one, "\r\n")
		switch {
		case len(one) == 0:
			end()
			continue
		case one[0] == ' ' && last != nil:
			*last = append(*last, one[1:]...)
			continue
		}
		other = other[:0]
		last = &other
		if one[0] == '#' {
			continue
		}
		name, value, ok := bytes.Cut(one, []byte(":"))
		if !ok {
			c.fault(line, "is not ATTRIBUTE: VALUE")
			continue
		}
		kind, _, _ := strings.Cut(strings.ToLower(string(name)), ";") // options, such as a language
		if attributes[kind] == "" && !slices.Contains([]string{"objectclass", "changetype", "member", "uniquemember", "memberuid", "uid", nameOfEntry}, kind) {
			continue
		}
		if len(record) >= maxMembers {
			if !full {
				c.fault(line, fmt.Sprintf("is beyond the %d values of an entry that are read", maxMembers))
			}
			full = true
			continue
		}
		record = append(record, attribute{kind, slices.Clone(value)})
		last = &record[len(record)-1].value
	}
	line++
	end()
}

// ldifValue undoes ": text", ":: base64"; false: it is a URL, which nobody fetches.
func ldifValue(v string) (string, bool) {
	switch {
	case strings.HasPrefix(v, ":"):
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(v[1:]))
		return string(b), err == nil
	case strings.HasPrefix(v, "<"):
		return "", false
	}
	return strings.TrimSpace(v), true
}

// mailOfDN is the address in the name of an entry, without its escapes (RFC 4514).
func mailOfDN(dn string) string {
	for _, part := range split(dn, ',') {
		if key, v, ok := strings.Cut(part, "="); ok && strings.EqualFold(strings.TrimSpace(key), "mail") {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// alikeDN is the name of an entry in one form: attributes and values are compared
// without regard to case and to blanks at their ends.
func alikeDN(dn string) string {
	parts := split(dn, ',')
	for i, part := range parts {
		key, v, _ := strings.Cut(part, "=")
		parts[i] = strings.TrimSpace(key) + "=" + strings.TrimSpace(v)
	}
	return strings.ToLower(strings.Join(parts, "\x00"))
}

// values undoes the encodings of a record. unread: one of them is lost.
func (c *ldif) values(line int, record []attribute) (unread bool) {
	for i := range record {
		a := &record[i]
		v, ok := ldifValue(string(a.value))
		switch {
		case !ok:
			c.fault(line, a.name+" cannot be read")
			v, unread = "", true
		case !utf8.ValidString(v):
			c.fault(line, a.name+" is not UTF-8; it is read as Windows-1252")
			v, _ = charmap.Windows1252.NewDecoder().String(v)
		}
		a.value = []byte(v)
	}
	return unread
}

func (c *ldif) record(line int, record []attribute) {
	row, at := []string{}, columns{}
	g, name := ldifGroup{line: line, told: func(string) string { return "a value" }}, ""
	if slices.ContainsFunc(record, func(a attribute) bool { return a.name == nameOfEntry }) {
		g.told = func(v string) string { return wire.Quote(wire.Line(v)) }
	}
	unread, group, uids := c.values(line, record), false, []string(nil)
	for _, a := range record {
		v := string(a.value)
		if v == "" {
			continue
		}
		field := attributes[a.name]
		switch {
		case a.name == nameOfEntry:
			name = v
		case a.name == "changetype" && !strings.EqualFold(v, "add"):
			c.lose(line, "is a change of an entry, "+g.told(v)+", and not an entry")
			return
		case a.name == "objectclass":
			group = group || slices.Contains(groupClasses, strings.ToLower(v))
		case a.name == "member", a.name == "uniquemember":
			g.members = append(g.members, v)
		case a.name == "memberuid":
			g.users = append(g.users, v)
		case a.name == "uid":
			uids = append(uids, strings.ToLower(v))
		case field != "":
			at[field] = append(at[field], len(row))
			row = append(row, v)
		}
	}
	card, faults := at.card(row, g.told)
	for _, f := range faults {
		c.fault(line, f)
	}
	switch {
	case card == nil && (unread || len(faults) > 0):
		c.Lost++
		return
	case card == nil:
		return
	case len(c.Cards) >= maxCards:
		c.beyond(line)
		return
	}
	if address := card.Entry().Address(); address != "" && name != "" {
		c.addresses[alikeDN(name)] = address
		for _, uid := range uids {
			c.users[uid] = address
		}
	}
	if g.card = card; group {
		c.groups = append(c.groups, g)
	}
	c.Cards = append(c.Cards, Placed{line, card})
}

// join gives a group its members, each by its address: "cn=Alice,
// mail=alice@example.com", as Thunderbird has it, says it itself, of others the
// entry does.
func (c *ldif) join(g ldifGroup) {
	var good []string
	seen := map[string]bool{}
	take := func(member, address string) {
		switch {
		case address == "":
			c.fault(g.line, "member "+g.told(member)+" has no address")
		case seen[address]: // named in two ways
		case wire.CheckMailbox(address, true) != wire.NoFault:
			c.fault(g.line, g.told("mailto:"+address)+" is not an address")
		default:
			good, seen[address] = append(good, "mailto:"+address), true
		}
	}
	for _, dn := range g.members {
		take(dn, cmp.Or(mailOfDN(dn), c.addresses[alikeDN(dn)]))
	}
	for _, uid := range g.users {
		take(uid, c.users[strings.ToLower(uid)])
	}
	g.card.SetMembers(good)
}
