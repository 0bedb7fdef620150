package history

import "slices"

const (
	// mostMoves bounds what is remembered of messages that were moved.
	mostMoves = 200_000
	// mostIDs is how many IDs a message may have had. Moves beyond it are a circle,
	// or of somebody who wrote them.
	mostIDs = 20
	maxID   = 64 // octets of an ID
)

// move looks whether a line tells that a message has another ID; false: nothing was
// found that could.
func (s *search) move(line []byte) bool {
	s.noteMove(field(line, eventKey), line)
	return len(s.lives)+len(s.query.Also) > 0
}

// noteMove remembers that a message has another ID, where a line of this event tells
// so.
func (s *search) noteMove(event, line []byte) {
	switch string(event) {
	case "standin-moved", "message-adopted":
	default:
		return
	}
	old, id := string(field(line, oldIDKey)), string(field(line, idKey))
	if id == "" || len(id) > maxID || len(old) > maxID || len(s.moved) >= mostMoves {
		return
	}
	if s.moved == nil {
		s.moved = map[string]string{}
	}
	s.moved[old] = id
}

// now is the last ID of a message that has had this one.
func (s *search) now(id string) string {
	for range mostIDs {
		next, moved := s.moved[id]
		if !moved || next == id {
			break
		}
		id = next
	}
	return id
}

// join makes one life of those that a message has had by several IDs.
func (s *search) join() {
	var joined []Life
	for _, l := range s.lives {
		l.ID = s.now(l.ID)
		if l.ID == "" || !slices.ContainsFunc(joined, func(o Life) bool { return o.ID == l.ID }) {
			joined = append(joined, l)
		}
	}
	s.lives = joined
}
