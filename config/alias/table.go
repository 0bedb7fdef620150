package alias

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"postern/config/wire"
)

// maxNested is how many aliases may lead to each other in a row.
const maxNested = 50

// Source is where aliases come from.
type Source struct {
	Inline map[string][]string // of the configuration, by name
	File   string              // in the syntax of aliases(5); empty: none
	Domain string              // completes names; empty: they can't be
	Locals []string            // domains whose names have aliases, in canonical form
	Read   func(path string) ([]byte, error)
}

// Table is what Load has read. It is immutable and may be used concurrently.
type Table struct {
	Files []string // that were read, the aliases file first
	Names int      // how many have an alias
	Books []Led    // names of the address books that aliases lead to, as they were read

	domain       string
	locals       []string
	inline, file map[string]*Entry
}

// Led is a name of the address books that an alias leads to, and where it stands.
type Led struct {
	Book  string // as Target.Book has it
	Alias string // of the configuration: its name as it is written; empty: it stands in a file
	Index int    // of the configuration: its place among what the alias leads to, from 0
	File  string // the aliases file, or one that it includes
	Line  int    // in File
}

// Load reads aliases and checks them as a whole: no loop, no name that leads
// nowhere. The error is of type Problems.
func Load(s Source) (*Table, error) {
	t := &Table{domain: s.Domain, locals: s.Locals, inline: map[string]*Entry{}}
	p := &parser{read: s.Read, entries: map[string]*Entry{}}
	for _, written := range slices.Sorted(maps.Keys(s.Inline)) {
		name, fault := canonicalName(written)
		if fault != "" {
			p.problem("", 0, wire.Exact(written)+" "+fault, "")
			continue
		}
		if t.inline[name] != nil {
			p.problem("", 0, wire.Exact(name)+" is given twice", "names do not distinguish capitals")
		}
		e := &Entry{Name: name}
		for i, text := range s.Inline[written] {
			target, fault := parseTarget(text)
			if fault != "" {
				p.problem("", 0, wire.Exact(name)+": "+wire.Exact(strings.TrimSpace(text))+" "+fault, "")
				continue
			}
			e.To = append(e.To, target)
			if target.Book != "" {
				p.books = append(p.books, Led{Book: target.Book, Alias: written, Index: i})
			}
		}
		t.inline[name] = e
	}
	if s.File != "" {
		p.file(s.File)
	}
	t.file, t.Files, t.Books = p.entries, p.files, p.books
	t.Names = len(t.file)
	for name := range t.inline {
		if t.file[name] == nil {
			t.Names++
		}
	}
	if len(p.problems) == 0 {
		t.check(p)
	}
	if len(p.problems) > 0 {
		return nil, p.problems
	}
	return t, nil
}

// of is the alias of a name in canonical form; nil: it has none.
func (t *Table) of(name string) *Entry {
	if e := t.inline[name]; e != nil {
		return e
	}
	return t.file[name]
}

// Local reports whether the names of a domain have aliases.
func (t *Table) Local(domain string) bool {
	if !wire.IsASCII(domain) {
		domain, _ = wire.CanonicalDomain(domain)
	}
	for _, local := range t.locals {
		if strings.EqualFold(local, domain) {
			return true
		}
	}
	return false
}

// name is the canonical name that an address has here; false: it is not one of
// ours.
func (t *Table) name(address string) (string, bool) {
	local, domain := wire.SplitAddress(address)
	if domain != "" && !t.Local(domain) {
		return "", false
	}
	return wire.CanonicalLocal(local)
}

// Step is one alias on the way from a name to addresses.
type Step struct {
	Name  string // as it was looked up
	Alias *Entry
	// Instead is why an alias of another name was taken: "*", or "root" for
	// postmaster; empty: it is the name's own.
	Instead string
}

// Expansion is what a name stands for.
type Expansion struct {
	Addresses []string // each once; those without a domain are not completed
	// Books are the places in Addresses of what address books are to be asked for:
	// names that have no alias, and names of a book, as Target.Book has them.
	Books []int
	Steps []Step // in the order in which they were taken
	Over  bool   // there are more than the limit, and not all are listed
}

