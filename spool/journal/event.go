package journal

import (
	"errors"

	"postern/spool"
)

// event is what the index needs to know of one record.
type event struct {
	kind, flags byte
	at          place
	metaLen     uint32 // bytes
	bodyLen     uint32 // bytes
	id          spool.ID
	brief       brief         // of recMessage and recMoved
	shares      []eventDone   // of recMoved: by share; of a change: one; of recMessage: those of other, or by share where it was adopted
	other       spool.ID      // of recMessage: the message of which it settles a share; 0: none
	keys        []recordedKey // of recMessage: its own, if it has one; of recKeys
}

// eventDone is how one share stands after a record.
type eventDone struct {
	share int
	state state
	ended []int // recipients that have ended: all of recMoved, those of this settlement
}

// errNoRecord: a record that makes no sense.
var errNoRecord = errors.New("its type or content is not known to this version")

// toEvent decodes the meta part of a record.
func toEvent(h *header, at place, meta string) (*event, error) {
	ev := &event{kind: h.kind, flags: h.flags, at: at, metaLen: h.metaLen, bodyLen: h.bodyLen, id: h.id}
	c := cursor{}
	ok := true
	switch h.kind {
	case recMessage, recMoved:
		var m message
		m, c = decodeMessage(h.kind, meta)
		if ok = c.done() && h.id != 0; ok {
			ok = ev.setMessage(&m)
		}
	case recAttempt, recDot, recSettle:
		c.rest = meta
		ch := readChange(&c, h.kind)
		ev.shares = []eventDone{ch.event()}
	case recDone:
		ok = meta == ""
	case recKeys:
		c.rest = meta
		version := c.version()
		if ev.keys = readRecordedKeys(&c, nil, at.segment); version > 1 {
			c.area(nil)
		}
	default:
		ok = false
	}
	switch {
	case c.newer != nil:
		return nil, c.newer
	case !ok || !c.done():
		return nil, errNoRecord
	}
	return ev, nil
}

// event is what the index needs to know of a change.
func (ch *change) event() eventDone {
	return eventDone{share: ch.share, state: ch.state, ended: endedOf(ch.results)}
}

// setMessage takes over what a message record holds; false: it makes no sense.
func (ev *event) setMessage(m *message) bool {
	ev.brief = m.brief
	ev.brief.sender = turnOf(m.env)
	if ev.flags&flagBig == 0 && ev.brief.size != int64(ev.bodyLen) || len(m.env.Recipients) == 0 {
		return false
	}
	if m.snap != nil && (m.settles != nil || !ev.setSnapshot(m.snap, m.of)) {
		return false
	}
	if ev.kind == recMoved {
		return true
	}
	if m.env.Key != nil {
		ev.keys = []recordedKey{recorded(m.env.Key, ev.id, ev.at)}
	}
	if m.settles != nil {
		ev.other, ev.shares = m.settles.id, m.settles.events()
	}
	return true
}

func (ev *event) setSnapshot(snap *snapshot, of []int) bool {
	if len(snap.shares) != len(ev.brief.shares) {
		return false
	}
	for i, st := range snap.shares {
		ev.shares = append(ev.shares, eventDone{share: i, state: st})
	}
	for i := range snap.results {
		f := &snap.results[i]
		if f.recipient >= len(of) {
			return false
		}
		if f.status != spool.Pending {
			d := &ev.shares[of[f.recipient]]
			d.ended = append(d.ended, f.recipient)
		}
	}
	return true
}

// replay applies one event. Only recovery calls it, before anybody else is
// there, so no share is queued or claimed yet.
func (s *Store) replay(ev *event) {
	s.lastID.Store(max(s.lastID.Load(), uint64(ev.id)))
	s.replayKeys(ev)
	switch ev.kind {
	case recMessage:
		if s.ix.byID[ev.id] == 0 {
			s.replayMessage(ev)
			for i := range ev.shares {
				if ev.other == 0 {
					s.replayChange(ev.id, ev.kind, ev.at, &ev.shares[i])
				}
			}
		}
		if ev.other != 0 {
			for i := range ev.shares {
				s.replayChange(ev.other, recSettle, ev.at, &ev.shares[i])
			}
		}
	case recMoved:
		if h := s.ix.byID[ev.id]; h != 0 {
			e := s.ix.entry(h)
			s.count(e.at.segment, -1, -entryWeight(e))
			s.ix.drop(ev.id)
		}
		s.replayMessage(ev)
		for i := range ev.shares {
			s.replayChange(ev.id, ev.kind, ev.at, &ev.shares[i])
		}
	case recAttempt, recDot, recSettle:
		s.replayChange(ev.id, ev.kind, ev.at, &ev.shares[0])
	case recDone:
		if h := s.ix.byID[ev.id]; h != 0 {
			e := s.ix.entry(h)
			s.count(e.at.segment, -1, -entryWeight(e))
			s.ix.drop(ev.id)
		}
	}
}

// replayKeys remembers the keys of an event that have not ended.
func (s *Store) replayKeys(ev *event) {
	for i := range ev.keys {
		k := &ev.keys[i]
		s.lastID.Store(max(s.lastID.Load(), uint64(k.id)))
		if int64(k.until) > s.began {
			s.remember(k)
		}
	}
}

func (s *Store) replayMessage(ev *event) {
	s.ix.add(ev.id, &ev.brief, ev.at, ev.metaLen, ev.flags&flagBig != 0)
	s.count(ev.at.segment, 1, headerSize+int64(ev.metaLen)+ev.brief.size)
}

func (s *Store) replayChange(id spool.ID, kind byte, at place, d *eventDone) {
	h, e := s.ix.find(id, d.share)
	if h == 0 || e.pending == 0 {
		return
	}
	s.ix.setState(e, d.state)
	if kind == recSettle {
		e.last = at
	}
	s.applyEnds(h, d.ended)
}
