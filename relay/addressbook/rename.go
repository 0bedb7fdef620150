package addressbook

import (
	"slices"
	"strings"
)

// The parts of N that are used here (RFC 6350 §6.2.2).
const (
	family = iota
	given
	additional
	prefixes
	suffixes
	parts
)

// SetName sets the full name. The parts of the name (N) follow where they were
// those of the full name; what they say beyond it stays.
func (c *Card) SetName(name string) {
	was := c.Entry()
	c.setFullName(name)
	for i := range c.lines {
		l := &c.lines[i]
		if l.name != "N" {
			continue
		}
		v, err := l.decoded()
		if err != nil {
			continue
		}
		if next, follows := renamed(pieces(v, ';'), was.Name, name, was.Group); follows {
			c.lines[i] = l.saying(strings.Join(next, ";"))
		}
	}
}

func (c *Card) setFullName(name string) {
	for i := range c.lines {
		l := &c.lines[i]
		if l.name != "FN" {
			continue
		}
		if v, err := l.decoded(); err == nil && shown(unescape(v)) != "" {
			c.lines[i] = l.saying(escape(name))
			return
		}
	}
	c.set("FN", name)
}

// renamed are the parts of a name that was another one; false: they were not
// those of the full name. A part that the full name did not say stays.
func renamed(n []string, was, now string, group bool) ([]string, bool) {
	n = slices.Clone(n)
	for len(n) < parts {
		n = append(n, "")
	}
	var words [parts][]string
	said := func(i int) bool { return len(words[i]) > 0 && within(words[i], nameWords(was)) }
	for i := range words {
		words[i] = nameWords(strings.Join(split(n[i], ','), " "))
	}
	switch {
	case len(words[family])+len(words[given]) == 0:
		return nil, false
	case !within(slices.Concat(words[family], words[given]), nameWords(was)):
		return nil, false
	}
	set := func(i int, w []string) {
		if !sameWords(w, words[i]) {
			n[i] = escape(strings.Join(w, " "))
		}
	}
	rest := strings.Fields(now)
	if said(prefixes) {
		if begins(rest, words[prefixes]) {
			rest = rest[len(words[prefixes]):]
		} else {
			set(prefixes, nil)
		}
	}
	if said(suffixes) {
		if ends(rest, words[suffixes]) {
			rest = rest[:len(rest)-len(words[suffixes])]
		} else {
			set(suffixes, nil)
		}
	}
	middle := said(additional)
	r := renaming{familyFirst: len(words[given]) > 0 && begins(strings.Fields(was), words[family]) && len(words[family]) > 0, whole: group}
	f, g, m := r.cut(rest, words)
	set(family, f)
	set(given, g)
	if middle {
		set(additional, m)
	} else if len(m) > 0 { // whoever has a further name that is not said keeps it
		set(given, slices.Concat(g, m))
	}
	return n, true
}

// renaming is how a full name is cut into its parts.
type renaming struct {
	familyFirst bool // as it was before
	whole       bool // of a group: one part alone
}

// cut tells the family name, the given and the additional ones of a full name
// without its titles. What was a part stays that part where it stands there still.
func (r renaming) cut(rest []string, was [parts][]string) (f, g, m []string) {
	f, g = was[family], was[given]
	switch {
	case r.whole && len(f) == 0:
		return nil, rest, nil
	case r.whole:
		return rest, nil, nil
	case r.familyFirst && len(rest) > len(g) && ends(rest, g):
		return withoutComma(rest[:len(rest)-len(g)]), g, nil
	case r.familyFirst && len(rest) > 1:
		at := 1
		if len(rest) > len(f) && begins(rest, f) {
			at = len(f)
		} else if i := slices.IndexFunc(rest[:len(rest)-1], func(w string) bool { return strings.HasSuffix(w, ",") }); i >= 0 {
			at = i + 1
		}
		return withoutComma(rest[:at]), rest[at:], nil
	case len(g) > 0 && len(rest) > len(g) && begins(rest, g):
		rest = rest[len(g):]
		switch a := was[additional]; {
		case len(f) > 0 && len(rest) > len(f) && ends(rest, f):
			return f, g, rest[:len(rest)-len(f)]
		case len(a) > 0 && len(rest) > len(a) && begins(rest, a):
			return rest[len(a):], g, a
		}
		return rest, g, nil
	case len(f) > 0 && len(rest) > len(f) && ends(rest, f):
		return f, rest[:len(rest)-len(f)], nil
	case len(rest) == 1 && len(g) == 0:
		return rest, nil, nil
	case len(rest) == 1:
		return nil, rest, nil
	}
	last := max(0, len(rest)-1)
	return rest[last:], rest[:last], nil
}

func withoutComma(words []string) []string {
	words = slices.Clone(words)
	last := len(words) - 1
	words[last] = strings.TrimSuffix(words[last], ",")
	return words
}

// nameWords are the words of a name, without the comma behind a family name that
// stands first.
func nameWords(name string) []string {
	words := strings.Fields(name)
	for i, w := range words {
		if len(w) > 1 {
			words[i] = strings.TrimSuffix(w, ",")
		}
	}
	return words
}

func sameWords(a, b []string) bool { return len(a) == len(b) && begins(a, b) }

func begins(words, with []string) bool {
	if len(words) < len(with) {
		return false
	}
	for i := range with {
		if folded(strings.TrimSuffix(words[i], ",")) != folded(strings.TrimSuffix(with[i], ",")) {
			return false
		}
	}
	return true
}

func ends(words, with []string) bool {
	return len(words) >= len(with) && begins(words[len(words)-len(with):], with)
}

// within reports whether each of the words is one of a text.
func within(words, text []string) bool {
	left := map[string]int{}
	for _, w := range text {
		left[folded(w)]++
	}
	for _, w := range words {
		if left[folded(w)]--; left[folded(w)] < 0 {
			return false
		}
	}
	return true
}
