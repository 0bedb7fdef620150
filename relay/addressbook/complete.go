package addressbook

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// several are the properties of which a person has as many as there are values:
// one that is not there yet is added to others.
var several = []string{"TEL", "ADR", "URL", "IMPP", "RELATED", "NOTE", "X-SOCIALPROFILE", "SOCIALPROFILE"}

// ofCard are those that a card says of itself, or that Entry has, which are set
// one by one.
var ofCard = []string{
	"VERSION", "UID", "REV", "PRODID", "SOURCE", "CLIENTPIDMAP", "KIND", "MEMBER", "X-ADDRESSBOOKSERVER-KIND", "X-ADDRESSBOOKSERVER-MEMBER",
	"FN", "N", "NICKNAME", "ORG", "EMAIL", "CATEGORIES", "X-ABLABEL",
}

// Complete adds what another card says of the same person and this one does not:
// telephone numbers and addresses of houses beside those that are there, others
// only where there is none, and the parts of the name where it is the same. Full
// names, addresses of mail, organisations and groups have methods of their own.
// It reports whether anything was added.
func (c *Card) Complete(other *Card) bool {
	if other.version != c.version {
		other = other.Modern()
	}
	had := map[string]int{}
	there := map[string]bool{}
	for i := range c.lines {
		l := &c.lines[i]
		had[l.name]++
		there[l.name+":"+l.comparable()] = true
	}
	groups := map[string]string{} // of lines, and what they are called here
	var more []line
	sameName := folded(c.Entry().Name) == folded(other.Entry().Name)
	for _, l := range other.lines {
		key := l.name + ":" + l.comparable()
		wanted := !slices.Contains(ofCard, l.name) || l.name == "N" && sameName
		if !wanted || there[key] || l.comparable() == "" || had[l.name] > 0 && !slices.Contains(several, l.name) {
			continue
		}
		if c.version == "3.0" && other.version != "3.0" {
			l = l.former()
		}
		if had[l.name] > 0 && preference(&l) != 100 { // that of this card is preferred
			l = l.preferred(false, c.version)
		}
		there[key] = true
		more = append(more, l.inGroup(groups, c.lines))
	}
	for _, l := range other.lines {
		if here := groups[strings.ToUpper(l.group)]; here != "" && l.name == "X-ABLABEL" {
			more = append(more, l.inGroup(groups, c.lines))
		}
	}
	c.behind(nil, more)
	return len(more) > 0
}

// comparable is the value without what does not make it another one.
func (l *line) comparable() string {
	v, err := l.decoded()
	if err != nil {
		return ""
	}
	if l.name != "TEL" {
		return strings.Trim(folded(unescape(v)), "; ")
	}
	return strings.Map(func(r rune) rune { // RFC 3966 §5.1.1: the separators are for people
		if unicode.IsSpace(r) || strings.ContainsRune("-.()/", r) {
			return -1
		}
		return r
	}, strings.TrimPrefix(folded(unescape(v)), "tel:"))
}

// inGroup is the line in a group of lines that taken does not use.
func (l line) inGroup(groups map[string]string, taken []line) line {
	if l.group == "" {
		return l
	}
	key := strings.ToUpper(l.group)
	if groups[key] == "" {
		free := func(name string) bool {
			for _, g := range groups {
				if strings.EqualFold(g, name) {
					return false
				}
			}
			return !slices.ContainsFunc(taken, func(o line) bool { return strings.EqualFold(o.group, name) })
		}
		name := l.group
		for n := 1; !free(name); n++ {
			name = fmt.Sprintf("item%d", n)
		}
		groups[key] = name
	}
	l.raw, l.group = "", groups[key]
	return l
}

// former is a line of vCard 4.0 as 3.0 has it (RFC 2426).
func (l line) former() line {
	l.raw = ""
	var params []param
	for _, p := range l.params {
		switch {
		case p.name == "PREF" && p.value == "1":
			params = append(params, param{"TYPE", "pref"})
		case p.name == "PREF", p.name == "MEDIATYPE":
		case p.name == "VALUE" && l.name == "TEL":
		case p.name == "TYPE": // one each, since quotes mean something else there
			for one := range strings.SplitSeq(p.value, ",") {
				params = append(params, param{"TYPE", one})
			}
		default:
			params = append(params, p)
		}
	}
	l.params = params
	if l.name == "TEL" {
		l.value = strings.TrimPrefix(l.value, "tel:")
	}
	if kind, data, ok := strings.Cut(l.value, ";base64,"); ok && strings.HasPrefix(kind, "data:") {
		kind = strings.TrimPrefix(kind, "data:")
		l.params, l.value = []param{{"ENCODING", "b"}, {"TYPE", strings.ToUpper(kind[strings.LastIndexByte(kind, '/')+1:])}}, data
	}
	return l
}
