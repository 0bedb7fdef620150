package addressbook

import (
	"slices"
	"strings"

	"postern/config/wire"
)

// What is set here changes the lines that say something else, and only that of
// them: their parameters and groups stay, and so do lines that can't be used.

// SetOrganisation sets that of the card, and leaves its departments. Empty: there
// is none.
func (c *Card) SetOrganisation(name string) {
	was, set := c.Entry().Organisation, false
	c.rewrite(func(l *line, v string) (string, bool) {
		parts := pieces(v, ';')
		if l.name != "ORG" || set || name != "" && shown(unescape(parts[0])) != was {
			return v, true
		}
		set, parts[0] = name != "", escape(name)
		return strings.Join(parts, ";"), strings.TrimSpace(strings.Join(parts, "")) != ""
	})
	if !set && name != "" {
		c.behind(nil, []line{{name: "ORG", value: escape(name)}})
	}
}

// SetAddresses sets those of the card; the first is preferred.
func (c *Card) SetAddresses(addresses []string) {
	was, addresses := c.Entry().Addresses, distinct(addresses)
	to, there := follow(was, addresses, true), map[string]bool{}
	c.rewrite(func(l *line, v string) (string, bool) {
		a := ""
		if l.name == "EMAIL" {
			a = mailbox(v)
		}
		if a == "" {
			return v, true
		}
		next, other := to[a]
		if !other {
			there[a] = true
			return v, true
		}
		keep := next != "" && !there[next]
		there[next] = true
		return escape(next), keep
	})
	var more []line
	for _, a := range addresses {
		if !there[a] {
			more = append(more, line{name: "EMAIL", value: escape(a)})
		}
	}
	if len(was) == 0 && len(more) > 1 {
		more[0] = more[0].preferred(true, c.version)
	}
	c.behind([]string{"EMAIL"}, more)
	if !slices.Equal(c.Entry().Addresses, addresses) {
		c.orderAddresses(addresses)
	}
}

// orderAddresses puts the lines of addresses into their order. Where that is not
// enough, what was preferred is preferred no longer.
func (c *Card) orderAddresses(addresses []string) {
	rank := map[string]int{}
	for i, a := range addresses {
		rank[a] = i
	}
	var at []int
	var lines []line
	for i := range c.lines {
		if l := &c.lines[i]; l.name == "EMAIL" {
			if v, err := l.decoded(); err == nil && mailbox(v) != "" {
				at, lines = append(at, i), append(lines, *l)
			}
		}
	}
	of := func(l line) int {
		v, _ := l.decoded()
		if n, ok := rank[mailbox(v)]; ok {
			return n
		}
		return len(rank)
	}
	slices.SortStableFunc(lines, func(a, b line) int { return of(a) - of(b) })
	for i := range lines {
		c.lines[at[i]] = lines[i]
	}
	if slices.Equal(c.Entry().Addresses, addresses) {
		return
	}
	for i, l := range lines {
		c.lines[at[i]] = l.preferred(i == 0, c.version)
	}
}

// preferred is the line with the first preference or with none.
func (l line) preferred(yes bool, version string) line {
	if !yes && preference(&l) == 100 {
		return l
	}
	var params []param
	for _, p := range l.params {
		switch p.name {
		case "PREF":
		case "TYPE": // one each, since quotes mean something else in vCard 3.0
			for one := range strings.SplitSeq(p.value, ",") {
				if one = strings.TrimSpace(one); !strings.EqualFold(one, "pref") {
					params = append(params, param{"TYPE", one})
				}
			}
		default:
			params = append(params, p)
		}
	}
	switch {
	case yes && version == "4.0":
		params = append(params, param{"PREF", "1"})
	case yes:
		params = append(params, param{"TYPE", "pref"})
	}
	l.raw, l.params = "", params
	return l
}

// SetNicknames sets those of the card.
func (c *Card) SetNicknames(names []string) {
	c.setList("NICKNAME", func() []string { return c.Entry().Nicknames }, names)
}

// SetGroups sets the CATEGORIES of the card.
func (c *Card) SetGroups(names []string) {
	c.setList("CATEGORIES", func() []string { return c.Entry().Groups }, names)
}

// setList sets the lines of texts that commas separate; read has them.
func (c *Card) setList(name string, read func() []string, list []string) {
	to, there := follow(read(), list, true), map[string]bool{}
	c.rewrite(func(l *line, v string) (string, bool) {
		if l.name != name {
			return v, true
		}
		var kept []string
		for _, part := range pieces(v, ',') {
			is := shown(unescape(part))
			switch next, other := to[is]; {
			case !other:
				there[is] = true
				kept = append(kept, part)
			case next != "" && !there[next]:
				there[next] = true
				kept = append(kept, escape(next))
			}
		}
		return strings.Join(kept, ","), len(kept) > 0
	})
	var more []string
	for _, s := range list {
		if !there[s] {
			there[s] = true
			more = append(more, escape(s))
		}
	}
	c.addToList(name, more)
	if is := read(); !slices.Equal(is, list) && len(is) == len(list) {
		c.orderList(name, list)
	}
}

