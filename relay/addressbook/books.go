package addressbook

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"postern/config"
	"postern/config/alias"
	"postern/config/wire"
	"postern/relay/carddav"
	"postern/relay/compose"
	"postern/relay/directory"
)

// Book is one that can be asked. It may be used concurrently.
type Book interface {
	// Index is what it holds. The error is a sentence that names the book: it
	// can't be asked now.
	Index() (*Index, error)
}

// Books are all that there are, in the order in which they are asked. They may
// be used concurrently; the zero value has none.
type Books struct {
	list []named
	// without: nobody has configured a book, and the internal one isn't there.
	without func() bool
}

type named struct {
	config.Book
	asker
}

// New makes the books of a configuration. Nothing is read yet.
func New(list []config.Book) *Books {
	b := &Books{without: func() bool { return false }}
	for _, c := range list {
		switch c.Provider {
		case config.BookVCards:
			b.list = append(b.list, named{c, held{&Folder{Name: c.Name, Dir: c.Dir}}})
		case config.BookLDAP, config.BookGraph:
			b.list = append(b.list, named{c, newAsked(&c)})
		case config.BookCardDAV:
			b.list = append(b.list, named{c, newMirror(c)})
		default:
			b.list = append(b.list, named{c, held{&fileBook{settings: c}}})
		}
	}
	if len(list) == 1 && list[0].Internal {
		f := b.list[0].asker.(held).Book.(*Folder)
		b.without = func() bool { return f.missing() }
	}
	return b
}

// Names are those of the books, in their order.
func (b *Books) Names() []string {
	var names []string
	for _, n := range b.list {
		names = append(names, n.Name)
	}
	return names
}

// Only are the books that a user may ask.
func (b *Books) Only(may func(*config.Book) bool) *Books {
	only := &Books{without: b.without}
	for _, n := range b.list {
		if may(&n.Book) {
			only.list = append(only.list, n)
		}
	}
	return only
}

// Named is the one book of a name, and false where there is none.
func (b *Books) Named(name string) (*Books, bool) {
	only := b.Only(func(c *config.Book) bool { return c.Name == name })
	return only, len(only.list) > 0
}

// Folder is the folder of a book, or the first one for an empty name; nil: it is
// none that can be written.
func (b *Books) Folder(name string) *Folder {
	for _, n := range b.list {
		if h, ok := n.asker.(held); ok && (name == "" || n.Name == name) {
			if f, ok := h.Book.(*Folder); ok {
				return f
			}
		}
	}
	return nil
}

// Unknown is the error for a name that leads to nobody, or to two.
type Unknown struct {
	Text string // "no such group in team, gal"
	Hint string // may be empty
	// Several: it is known, and may mean more than one.
	Several bool
	// NoBook: it names a book that is not among those that may be asked.
	NoBook bool
}

func (e *Unknown) Error() string { return e.Text }

// Found is what was found in all books, with what can't be used of them.
type Found struct {
	Entries []*Entry `json:"entries"`
	Faults  []Fault  `json:"faults,omitempty"`
	// Away are the books that could not be asked.
	Away []Fault `json:"away,omitempty"`
	// More: there are further entries, beyond the limit.
	More bool `json:"more,omitempty"`
}

// Find are the entries that hold every word of a text, or that a directory takes
// it for, at most limit.
func (b *Books) Find(ctx context.Context, text string, limit int) *Found {
	found := &Found{Entries: []*Entry{}}
	for _, n := range b.list {
		one, err := n.find(ctx, text, limit+1-len(found.Entries))
		if err != nil {
			found.Away = append(found.Away, Fault{n.Name, "", err.Error()})
			continue
		}
		found.Faults = append(found.Faults, one.Faults...)
		found.Entries = append(found.Entries, one.Entries...)
		found.More = found.More || one.More
		if len(found.Entries) > limit {
			found.Entries, found.More = found.Entries[:limit], true
			break
		}
	}
	return found
}

// minPrefix is how many bytes of a name have to be given.
const minPrefix = 2

// resolved is whom a name means: one person, or a group. The zero value is
// nobody.
type resolved struct {
	entry  *Entry
	group  string // its name, where it is a group
	expand func(ctx context.Context, limit int) (*Expansion, error)
}

func (r *resolved) nobody() bool { return r.entry == nil && r.group == "" }

// Resolve tells whom a name means: "group:NAME", "group:BOOK/NAME", "book:NAME",
// "book:BOOK/NAME", or a bare name. The first book counts that has an exact
// address, else a full name or a nickname, else a group. Only where none has is
// a name completed that begins so, and in all books. limit bounds the addresses.
// The error is an *Unknown, or tells of a book that can't be asked now.
func (b *Books) Resolve(ctx context.Context, name string, limit int) ([]compose.Address, error) {
	r, err := b.who(ctx, name)
	if err != nil {
		return nil, err
	}
	if r.group == "" {
		if r.entry.Address() == "" {
			return nil, withoutAddress(r.entry)
		}
		return []compose.Address{{Name: r.entry.Name, Addr: r.entry.Address()}}, nil
	}
	x, err := r.expand(ctx, limit)
	if err != nil {
		return nil, err
	}
	list := make([]compose.Address, len(x.Members))
	for i, m := range x.Members {
		list[i] = compose.Address{Name: m.Name, Addr: m.Address}
	}
	if len(list) == 0 {
		return nil, emptyGroup(r.group)
	}
	return list, nil
}