// Expand says what a recipient stands for; nil: it has no alias. limit bounds
// the addresses.
func (t *Table) Expand(address string, limit int) *Expansion {
	name, ok := t.name(address)
	if !ok {
		return nil
	}
	e, instead := t.of(name), ""
	if e == nil && name == "postmaster" { // RFC 5321 §4.5.1: somebody reads it
		e, instead = t.of("root"), "root"
	}
	if e == nil {
		e, instead = t.of("*"), "*"
	}
	if e == nil {
		return nil
	}
	x := &expander{table: t, limit: limit, seen: map[string]bool{name: true}, out: &Expansion{}}
	x.out.Steps = append(x.out.Steps, Step{name, e, instead})
	x.seen[e.Name] = true
	x.walk(e, name)
	return x.out
}

type expander struct {
	table *Table
	limit int
	seen  map[string]bool // names that were expanded, and "@" with addresses
	out   *Expansion
}

// walk adds what an alias stands for. Names that it is on its way from stand
// for themselves: "root: root, ops@example.com" is root's own address, and that
// of ops. What has no alias is an address.
func (x *expander) walk(e *Entry, from string) {
	for _, target := range e.To {
		if x.out.Over {
			return
		}
		if target.Book != "" {
			x.add(target.Book, true)
			continue
		}
		name, ours := x.table.name(target.Address)
		next := x.table.of(name)
		if target.Final || !ours || next == nil || next == e || name == from {
			_, domain := wire.SplitAddress(target.Address)
			x.add(target.Address, domain == "" && !target.Final && next == nil)
			continue
		}
		if x.seen[name] {
			continue // by another way
		}
		x.seen[name] = true
		x.out.Steps = append(x.out.Steps, Step{Name: name, Alias: next})
		x.walk(next, name)
	}
}

func (x *expander) add(address string, books bool) {
	local, domain := wire.SplitAddress(address)
	key := "@" + local + "@" + strings.ToLower(domain)
	if x.seen[key] {
		return
	}
	x.seen[key] = true
	if len(x.out.Addresses) >= x.limit {
		x.out.Over = true
		return
	}
	if books {
		x.out.Books = append(x.out.Books, len(x.out.Addresses))
	}
	x.out.Addresses = append(x.out.Addresses, address)
}

// check looks for loops, for aliases that are nested too deep, and for names
// that nothing completes.
func (t *Table) check(p *parser) {
	heights := map[*Entry]int{}
	for _, list := range []map[string]*Entry{t.inline, t.file} {
		for _, name := range slices.Sorted(maps.Keys(list)) {
			if e := t.of(name); heights[e] == 0 {
				t.follow(p, e, []*Entry{e}, heights)
			}
		}
	}
}

// follow goes from the last entry of path to all that it leads to. heights are
// how many aliases follow each other from an entry on.
func (t *Table) follow(p *parser, e *Entry, path []*Entry, heights map[*Entry]int) {
	height := 1
	for _, target := range e.To {
		if target.Book != "" {
			continue // whom it means is known when mail comes
		}
		name, ours := t.name(target.Address)
		next := t.of(name)
		if target.Final || !ours || next == nil || next == e {
			if t.domain == "" && !strings.Contains(target.Address, "@") {
				p.problem(e.File, e.Line, e.leads("to "+e.word(target.Address)+", which has no alias and no domain"),
					`set domain = "example.com" in [submission], which completes it`)
			}
			continue
		}
		if at := slices.Index(path, next); at >= 0 {
			p.problem(e.File, e.Line, "is a loop: "+trail(append(path[at:], next)), `\name is the name itself, whatever alias it has`)
			continue
		}
		if heights[next] == 0 && len(path) <= maxNested {
			t.follow(p, next, append(path, next), heights)
		}
		height = max(height, 1+heights[next])
	}
	if height == maxNested+1 {
		p.problem(e.File, e.Line, e.leads(fmt.Sprintf("through more than %d aliases", maxNested)), "")
	}
	heights[e] = height
}

// leads says where an alias leads.
func (e *Entry) leads(where string) string {
	if e.File != "" {
		return "leads " + where // its line stands before it
	}
	return wire.Exact(e.Name) + " leads " + where
}

// word is a word of an alias as a problem has it: those of files are not
// repeated.
func (e *Entry) word(s string) string {
	if e.File != "" {
		return "a name"
	}
	return wire.Exact(s)
}

// trail is "a → b → a", with the lines of those that stand in a file.
func trail(path []*Entry) string {
	places := make([]string, len(path))
	for i, e := range path {
		if places[i] = wire.Exact(e.Name); e.File != "" {
			places[i] = fmt.Sprintf("line %d", e.Line)
		}
	}
	return strings.Join(places, " → ")
}
