package addressbook

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"postern/config/wire"
)

// Expansion is whom a group stands for.
type Expansion struct {
	Name    string   `json:"name"`
	Book    string   `json:"book"`
	Members []Member `json:"members"`
	// Loops are groups that hold themselves, each by its path: "A > B > A". Such
	// a group counts once.
	Loops []string `json:"loops,omitempty"`
	// Missing are members that no mail can go to, and why.
	Missing []string `json:"missing,omitempty"`
	// Age is that of what is known of it, where its book can't be asked now;
	// empty: it was asked.
	Age string `json:"age,omitempty"`
}

// Member is one address of a group.
type Member struct {
	Name    string   `json:"name,omitempty"`
	Address string   `json:"address"`
	Path    []string `json:"path"` // the groups by which it came
}

// Bounds of an expansion, whatever a book says.
const (
	maxExpanded = 100_000 // addresses
	maxDepth    = 50      // groups in groups
	maxTold     = 100     // loops and missing members
	maxSteps    = 1_000_000
)

// TooMany is the error of a group with more addresses than are taken.
type TooMany struct{ Limit int }

func (e *TooMany) Error() string {
	return fmt.Sprintf("the group has more than the %d addresses that a message may have", e.Limit)
}

// expander walks through the groups of one book.
type expander struct {
	x     *Index
	out   *Expansion
	limit int
	steps int
	path  []string
	open  map[string]bool // groups of the path
	done  map[string]bool // groups that were walked through
	seen  map[string]bool // addresses
}

// expand is all that a group holds, each address once. The error is a *TooMany.
func (x *Index) expand(name string, limit int) (*Expansion, error) {
	w := &expander{
		x: x, limit: min(limit, maxExpanded), open: map[string]bool{}, done: map[string]bool{}, seen: map[string]bool{},
		out: &Expansion{Name: name, Members: []Member{}},
	}
	if err := w.group(name); err != nil {
		return nil, err
	}
	sortMembers(w.out.Members)
	return w.out, nil
}

// sortMembers puts members in the order of their names, and those without one in
// that of their addresses among them.
func sortMembers(list []Member) {
	type keyed struct {
		key string
		Member
	}
	all := make([]keyed, len(list))
	for i, m := range list {
		all[i] = keyed{folded(cmp.Or(m.Name, m.Address)), m}
	}
	slices.SortFunc(all, func(a, b keyed) int {
		return cmp.Or(strings.Compare(a.key, b.key), strings.Compare(a.Address, b.Address))
	})
	for i := range all {
		list[i] = all[i].Member
	}
}

func (w *expander) group(name string) error {
	key := folded(name)
	g := w.x.groups[key]
	switch {
	case g == nil:
		return nil
	case w.open[key]:
		from := slices.IndexFunc(w.path, func(s string) bool { return folded(s) == key })
		w.out.Loops = tell(w.out.Loops, strings.Join(append(slices.Clone(w.path[from:]), g.name), " > "))
		return nil
	case w.done[key]:
		return nil
	case len(w.path) >= maxDepth:
		w.out.Missing = tell(w.out.Missing, fmt.Sprintf("%s is more than %d groups deep", g.name, maxDepth))
		return nil
	}
	w.open[key] = true
	w.path = append(w.path, g.name)
	defer func() {
		w.path = w.path[:len(w.path)-1]
		delete(w.open, key)
		w.done[key] = true
	}()
	for _, n := range g.in {
		if err := w.person(w.x.Entries[n]); err != nil {
			return err
		}
	}
	for _, n := range g.cards {
		card := w.x.Entries[n]
		w.out.Book = card.Book
		for _, m := range card.Members {
			if err := w.member(m); err != nil {
				return err
			}
		}
		for _, a := range card.Addresses { // a list that has an address of its own
			if len(card.Members) == 0 {
				if err := w.person(&Entry{Name: card.Name, Book: card.Book, Addresses: []string{a}}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (w *expander) member(m string) error {
	if address, ok := strings.CutPrefix(m, "mailto:"); ok {
		if wire.CheckMailbox(address, true) != wire.NoFault {
			w.out.Missing = tell(w.out.Missing, wire.Quote(wire.Text(address, 200))+" is not an address")
			return nil
		}
		return w.person(&Entry{Addresses: []string{address}})
	}
	switch e := w.x.ByUID(bareUID(m)); {
	case e == nil:
		w.out.Missing = tell(w.out.Missing, wire.Text(m, 200)+" is no card of the book")
		return nil
	case e.Group:
		return w.group(e.Name)
	default:
		return w.person(e)
	}
}

func (w *expander) person(e *Entry) error {
	if w.steps++; w.steps > maxSteps {
		return &TooMany{w.limit}
	}
	if w.out.Book == "" {
		w.out.Book = e.Book
	}
	w.add(e)
	if len(w.out.Members) > w.limit {
		return &TooMany{w.limit}
	}
	return nil
}

func (w *expander) add(e *Entry) {
	x := w.out
	a := e.Address()
	if a == "" {
		x.Missing = tell(x.Missing, wire.Text(e.Name, 200)+" has no address")
		return
	}
	if k := sameAddress(a); !w.seen[k] {
		w.seen[k] = true
		x.Members = append(x.Members, Member{e.Name, a, append([]string{}, w.path...)})
	}
}

func tell(list []string, text string) []string {
	if len(list) >= maxTold || slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}

func (x *Expansion) faults(book string) (all []Fault) {
	for _, l := range x.Loops {
		all = append(all, Fault{book, "group " + x.Name, "holds itself: " + l})
	}
	for _, m := range x.Missing {
		all = append(all, Fault{book, "group " + x.Name, m})
	}
	return all
}

// Expand is all that a group of the book holds.
func (x *Index) Expand(name string) (*Expansion, error) { return x.expand(name, maxExpanded) }
