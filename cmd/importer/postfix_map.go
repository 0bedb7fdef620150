package importer

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"sync"
)

// maxEntries bounds what all tables of one Postfix hold.
const maxEntries = 20_000

// entry is a line of a table.
type entry struct {
	Place
	key   string // lower case; of a table of expressions, the pattern of Postern
	value string
}

// lookup is one or more tables that are asked in turn.
type lookup struct {
	list  []entry
	first map[string]int // key → index of its first entry
}

func newLookup(list []entry) lookup {
	l := lookup{list, map[string]int{}}
	for i, e := range list {
		if _, ok := l.first[e.key]; !ok {
			l.first[e.key] = i
		}
	}
	return l
}

// find is the first entry with a key.
func (l lookup) find(key string) (entry, bool) {
	i, ok := l.first[strings.ToLower(key)]
	if !ok {
		return entry{}, false
	}
	return l.list[i], true
}

// lookup reads the tables that a parameter names, as far as they are text.
func (p *postfix) lookup(of *params, name string) lookup {
	s := of.get(name)
	key := name + "\x00" + s.Value + "\x00" + s.Place.String()
	if known, ok := p.tables[key]; ok {
		return known
	}
	var all []entry
	for _, t := range tableNames(s.Value) {
		all = append(all, p.table(s.Place, name, t)...)
	}
	p.tables[key] = newLookup(all)
	return p.tables[key]
}

// tableNames are the tables of a list, in which braces hold blanks.
func tableNames(s string) (names []string) {
	deep, start := 0, -1
	for i := 0; i <= len(s); i++ {
		switch {
		case i == len(s) || deep == 0 && (s[i] == ',' || s[i] == ' ' || s[i] == '\t'):
			if start >= 0 {
				names = append(names, s[start:i])
			}
			start = -1
			continue
		case s[i] == '{':
			deep++
		case s[i] == '}':
			deep = max(deep-1, 0)
		}
		if start < 0 {
			start = i
		}
	}
	return names
}

// table reads one table: "hash:/etc/postfix/sasl_passwd".
func (p *postfix) table(at Place, param, table string) []entry {
	kind, name, ok := strings.Cut(table, ":")
	if !ok {
		kind, name = p.main.get("default_database_type").Value, table
	}
	switch kind {
	case "proxy":
		return p.table(at, param, name)
	case "hash", "btree", "cdb", "dbm", "lmdb", "sdbm", "texthash":
		f := p.open(at, param, name)
		if f == nil {
			return nil
		}
		return p.entries(f, false)
	case "regexp", "pcre":
		if strings.HasPrefix(name, "{") {
			f := &file{name: at.File}
			for _, rule := range tableNames(strings.TrimSuffix(name[1:], "}")) {
				f.lines = append(f.lines, strings.Trim(rule, "{} "))
			}
			all := p.entries(f, true)
			for i := range all {
				all[i].Place = at
			}
			return all
		}
		f := p.open(at, param, name)
		if f == nil {
			return nil
		}
		return p.entries(f, true)
	case "static":
		return []entry{{at, "*", strings.Trim(name, "{} ")}}
	case "inline":
		return inline(at, name)
	}
	p.note(at, fmt.Sprintf("%s: a table of the kind %s has no text that can be read", param, shown(kind)), "carry over what it says by hand")
	return nil
}

// inline reads { { key = value }, … }.
func inline(at Place, text string) (all []entry) {
	text = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), "{"), "}")
	for _, pair := range tableNames(text) {
		if key, value, ok := strings.Cut(strings.Trim(pair, "{} "), "="); ok {
			all = append(all, entry{at, strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)})
		}
	}
	return all
}

// open reads a file that a parameter names; nil where it cannot be read.
func (p *postfix) open(at Place, param, name string) *file {
	f, err := p.src.named(path.Clean(name))
	if errors.Is(err, fs.ErrNotExist) {
		for _, compiled := range []string{".db", ".lmdb", ".cdb"} {
			if where, err := p.src.path(path.Clean(name) + compiled); err == nil {
				if db, err := p.src.open(where); err == nil {
					db.Close()
					p.note(at, param+": of "+shown(name)+" only the compiled table is there, and not its text", "write what `postmap -s` prints of it into the file and import again, or carry it over by hand")
					return nil
				}
			}
		}
	}
	if err != nil {
		p.note(at, fmt.Sprintf("%s: %s", param, (&Unreadable{shown(name), err}).Error()), "see that it can be read and import again, or carry it over by hand")
		return nil
	}
	return f
}

// entries are the lines of a table. A value is never shown where a line is not
// understood: it may be a password.
func (p *postfix) entries(f *file, expressions bool) (all []entry) {
	for _, line := range logical(f) {
		if p.count++; p.count > maxEntries {
			p.note(line.Place, fmt.Sprintf("more than %d entries of tables are not read", maxEntries), "carry the rest over by hand")
			return all
		}
		if !expressions {
			key, value := line.Value, ""
			if i := strings.IndexAny(line.Value, " \t"); i >= 0 {
				key, value = line.Value[:i], strings.TrimSpace(line.Value[i:])
			}
			all = append(all, entry{line.Place, strings.ToLower(strings.TrimSuffix(key, ":")), value})
			continue
		}
		key, value, ok := expression(line.Value)
		if !ok {
			p.note(line.Place, "the regular expression has no counterpart", "write what it means with the patterns of docs/routing.md")
			continue
		}
		all = append(all, entry{line.Place, key, value})
	}
	return all
}

// Expressions that mean no more than a pattern of Postern.
var (
	wholeExpression = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^/((?:[^/\\]|\\.)*)/[a-zA-Z]*\s+(.*)$`)
	})
	anyExpression = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\^?(\.|\.\*|\.\+|\(\.\*\))\$?$`)
	})
	domainExpression = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(?:\^?\.[*+])?@((?:[a-zA-Z0-9-]|\\\.)+)\$$`)
	})
	exactExpression = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\^((?:[a-zA-Z0-9_=-]|\\[.+])+@(?:[a-zA-Z0-9-]|\\\.)+)\$$`)
	})
)

// expression reads a line of a table of regular expressions.
func expression(line string) (key, value string, ok bool) {
	m := wholeExpression().FindStringSubmatch(line)
	if m == nil || strings.ContainsAny(m[2], "$") {
		return "", "", false
	}
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, `\`, "")) }
	if anyExpression().MatchString(m[1]) {
		return "*", m[2], true
	}
	if d := domainExpression().FindStringSubmatch(m[1]); d != nil {
		return "@" + plain(d[1]), m[2], true
	}
	if a := exactExpression().FindStringSubmatch(m[1]); a != nil {
		return plain(a[1]), m[2], true
	}
	return "", "", false
}
