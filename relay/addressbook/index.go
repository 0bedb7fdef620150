package addressbook

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/unicode/norm"

	"postern/config/wire"
)

// Fault is something of a book that cannot be used.
type Fault struct {
	Book string `json:"book"`
	Name string `json:"file"` // of the file, with the line of a row; empty: the book as a whole
	Text string `json:"text"`
}

func (f Fault) String() string {
	text := f.Text
	for _, where := range []string{f.Name, f.Book} {
		if where != "" {
			text = where + ": " + text
		}
	}
	return text
}

// Index is a book in memory. It is never changed, and may be used concurrently.
type Index struct {
	Entries []*Entry
	Faults  []Fault

	address map[string][]int32 // by the address as sameAddress has it
	uid     map[string]int32
	name    map[string][]int32 // by the folded full name or nickname
	groups  map[string]*group  // by the folded name
	words   []word             // sorted: what a prefix is looked for in

	// texts are what Search looks in, by the entry; they are made when it is
	// called first.
	texts func() []string
	// spellings are what near compares with; they are made when it is called first.
	spellings func() []spelling
}

// spelling is a name and which letters it has.
type spelling struct {
	folded  string
	letters uint64
	name    string
}

// lettersOf has a bit for each letter and digit, and one for all others.
func lettersOf(s string) (bits uint64) {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z':
			bits |= 1 << (c - 'a')
		case c >= '0' && c <= '9':
			bits |= 1 << (26 + c - '0')
		default:
			bits |= 1 << (36 + c%28)
		}
	}
	return bits
}

type word struct {
	text  string // the folded name from the beginning of one of its words
	entry int32
}

// group is all that has one name: a card of a group, and those who have it
// among their categories.
type group struct {
	name  string
	cards []int32
	in    []int32
}

// folded is a name without the differences that people don't mean.
func folded(s string) string {
	if !wire.IsASCII(s) {
		s = norm.NFC.String(s)
	}
	return strings.ToLower(strings.Join(strings.Fields(s), " "))
}

// Called tells whether an entry has this UID, address, name or nickname.
func (e *Entry) Called(who string) bool {
	k := folded(who)
	return e.UID == who || folded(e.Name) == k ||
		slices.ContainsFunc(e.Addresses, func(a string) bool { return sameAddress(a) == sameAddress(who) }) ||
		slices.ContainsFunc(e.Nicknames, func(n string) bool { return folded(n) == k })
}

// sameAddress is an address as others are compared with it.
func sameAddress(a string) string { return strings.ToLower(a) }

// newIndex takes what a book holds.
func newIndex(entries []*Entry, faults []Fault) *Index {
	x := &Index{
		Entries: entries, Faults: faults, address: make(map[string][]int32, len(entries)), uid: make(map[string]int32, len(entries)),
		name: make(map[string][]int32, len(entries)), groups: map[string]*group{},
	}
	for i, e := range entries {
		n := int32(i)
		if e.UID != "" {
			x.uid[e.UID] = n
		}
		full := folded(e.Name)
		if e.Group {
			g := x.group(e.Name)
			g.cards = append(g.cards, n)
			continue
		}
		for _, a := range e.Addresses {
			k := sameAddress(a)
			x.address[k] = append(x.address[k], n)
		}
		x.addName(full, n)
		for _, nick := range e.Nicknames {
			x.addName(folded(nick), n)
		}
		for _, name := range e.Groups {
			g := x.group(name)
			g.in = append(g.in, n)
		}
	}
	x.texts, x.spellings = sync.OnceValue(x.makeTexts), sync.OnceValue(x.makeSpellings)
	slices.SortFunc(x.words, func(a, b word) int { return strings.Compare(a.text, b.text) })
	return x
}

// maxWords is how many words of one name a prefix is looked for in.
const maxWords = 8

func (x *Index) addName(name string, n int32) {
	if name == "" {
		return
	}
	if at := x.name[name]; len(at) == 0 || at[len(at)-1] != n {
		x.name[name] = append(at, n)
	}
	rest := name
	for range maxWords {
		x.words = append(x.words, word{rest, n})
		_, after, more := strings.Cut(rest, " ")
		if !more {
			return
		}
		rest = after
	}
}

func (x *Index) group(name string) *group {
	k := folded(name)
	g := x.groups[k]
	if g == nil {
		g = &group{name: name}
		x.groups[k] = g
	}
	return g
}

