package history

import "slices"

// oldID is the key of the ID that a message had in another spool (standin-moved,
// message-adopted).
const oldID = `"old_id":"`

// moves reports whether a line is one of those events.
func moves(line []byte) bool {
	switch string(field(line, `"event":"`)) {
	case "standin-moved", "message-adopted":
		return true
	}
	return false
}

// mostMoves bounds what is remembered of messages that were moved.
const mostMoves = 200_000

// move looks whether a line tells that a message has another ID; false: nothing was
// found that could.
func (s *search) move(line []byte) bool {
	if moves(line) {
		s.noteMove(string(field(line, oldID)), string(field(line, `"id":"`)))
	}
	return len(s.lives)+len(s.query.Also) > 0
}

// noteMove remembers that a message has another ID.
func (s *search) noteMove(old, id string) {
	if id == "" || len(s.moved) >= mostMoves {
		return
	}
	if s.moved == nil {
		s.moved = map[string]string{}
	}
	s.moved[old] = id
}

// now is the last ID of a message that has had this one.
func (s *search) now(id string) string {
	for range len(s.moved) { // no more often, also where lines lead in a circle
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
