package journal

import "postern/spool"

// event is what the index needs to know of one record.
type event struct {
	kind, flags byte
	at          place
	metaLen     uint32 // bytes
	bodyLen     uint32 // bytes
	id          spool.ID
	brief       brief       // of recMessage and recMoved
	shares      []eventDone // of recMoved: by share; of a change: one
}

// eventDone is how one share stands after a record.
type eventDone struct {
	share int
	state state
	ended []int // recipients that have ended: all of recMoved, those of this settlement
}

// toEvent decodes the meta part of a record; false: it makes no sense.
func toEvent(h *header, at place, meta string) (*event, bool) {
	ev := &event{kind: h.kind, flags: h.flags, at: at, metaLen: h.metaLen, bodyLen: h.bodyLen, id: h.id}
	switch h.kind {
	case recMessage, recMoved:
		env, snap, of, err := decodeMeta(h.kind, meta)
		if err != nil || h.id == 0 {
			return nil, false
		}
		c := cursor{rest: meta}
		if h.kind == recMoved {
			c.rest, _, _ = cutMoved(meta)
		}
		ev.brief, _ = readBrief(&c)
		ev.brief.sender = turnOf(env)
		if h.flags&flagBig == 0 && ev.brief.size != int64(h.bodyLen) || len(env.Recipients) == 0 {
			return nil, false
		}
		return ev, snap == nil || ev.setSnapshot(snap, of)
	case recAttempt, recDot, recSettle:
		c := cursor{rest: meta}
		ch := readChange(&c, h.kind)
		ev.shares = []eventDone{{share: ch.share, state: ch.state, ended: endedOf(ch.fates)}}
		return ev, c.done()
	case recDone:
		return ev, meta == ""
	}
	return nil, false
}

func (ev *event) setSnapshot(snap *snapshot, of []int) bool {
	if len(snap.shares) != len(ev.brief.shares) {
		return false
	}
	for i, st := range snap.shares {
		ev.shares = append(ev.shares, eventDone{share: i, state: st})
	}
	for i := range snap.fates {
		f := &snap.fates[i]
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
	switch ev.kind {
	case recMessage:
		if s.ix.byID[ev.id] == 0 {
			s.replayMessage(ev)
		}
	case recMoved:
		if h := s.ix.byID[ev.id]; h != 0 {
			e := s.ix.entry(h)
			s.count(e.at.segment, -1, -entryWeight(e))
			s.ix.drop(ev.id)
		}
		s.replayMessage(ev)
		for i := range ev.shares {
			s.replayChange(ev, &ev.shares[i])
		}
	case recAttempt, recDot, recSettle:
		s.replayChange(ev, &ev.shares[0])
	case recDone:
		if h := s.ix.byID[ev.id]; h != 0 {
			e := s.ix.entry(h)
			s.count(e.at.segment, -1, -entryWeight(e))
			s.ix.drop(ev.id)
		}
	}
}

func (s *Store) replayMessage(ev *event) {
	s.ix.add(ev.id, &ev.brief, ev.at, ev.metaLen, ev.flags&flagBig != 0)
	s.count(ev.at.segment, 1, headerSize+int64(ev.metaLen)+ev.brief.size)
}

func (s *Store) replayChange(ev *event, d *eventDone) {
	h, e := s.ix.find(ev.id, d.share)
	if h == 0 || e.pending == 0 {
		return
	}
	s.ix.setState(e, d.state)
	if ev.kind == recSettle {
		e.last = ev.at
	}
	s.applyEnds(h, d.ended)
}
