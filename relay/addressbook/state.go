package addressbook

import (
	"errors"
	"slices"
	"time"

	"postern/config"
	"postern/config/wire"
)

// State is what is known of a book without asking anybody else for it.
type State struct {
	Book     string
	Provider string
	Place    string
	Writable bool // it is a folder of cards
	// Elsewhere: somebody else holds it, so that nothing but Check tells more.
	Elsewhere bool
	Entries   int
	Groups    int
	Faults    []Fault   // what can't be used of it
	Heard     time.Time // when its server said so; zero: it has none, or was not asked yet
	Error     string    // why it can't be asked now; empty: it can, or nobody has tried
}

// States are those of all books. Folders and files are read where they have
// changed; no server is asked.
func (b *Books) States() []State {
	var all []State
	for _, n := range b.list {
		s := State{Book: n.Name, Provider: n.Provider, Place: n.Place(), Writable: n.Provider == config.BookVCards}
		n.state(&s)
		all = append(all, s)
	}
	return all
}

func (s *State) of(x *Index) { s.Entries, s.Groups, s.Faults = len(x.Entries), len(x.groups), x.Faults }

func (h held) state(s *State) {
	if x, err := h.Index(); err != nil {
		s.Error = err.Error()
	} else {
		s.of(x)
	}
}

func (a *asked) state(s *State) { s.Elsewhere = true }

func (m *mirror) state(s *State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.read {
		m.read = true
		m.load()
	}
	s.Elsewhere = true
	if m.index != nil {
		s.of(m.index)
		s.Heard = m.heard.At
	}
	if m.err != nil {
		s.Error = m.away(m.err).Error()
	}
}

// One is the one entry of those that were found that has a UID, an address, a
// name or a nickname. The error is an *Unknown, or tells of a book that can't be
// asked.
func (f *Found) One(who string) (*Entry, error) {
	var own []*Entry
	for _, e := range f.Entries {
		if e.Called(who) {
			own = append(own, e)
		}
	}
	if same := slices.DeleteFunc(slices.Clone(own), func(e *Entry) bool { return e.UID != who }); len(same) == 1 {
		return same[0], nil // which no other has, whatever it is called
	}
	switch {
	case len(own) > 1:
		return nil, Ambiguous(who, own)
	case len(own) == 1:
		return own[0], nil
	case len(f.Away) > 0:
		return nil, errors.New(f.Away[0].Text)
	case f.More:
		return nil, errors.New("there are more than can be looked through: write more of the name")
	}
	return nil, &Unknown{Text: "nobody has the UID, the address or the name " + wire.Quote(wire.Line(who)), Hint: "postern book find " + wire.Quote(wire.Line(who)) + " looks for parts of them"}
}