// Group reports whether the book has a group of that name, and how it writes it.
func (x *Index) Group(name string) (string, bool) {
	g := x.groups[folded(name)]
	if g == nil {
		return "", false
	}
	return g.name, true
}

// Groups are the names of all groups, sorted.
func (x *Index) Groups() []string {
	names := make([]string, 0, len(x.groups))
	for _, g := range x.groups {
		names = append(names, g.name)
	}
	slices.Sort(names)
	return names
}

// ByUID is nil where there is none.
func (x *Index) ByUID(uid string) *Entry {
	if n, ok := x.uid[uid]; ok {
		return x.Entries[n]
	}
	return nil
}

func (x *Index) all(at []int32) []*Entry {
	out := make([]*Entry, 0, len(at))
	for _, n := range at {
		if e := x.Entries[n]; len(out) == 0 || out[len(out)-1] != e { // one with a name twice has it one after the other
			out = append(out, e)
		}
	}
	return out
}

// Exact are those with an address, or else a full name or nickname.
func (x *Index) Exact(text string) []*Entry {
	if at := x.address[sameAddress(text)]; len(at) > 0 {
		return x.all(at)
	}
	return x.all(x.name[folded(text)])
}

// Prefix are those whose name, or a word of it, begins with a text: at most
// limit.
func (x *Index) Prefix(text string, limit int) []*Entry {
	k := folded(text)
	at, _ := slices.BinarySearchFunc(x.words, k, func(w word, k string) int { return strings.Compare(w.text, k) })
	var found []*Entry
	seen := map[int32]bool{}
	for _, w := range x.words[at:] {
		if !strings.HasPrefix(w.text, k) || len(found) >= limit {
			break
		}
		if !seen[w.entry] {
			seen[w.entry] = true
			found = append(found, x.Entries[w.entry])
		}
	}
	return found
}

// Search are those that hold every word of a text in a name, an address, an
// organisation or a group, in the order of their names: at most limit.
func (x *Index) Search(text string, limit int) []*Entry {
	words := strings.Fields(folded(text))
	var found []*Entry
	for i, text := range x.texts() {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) }) {
			found = append(found, x.Entries[i])
		}
	}
	slices.SortStableFunc(found, func(a, b *Entry) int { return strings.Compare(a.Name, b.Name) })
	return found[:min(limit, len(found))]
}

// makeSpellings lists the names of persons, the shortest first.
func (x *Index) makeSpellings() []spelling {
	list := make([]spelling, 0, len(x.name))
	for name, at := range x.name {
		list = append(list, spelling{name, lettersOf(name), x.Entries[at[0]].Name})
	}
	slices.SortFunc(list, func(a, b spelling) int {
		return cmp.Or(len(a.folded)-len(b.folded), strings.Compare(a.folded, b.folded))
	})
	return list
}

// near are at most maxAlike names of persons that may be k with as many changes,
// those with nearly the same letters before others.
func (x *Index) near(k string, changes int, into map[string]string) {
	list := x.spellings()
	letters, n, least := lettersOf(k), 0, 0
	from, _ := slices.BinarySearchFunc(list, len(k)-changes, func(s spelling, length int) int { return len(s.folded) - length })
	to, _ := slices.BinarySearchFunc(list, len(k)+changes+1, func(s spelling, length int) int { return len(s.folded) - length })
	// Each change takes one letter away and adds one, at most.
	for _, most := range []int{min(2, 2*changes), 2 * changes} {
		for _, s := range list[from:to] {
			if n >= maxAlike {
				return
			}
			if d := bits.OnesCount64(s.letters ^ letters); d >= least && d <= most {
				into[s.folded] = s.name
				n++
			}
		}
		least = most + 1
	}
}

// makeTexts joins what an entry is found by, with line ends, which no word has.
func (x *Index) makeTexts() []string {
	texts := make([]string, len(x.Entries))
	for i, e := range x.Entries {
		parts := []string{folded(e.Name), folded(e.Organisation), e.UID}
		for _, list := range [][]string{e.Nicknames, e.Addresses, e.Groups} {
			for _, s := range list {
				parts = append(parts, folded(s))
			}
		}
		texts[i] = strings.Join(parts, "\n")
	}
	return texts
}