func (b *Books) byPrefix(ctx context.Context, text string) (resolved, error) {
	var people []*Entry
	for _, n := range b.list {
		some, err := n.prefix(ctx, text, 10)
		if err != nil {
			return resolved{}, err
		}
		for _, e := range some {
			if e.Address() != "" {
				people = append(people, e)
			}
		}
	}
	switch {
	case len(people) == 0:
		return resolved{}, nil
	case len(people) > 1 && !samePerson(people):
		return resolved{}, ambiguous(text, people)
	}
	return resolved{entry: people[0]}, nil
}

// samePerson reports whether it doesn't matter who of them is meant.
func samePerson(people []*Entry) bool {
	for _, e := range people[1:] {
		if sameAddress(e.Address()) != sameAddress(people[0].Address()) {
			return false
		}
	}
	return true
}

// Ambiguous is the error for a name that may mean one of several people.
func Ambiguous(text string, people []*Entry) error { return ambiguous(text, people) }

func ambiguous(text string, people []*Entry) error {
	var list []string
	for _, e := range people[:min(5, len(people))] {
		one := wire.Line(e.Name)
		if e.Address() != "" {
			one += " <" + e.Address() + ">"
		}
		list = append(list, one+" ("+e.Book+")")
	}
	if more := len(people) - len(list); more > 0 {
		list = append(list, fmt.Sprintf("%d others", more))
	}
	last := len(list) - 1
	hint := "write the address"
	first := people[0]
	if again := func(e *Entry) bool { return e.Book == first.Book && e.Called(first.Name) }; !slices.ContainsFunc(people[1:], again) {
		hint += ", or book:" + first.Book + "/" + wire.Line(first.Name)
	}
	return &Unknown{
		Several: true,
		Text:    wire.Quote(wire.Line(text)) + " may be " + strings.Join(list[:last], ", ") + " or " + list[last],
		Hint:    hint,
	}
}

// maxAlike is how many names of a book are compared with one that nobody has.
const maxAlike = 400

// unknown is the error for a name that nobody has.
func (b *Books) unknown(name string) error {
	of, text, group := b.part(name)
	e := of.nobody(text, group)
	if book, ok := b.noSuch(name); ok && len(b.list) > 0 {
		e.Text += ", and no book " + wire.Quote(wire.Line(book))
		e.NoBook, e.Hint = true, cmp.Or(b.nearBook(name), e.Hint)
	}
	return e
}

// noSuch is what stands before the slash of "group:NAME" or "book:NAME" and is no
// book of these; false: there is none.
func (b *Books) noSuch(name string) (string, bool) {
	of, text, _ := b.part(name)
	book, _, ok := strings.Cut(text, "/")
	return book, ok && of == b && alias.IsBook(name)
}

// nearBook asks whether a book was meant that is called nearly as noSuch; empty:
// none is.
func (b *Books) nearBook(name string) string {
	prefix, text, _ := strings.Cut(name, ":")
	book, rest, _ := strings.Cut(text, "/")
	near := config.Nearest(book, b.Names())
	if near == "" {
		return ""
	}
	return "did you mean " + wire.Quote(wire.Line(prefix+":"+near+"/"+rest)) + "?"
}

func (b *Books) nobody(text string, group bool) *Unknown {
	what := "nobody of that name"
	if group {
		what = "no such group"
	}
	e := &Unknown{Text: what + " in " + strings.Join(b.Names(), ", ")}
	if len(b.list) == 0 {
		e.Text = "there is no address book that you may ask"
	}
	k, near := folded(text), map[string]string{} // by the folded name
	for _, n := range b.list {
		n.near(group, k, max(1, len(k)/3), near)
	}
	if name := config.Nearest(k, slices.Sorted(maps.Keys(near))); name != "" {
		e.Hint = "did you mean " + wire.Quote(near[name]) + "?"
	}
	return e
}

// Groups are the names of the groups of all books, each book's sorted.
func (b *Books) Groups(ctx context.Context) ([]string, error) {
	names := []string{}
	for _, n := range b.list {
		more, err := n.groups(ctx)
		if err != nil {
			return nil, err
		}
		names = append(names, more...)
	}
	return names, nil
}

// Check tells how many entries each book has, and what can't be used of it.
func (b *Books) Check(ctx context.Context) []Checked {
	var all []Checked
	for _, n := range b.list {
		c := Checked{Book: n.Name, Provider: n.Provider, Place: n.Place(), Faults: []Fault{}}
		n.check(ctx, &c)
		all = append(all, c)
	}
	return all
}

// Checked tells of one book.
type Checked struct {
	Book     string  `json:"book"`
	Provider string  `json:"provider"`
	Place    string  `json:"place"`
	Entries  int     `json:"entries"`
	Groups   int     `json:"groups"`
	Faults   []Fault `json:"faults"`
	Error    string  `json:"error,omitempty"` // it can't be asked
	Hint     string  `json:"hint,omitempty"`  // what to do about it
	// Servers are those of a directory.
	Servers []directory.Tested `json:"servers,omitempty"`
	// Steps are the requests to a CardDAV server, and Collections the address books
	// that it has.
	Steps       []carddav.Step      `json:"steps,omitempty"`
	Collections []CheckedCollection `json:"collections,omitempty"`
}

// CheckedCollection is an address book of a CardDAV server.
type CheckedCollection struct {
	URL   string `json:"url"`
	Name  string `json:"name,omitempty"`
	Cards int    `json:"cards"`
}
