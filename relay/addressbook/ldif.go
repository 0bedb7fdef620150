package addressbook

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"

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

// readLDIF reads RFC 2849: content records, no changes.
func (c *Contents) readLDIF(text []byte) {
	var record []attribute
	line, from := 0, 1
	var last *[]byte // what a line that begins with a blank continues
	var other []byte
	end := func() {
		c.ldifRecord(from, record)
		record, last, from = record[:0], nil, line+1
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
		if attributes[kind] == "" && kind != "objectclass" && kind != "member" && kind != nameOfEntry || len(record) >= maxMembers {
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
		return strings.ToValidUTF8(string(b), "\ufffd"), err == nil
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

func (c *Contents) ldifRecord(line int, record []attribute) {
	row, at := []string{}, columns{}
	var members []string
	group, unread := false, false
	told := func(v string) string { return wire.Quote(wire.Line(v)) }
	if !slices.ContainsFunc(record, func(a attribute) bool { return a.name == nameOfEntry }) {
		told = func(string) string { return "a value" }
	}
	for _, a := range record {
		if a.name == nameOfEntry {
			continue
		}
		v, ok := ldifValue(string(a.value))
		if !ok {
			c.fault(line, a.name+" cannot be read")
			unread = true
			continue
		}
		field := attributes[a.name]
		switch {
		case a.name == "objectclass":
			group = group || strings.EqualFold(v, "groupOfNames") || strings.EqualFold(v, "mailGroup")
		case a.name == "member": // "cn=Alice,mail=alice@example.com", as Thunderbird has it
			if address := mailOfDN(v); address != "" {
				members = append(members, "mailto:"+address)
			} else {
				c.fault(line, "member "+told(v)+" has no address")
			}
		case field != "":
			at[field] = append(at[field], len(row))
			row = append(row, v)
		}
	}
	card, faults := at.card(row, told)
	for _, f := range faults {
		c.fault(line, f)
	}
	if card == nil {
		if unread || len(faults) > 0 {
			c.Lost++
		}
		return
	}
	if group {
		var good []string
		for _, m := range members {
			if wire.CheckMailbox(strings.TrimPrefix(m, "mailto:"), true) != wire.NoFault {
				c.fault(line, told(m)+" is not an address")
			} else {
				good = append(good, m)
			}
		}
		card.SetMembers(good)
	}
	if len(c.Cards) >= maxCards {
		c.beyond(line)
		return
	}
	c.Cards = append(c.Cards, Placed{line, card})
}
