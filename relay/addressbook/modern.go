package addressbook

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strings"
)

// Modern is the card in vCard 4.0, which has a full name: it is that of who has
// no other (RFC 6350 §6.2.1).
func (c *Card) Modern() *Card {
	named := c.text("FN") != ""
	if c.version == "4.0" && named {
		return c
	}
	m := &Card{version: "4.0"}
	if c.version == "4.0" {
		m.lines = slices.Clone(c.lines)
	} else {
		for _, l := range c.lines {
			if l, ok := l.modern(); ok {
				m.lines = append(m.lines, l)
			}
		}
	}
	if e := c.Entry(); !named {
		if name := cmp.Or(e.Name, e.Organisation, e.Address()); name != "" {
			m.set("FN", name)
		}
	}
	return m
}

// kindOf is what something in base64 is by its first bytes.
func kindOf(plain string) string {
	for begin, kind := range map[string]string{"/9j/": "image/jpeg", "iVBORw0KGgo": "image/png", "R0lGOD": "image/gif"} {
		if strings.HasPrefix(plain, begin) {
			return kind
		}
	}
	return "application/octet-stream"
}

// Lost are the names of lines that vCard 4.0 cannot take, such as a picture that is
// not what it says.
func (c *Card) Lost() (names []string) {
	if c.version == "4.0" {
		return nil
	}
	for _, l := range c.lines {
		if _, ok := l.modern(); !ok {
			names = append(names, shown(l.name))
		}
	}
	return names
}

// modernTypes are the types of a line as vCard 4.0 has them: "pref" is a parameter
// there, and each address is one of the Internet.
func modernTypes(types, name string) (out []param) {
	var left []string
	for one := range strings.SplitSeq(types, ",") {
		switch one = strings.TrimSpace(one); {
		case strings.EqualFold(one, "pref"):
			out = append(out, param{"PREF", "1"})
		case strings.EqualFold(one, "internet") && name == "EMAIL":
		default:
			left = append(left, one)
		}
	}
	if len(left) > 0 {
		out = append(out, param{"TYPE", strings.Join(left, ",")})
	}
	return out
}

// modern is the line as vCard 4.0 has it; false: 4.0 has no such line.
func (l line) modern() (line, bool) {
	v, err := l.decoded()
	if err != nil {
		v = strings.ToValidUTF8(l.value, "\ufffd")
	}
	if l.name == "" || strings.ContainsFunc(l.group+l.name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return l, false
	}
	out := line{group: l.group, name: l.name, value: v}
	base64d := false
	for _, p := range l.params {
		switch {
		case p.name == "CHARSET":
		case p.name == "ENCODING":
			base64d = strings.EqualFold(p.value, "b") || strings.EqualFold(p.value, "BASE64")
		case p.name == "TYPE":
			out.params = append(out.params, modernTypes(p.value, l.name)...)
		default:
			out.params = append(out.params, p)
		}
	}
	if base64d { // a picture, a sound or a key becomes a data: URI (RFC 6350 §6.2.4)
		kind := strings.ToLower(l.param("TYPE"))
		plain := strings.Join(strings.Fields(v), "")
		if _, err := base64.StdEncoding.DecodeString(plain); err != nil || strings.ContainsAny(kind, ",;:") {
			return out, false
		}
		if kind == "" {
			kind = kindOf(plain)
		}
		if !strings.Contains(kind, "/") {
			kind = map[string]string{"SOUND": "audio/", "KEY": "application/"}[l.name] + kind
			if !strings.Contains(kind, "/") {
				kind = "image/" + kind
			}
		}
		out.params, out.value = nil, "data:"+kind+";base64,"+plain
	}
	switch l.name {
	case "VERSION":
		return line{name: "VERSION", value: "4.0"}, true
	case "LABEL", "MAILER", "CLASS", "AGENT", "NAME", "PROFILE": // of 3.0 and 2.1
		out.name = "X-" + l.name
	case "X-ADDRESSBOOKSERVER-KIND":
		out.name = "KIND"
	case "X-ADDRESSBOOKSERVER-MEMBER":
		out.name = "MEMBER"
	}
	return out, true
}
