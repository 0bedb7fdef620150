package origin

import (
	"cmp"
	"slices"
	"sync"
)

// How many lines of one kind are told until End.
const (
	linesOfOne = 10  // that one origin causes
	linesOfAll = 200 // that all users cause, and as many that all addresses do
)

// Lines bounds how many lines of a log each origin causes. It counts by kind,
// so that many of one kind don't hide the first of another; kinds are the
// caller's, and few. Users of this machine and those who have signed in are
// counted apart from addresses, of which one attacker may have many.
type Lines struct {
	mu  sync.Mutex // guards what follows, which is of the time since End
	one map[line]*tally
	all map[group]*tally
}

type line struct {
	origin Key
	kind   string
}

type group struct {
	users bool // or addresses
	kind  string
}

// tally counts lines. That of a group has as untold only what is in no tally of
// an origin.
type tally struct{ told, untold int }

// Untold are lines of one kind that an origin caused, and that were not told.
type Untold struct {
	Origin string // "other users" and "other addresses" are those that had no line at all
	Kind   string
	Count  int
}

// NewLines begins to count.
func NewLines() *Lines { return &Lines{one: map[line]*tally{}, all: map[group]*tally{}} }

// Take reports whether a line of this kind that k causes is to be told. first:
// nothing was asked since End, which is to be called after a while.
func (l *Lines) Take(k Key, kind string) (told, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first = len(l.all) == 0
	all := entry(l.all, group{k.user != "", kind})
	if all.told >= linesOfAll && l.one[line{k, kind}] == nil {
		all.untold++ // so that the table has no more origins than were told
		return false, first
	}
	one, most := entry(l.one, line{k, kind}), linesOfOne
	if all.told >= linesOfAll/2 {
		most = 1 // the rest is for those who had none
	}
	if one.told >= most || all.told >= linesOfAll {
		one.untold++
		return false, first
	}
	one.told++
	all.told++
	return true, first
}

func entry[K comparable](m map[K]*tally, k K) *tally {
	t := m[k]
	if t == nil {
		t = &tally{}
		m[k] = t
	}
	return t
}

// End returns what was not told since the last End, the most first, and begins
// anew.
func (l *Lines) End() []Untold {
	l.mu.Lock()
	one, all := l.one, l.all
	l.one, l.all = map[line]*tally{}, map[group]*tally{}
	l.mu.Unlock()
	var list []Untold
	for k, t := range one {
		if t.untold > 0 {
			list = append(list, Untold{k.origin.String(), k.kind, t.untold})
		}
	}
	for k, t := range all {
		if t.untold > 0 {
			others := "other addresses"
			if k.users {
				others = "other users"
			}
			list = append(list, Untold{others, k.kind, t.untold})
		}
	}
	slices.SortFunc(list, func(a, b Untold) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Origin, b.Origin))
	})
	return list
}