// addToList puts texts into the last line that says nothing more of its own, else
// into a new one.
func (c *Card) addToList(name string, more []string) {
	if len(more) == 0 {
		return
	}
	for i := len(c.lines) - 1; i >= 0; i-- {
		l := &c.lines[i]
		if v, err := l.decoded(); err == nil && l.name == name && l.group == "" && len(l.params) == 0 {
			if v = strings.TrimSpace(v); v != "" {
				more = append([]string{v}, more...)
			}
			c.lines[i] = l.saying(strings.Join(more, ","))
			return
		}
	}
	c.behind([]string{name}, []line{{name: name, value: strings.Join(more, ",")}})
}

// orderList puts the texts of a list into their order, whichever line they are in.
func (c *Card) orderList(name string, list []string) {
	c.rewrite(func(l *line, v string) (string, bool) {
		if l.name != name {
			return v, true
		}
		parts := pieces(v, ',')
		for i := range parts {
			if shown(unescape(parts[i])) != "" && len(list) > 0 {
				parts[i], list = escape(list[0]), list[1:]
			}
		}
		return strings.Join(parts, ","), true
	})
}

// SetMembers makes the card one of a group, of "urn:uuid:UID" and
// "mailto:ADDRESS".
func (c *Card) SetMembers(members []string) {
	kind, member := "KIND", "MEMBER"
	if c.version != "4.0" { // as Apple writes it
		kind, member = "X-ADDRESSBOOKSERVER-KIND", "X-ADDRESSBOOKSERVER-MEMBER"
	}
	e := c.Entry()
	if !e.Group {
		c.set(kind, "group")
	}
	names := []string{"MEMBER", "X-ADDRESSBOOKSERVER-MEMBER"}
	to, there := follow(e.Members, members, false), map[string]bool{}
	c.rewrite(func(l *line, v string) (string, bool) {
		if !slices.Contains(names, l.name) {
			return v, true
		}
		is := shown(unescape(v))
		_, gone := to[is]
		there[is] = !gone
		return v, !gone
	})
	var more []line
	for _, m := range members {
		if !there[m] {
			there[m] = true
			more = append(more, line{name: member, value: m})
		}
	}
	c.behind(names, more)
}

// follow says what becomes of those texts that are wanted no longer: another one
// that stands in its place, where renamed, or nothing.
func follow(was, want []string, renamed bool) map[string]string {
	had, wanted, to := map[string]bool{}, map[string]bool{}, map[string]string{}
	for _, s := range was {
		had[s] = true
	}
	for _, s := range want {
		wanted[s] = true
	}
	for i, s := range was {
		switch {
		case wanted[s]:
		case renamed && i < len(want) && !had[want[i]]:
			to[s] = want[i]
		default:
			to[s] = ""
		}
	}
	return to
}

// rewrite asks for the value of each line that can be read, and whether the line
// stays. Labels of lines that are gone go with them.
func (c *Card) rewrite(value func(l *line, v string) (string, bool)) {
	kept := make([]line, 0, len(c.lines))
	var gone []string // groups of lines
	for i := range c.lines {
		l := &c.lines[i]
		v, err := l.decoded()
		if err != nil {
			kept = append(kept, *l)
			continue
		}
		next, stays := value(l, v)
		switch {
		case !stays && l.group != "":
			gone = append(gone, l.group)
		case !stays:
		case next != v:
			kept = append(kept, l.saying(next))
		default:
			kept = append(kept, *l)
		}
	}
	for _, group := range gone {
		in := func(l line) bool { return strings.EqualFold(l.group, group) }
		if !slices.ContainsFunc(kept, func(l line) bool { return in(l) && l.name != "X-ABLABEL" }) {
			kept = slices.DeleteFunc(kept, in)
		}
	}
	c.lines = kept
}

// behind puts lines behind the last one that has one of the names, else at the end.
func (c *Card) behind(names []string, more []line) {
	at := len(c.lines)
	for i := range c.lines {
		if slices.Contains(names, c.lines[i].name) {
			at = i + 1
		}
	}
	c.lines = slices.Insert(c.lines, at, more...)
}

// saying is the line with another value. What is before the value stays as it is
// written, but for what says how the old value was.
func (l *line) saying(value string) line {
	next := *l
	next.value = value
	about := func(p param) bool { return p.name == "ENCODING" || p.name == "CHARSET" || p.name == "SORT-AS" }
	named := l.old && !wire.IsASCII(value) // vCard 2.1 has it said
	if head, ok := strings.CutSuffix(unfold(l.raw), l.value); ok && l.raw != "" && !named && !slices.ContainsFunc(l.params, about) {
		next.raw = fold(head + value)
		return next
	}
	next.raw, next.params = "", slices.DeleteFunc(slices.Clone(l.params), about)
	if named {
		next.params = append(next.params, param{"CHARSET", "UTF-8"})
	}
	return next
}

// pieces cuts a value at a separator that no backslash stands before, and leaves
// the escapes.
func pieces(value string, at byte) (out []string) {
	from := 0
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '\\':
			i++
		case at:
			out = append(out, value[from:i])
			from = i + 1
		}
	}
	return append(out, value[from:])
}

func distinct(list []string) (out []string) {
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
