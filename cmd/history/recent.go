package history

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"slices"
)

const (
	// generationSize is how many bytes of lines a generation holds.
	generationSize = 2 << 20
	chains         = 1 << 12
)

// recent holds the lines that were looked at last, so that the files are read once:
// what was told of a message before the line that it is found by stands not far
// before it as a rule. Where it does not, they are read again.
type recent struct {
	now, before *generation
	seed        maphash.Seed
}

// generation is lines, found by the messages that they are about.
type generation struct {
	text   []byte
	lines  []placed
	chains [chains]int32 // by the hash of an ID: the last line of it, from 1; 0: none
}

// placed is a line of a generation.
type placed struct {
	begin, end int32 // in its text
	next       int32 // of the chain, the one before it, from 1; 0: none
	about      bool  // it is of a notice, and stands in the chain of what that is about
}

func newRecent() *recent {
	return &recent{now: &generation{}, before: &generation{}, seed: maphash.MakeSeed()}
}

// add keeps a line of this event, with this ID. Where it takes the room of older
// ones, drop is told of them first.
func (r *recent) add(event, id, line []byte, drop func(*generation)) {
	if len(r.now.text)+len(line) > generationSize {
		drop(r.before)
		r.now, r.before = r.before, r.now
		r.now.text, r.now.lines, r.now.chains = r.now.text[:0], r.now.lines[:0], [chains]int32{}
	}
	if len(id) > 0 {
		r.now.add(r.chain(id), line, false)
	}
	if of := original(event, line); len(of) > 0 {
		r.now.add(r.chain(of), line, true)
	}
}

func (r *recent) chain(id []byte) int { return int(maphash.Bytes(r.seed, id) % chains) }

func (g *generation) add(chain int, line []byte, about bool) {
	begin := len(g.text)
	g.text = append(g.text, line...)
	g.lines = append(g.lines, placed{int32(begin), int32(len(g.text)), g.chains[chain], about})
	g.chains[chain] = int32(len(g.lines))
}

// take adds to a life what a generation has of it.
func (r *recent) take(g *generation, l *Life, held *int) {
	if l.ID == "" {
		return // its line is all there is
	}
	id := []byte(l.ID)
	var found []json.RawMessage
	for i := g.chains[r.chain(id)]; i > 0; i = g.lines[i-1].next {
		one := &g.lines[i-1]
		line, key := g.text[one.begin:one.end], idKey
		if one.about {
			key = originalKey
		}
		if !bytes.Equal(field(line, key), id) {
			continue
		}
		found = append(found, slices.Clone(line))
	}
	for _, line := range slices.Backward(found) {
		l.add(line, held)
	}
}

// begins tells whether the first line of a life is that of its beginning.
func (l *Life) begins() bool {
	if l.ID == "" {
		return true
	} else if len(l.Lines) == 0 {
		return false
	}
	event, id := head(l.Lines[0])
	return string(id) == l.ID && (string(event) == "message-accepted" || string(event) == "sender-notified")
}

// part takes from a life the lines of notices that are lives of their own; false: it
// can't tell which.
func (l *Life) part(own map[string]bool) bool {
	n := len(l.Lines)
	l.Lines = slices.DeleteFunc(l.Lines, func(line json.RawMessage) bool {
		_, id := head(line)
		return l.ID != "" && string(id) != l.ID && own[string(id)]
	})
	return l.Omitted == 0 || len(l.Lines) == n
}

// add takes a line where there is room, of which held is used; else it is omitted. It
// lets go of one in the middle where there are too many: the end of a life tells more.
func (l *Life) add(line json.RawMessage, held *int) {
	if len(l.Lines) >= maxLines {
		*held -= len(l.Lines[maxLines/2])
		l.Lines = slices.Delete(l.Lines, maxLines/2, maxLines/2+1)
		l.Omitted++
	}
	if *held+len(line) > maxHeld {
		l.Omitted++
		return
	}
	*held += len(line)
	l.Lines = append(l.Lines, line)
}

// once is match, which keeps the lines of what is found besides.
func (s *search) once(line []byte) bool {
	event, id := head(line)
	s.recent.add(event, id, line, s.takeFrom)
	return s.matchOf(event, id, line)
}

// takeFrom adds to all lives what a generation has of them.
func (s *search) takeFrom(g *generation) {
	for i := range s.lives {
		s.recent.take(g, &s.lives[i], &s.held)
	}
	for i := range s.also {
		s.recent.take(g, &s.also[i], &s.held)
	}
}

// complete ends a search that has read the files once; false: they have to be read
// again, since there may be more of what was found.
func (s *search) complete() bool {
	s.takeFrom(s.recent.before)
	s.takeFrom(s.recent.now)
	own := map[string]bool{}
	for _, l := range slices.Concat(s.lives, s.also) {
		own[l.ID] = true
	}
	whole := len(s.moved) == 0
	for i := range s.lives {
		whole = whole && s.lives[i].part(own) && s.lives[i].begins()
	}
	for i := range s.also {
		whole = whole && s.also[i].part(own)
	}
	if whole {
		for _, l := range s.also {
			if !slices.ContainsFunc(s.lives, func(o Life) bool { return o.ID == l.ID }) {
				s.lives = append(s.lives, l)
			}
		}
		return true
	}
	s.held = 0
	for i := range s.lives {
		l := &s.lives[i]
		if l.ID != "" {
			l.Lines, l.Omitted = nil, 0
		}
		for _, line := range l.Lines {
			s.held += len(line)
		}
	}
	return false
}
