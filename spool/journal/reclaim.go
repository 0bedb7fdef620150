package journal

import (
	"errors"
	"io/fs"
	"slices"
	"time"

	"postern/spool"
	"postern/spool/disk"
)

// keeper is the goroutine that tidies up: it removes the bodies of settled
// messages, writes the indexes of sealed segments, and reclaims segments.
func (s *Store) keeper() {
	defer s.tidying.Done()
	timer := time.NewTimer(fullEvery)
	defer timer.Stop()
	var retired time.Time
	for {
		timer.Reset(fullEvery)
		select {
		case <-s.tidy:
		case <-timer.C:
			s.mu.Lock()
			s.expireKeys(time.Now())
			s.mu.Unlock()
			if !s.full.Load() && !s.short.Load() {
				continue
			}
			s.noRoom() // there may be room again
		case <-s.stop:
			return
		}
		s.removeBodies()
		s.sealOld()
		s.evacuate()
		for s.reclaim() {
		}
		if now := time.Now(); s.retire(now.Sub(retired) >= fullEvery) {
			retired = now
		}
		s.keepReserve()
	}
}

// fullEvery is how often a spool that takes no mail for want of room looks
// whether there is some.
const fullEvery = time.Second

// stopping reports whether the keeper has to end.
func (s *Store) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return s.isClosing()
	}
}

// sealOld writes the index of every segment that lacks one.
func (s *Store) sealOld() {
	for !s.stopping() {
		s.mu.Lock()
		var g *segment
		for _, old := range s.segs[:len(s.segs)-1] {
			if !old.indexed {
				g = old.acquire()
				g.indexed = true
				break
			}
		}
		s.mu.Unlock()
		if g == nil {
			return
		}
		s.seal(g, g.end)
		s.release(g)
	}
}

// evacuate copies forward what lives in segments that a sync failed on.
func (s *Store) evacuate() {
	s.mu.Lock()
	var list []*segment
	for _, g := range s.segs[:len(s.segs)-1] {
		if g.suspect {
			list = append(list, g)
		}
	}
	s.mu.Unlock()
	for _, g := range list {
		if _, err := s.copyForward(g); err != nil {
			return
		}
		s.mu.Lock()
		g.suspect = g.live+g.keys > 0 // what changed meanwhile was not moved: the next round does
		s.mu.Unlock()
	}
}

// reclaim frees the oldest segment, if that is worth while; false: not now.
// Segments go strictly in order, and each removal is durable before the next:
// a record that ends a message must never vanish before the message.
func (s *Store) reclaim() bool {
	s.mu.Lock()
	g := s.segs[0]
	may := len(s.segs) > 1 && !g.keep && (disk.RemovesOpen || g.refs == 0) && !s.stuck
	empty := g.live+g.keys == 0
	may = may && (empty || s.wasteful())
	s.mu.Unlock()
	if !may || s.stopping() {
		return false
	}
	told := &SegmentReclaimed{Segment: g.num}
	if !empty {
		var err error
		if told, err = s.copyForward(g); err != nil {
			s.j.mu.Lock()
			if errors.Is(err, spool.ErrFull) && s.dropReserve() {
				s.stalled = time.Time{} // now there may be
				s.poke(s.tidy)
			}
			s.j.mu.Unlock()
			return false
		}
	}
	s.mu.Lock()
	gone := g.live+g.keys == 0 && !g.keep && (disk.RemovesOpen || g.refs == 0)
	if gone {
		s.segs = s.segs[1:]
		delete(s.bySeg, g.num)
		s.disk -= g.size + g.indexSize
		g.removed = true
	}
	last := g.refs == 0
	s.mu.Unlock()
	if !gone {
		return false
	}
	if last {
		g.file.Close()
	}
	err := s.fs.Remove(segmentName(g.num))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // somebody else did
	}
	s.fs.Remove(indexName(g.num))
	if err == nil {
		err = s.fs.SyncDir(".")
	}
	if err != nil {
		// Whether it is gone for good is not known, so nothing may follow it.
		s.mu.Lock()
		s.stuck = true
		s.mu.Unlock()
		s.ev(&WriteFailed{g.num, "remove", err})
		return false
	}
	s.ev(told)
	return true
}

// wasteful reports whether the journal has grown so far beyond what lives in
// it that copying is worth while. Store.mu is held.
func (s *Store) wasteful() bool {
	var log, live int64
	for _, g := range s.segs {
		log += g.size
		live += g.liveBytes
	}
	enough := int(2*live/s.opts.SegmentSize) + 32
	if s.full.Load() || s.short.Load() {
		// Mail is refused for want of this room.
		first := s.segs[0]
		little := first.size / 4
		if s.opts.Reserve > 0 {
			little = min(little, s.opts.Reserve/2)
		}
		if log > live+2*s.opts.SegmentSize || first.liveBytes < little {
			return true
		}
	}
	return log > 2*live+s.opts.Slack || len(s.segs) > enough
}

// copyBytes is how much is copied forward between two looks at the clients.
const copyBytes = 1 << 20

// copyForward writes the live messages and keys of a segment to the end of the
// journal, and returns once they are durable there.
// Where a disk was too full for that, the next try is a while later: a write
// that fails for want of room wakes the keeper, whose own these are. Only the
// keeper calls it.
func (s *Store) copyForward(g *segment) (*SegmentReclaimed, error) {
	if time.Since(s.stalled) < fullEvery {
		return nil, errStalled
	}
	told, err := s.copyLiving(g)
	if errors.Is(err, spool.ErrFull) {
		s.stalled = time.Now()
	}
	return told, err
}

var errStalled = errors.New("there was no room a moment ago")

// copyLiving is copyForward, at once.
func (s *Store) copyLiving(g *segment) (*SegmentReclaimed, error) {
	s.mu.Lock()
	g.acquire()
	end := g.end
	s.mu.Unlock()
	defer s.release(g)
	var places []place
	var ids []spool.ID
	var keys []spool.KeyName
	sc := newScan(g, end)
	if err := sc.run(false, func(ev *event) {
		if ev.kind == recMessage || ev.kind == recMoved {
			places, ids = append(places, ev.at), append(ids, ev.id)
		}
		for i := range ev.keys {
			keys = append(keys, ev.keys[i].name)
		}
	}); err != nil {
		s.tellUnread(0, err)
		return nil, err
	}
	told := &SegmentReclaimed{Segment: g.num}
	var batch []*submission
	var pending int64
	for i, id := range ids {
		sub, err := s.moving(g, id, places[i])
		if err != nil {
			return nil, err
		}
		if sub != nil {
			batch = append(batch, sub)
			pending += sub.head.size()
		}
		if len(batch) > 0 && (pending >= copyBytes || i == len(ids)-1) {
			if err := s.submitAll(batch); err != nil {
				return nil, err
			}
			told.Copied, told.Bytes = told.Copied+len(batch), told.Bytes+pending
			batch, pending = batch[:0], 0
		}
		if s.stopping() {
			return nil, spool.ErrClosed
		}
	}
	err := s.submitAll(batch)
	if told.Copied, told.Bytes = told.Copied+len(batch), told.Bytes+pending; err == nil {
		told.Keys, err = s.carryKeys(g, keys)
	}
	if err == nil && len(sc.bad) > 0 {
		s.saveLeftovers(g, sc)
	}
	return told, err
}

// saveLeftovers sets aside what a segment that is to be removed holds beside
// its whole records.
func (s *Store) saveLeftovers(g *segment, sc *scan) {
	lost := map[spool.ID]place{}
	s.mu.Lock()
	for id, h := range s.ix.byID {
		if e := s.ix.entry(h); e.at.segment == g.num {
			lost[id] = e.at
		}
	}
	s.mu.Unlock()
	for id, at := range lost {
		if slices.ContainsFunc(sc.bad, func(b badRange) bool { return b.offset <= int64(at.offset) && int64(at.offset) < b.offset+b.n }) {
			s.setAsideMessage(id, at, damaged("record"))
		}
	}
	s.setting.Lock()
	defer s.setting.Unlock()
	for _, b := range sc.bad {
		if !b.lost && s.saveBad(g, uint32(b.offset), b.n, b.id, b.why) != nil {
			s.mu.Lock()
			g.keep = true
			s.mu.Unlock()
		}
	}
}

func (s *Store) submitAll(batch []*submission) error {
	var first error
	sent := 0
	for _, sub := range batch {
		if first = s.submit(sub); first != nil {
			break
		}
		sent++
	}
	for _, sub := range batch[:sent] {
		if err := <-sub.done; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// moving prepares the copy of one message; nil: it no longer lives there.
func (s *Store) moving(g *segment, id spool.ID, at place) (*submission, error) {
	s.mu.Lock()
	k, ok := s.know(id)
	s.mu.Unlock()
	if !ok {
		return nil, nil
	}
	s.release(k.seg)
	e := k.entries[0]
	if e.at != at {
		return nil, nil
	}
	n := headerSize + int64(e.metaLen)
	if !e.is(big) {
		n += e.body()
	}
	buf := make([]byte, n)
	if err := readFull(g.file, buf, int64(at.offset)); err != nil {
		if errors.Is(err, spool.ErrDamaged) {
			s.setAsideMessage(id, at, err)
		} else {
			s.tellUnread(id, err) // and the segment stays
		}
		return nil, err
	}
	h, ok := decodeHeader(buf, g.num, g.mark)
	meta, body := buf[headerSize:headerSize+e.metaLen], buf[headerSize+e.metaLen:]
	text := string(meta)
	msg, err := decodeMeta(h.kind, text)
	if !ok || checksum(meta) != h.metaCRC || !e.is(big) && checksum(body) != h.bodyCRC {
		err = damaged("record")
	}
	if err != nil {
		s.setAsideMessage(id, at, err)
		return nil, nil
	}
	if h.kind == recMoved {
		text, _, _ = cutMoved(text)
	}
	m := &move{store: s, id: id, from: at, envelope: carried(text, msg.fields), of: msg.of,
		results: s.results(&k, msg.snap, len(msg.of)), seen: k.entries}
	sub := &submission{
		head: header{kind: recMoved, flags: h.flags & flagBig, id: id, bodyLen: uint32(len(body)), bodyCRC: h.bodyCRC},
		body: [][]byte{body}, prepare: m.prepare, durable: m.durable, done: make(chan error, 1),
	}
	return sub, nil
}

// move is the copying of one message.
type move struct {
	store    *Store
	id       spool.ID
	from     place
	envelope []byte
	of       []int     // share of each recipient
	results  []*result // of each recipient, nil: nothing is recorded
	seen     []entry   // the shares as they were when results were read
}

// prepare writes down how the message stands at the moment at which the copy
// goes into the journal. journal.mu is held, so no record comes between.
func (m *move) prepare(sub *submission) bool {
	s := m.store
	s.mu.Lock()
	k, ok := s.know(m.id)
	s.mu.Unlock()
	if !ok {
		return false
	}
	// Not s.release: nothing was read, and journal.mu is held.
	s.mu.Lock()
	k.seg.refs--
	s.mu.Unlock()
	if k.entries[0].at != m.from || len(k.entries) != len(m.seen) {
		return false
	}
	snap := snapshot{shares: make([]state, len(k.entries))}
	for i := range k.entries {
		if k.entries[i].last != m.seen[i].last || k.entries[i].is(settling) {
			return false // more is recorded by now, or about to be: another time
		}
		st := k.entries[i].state()
		st.inDoubt = st.inDoubt || k.entries[i].is(dotted)
		snap.shares[k.entries[i].share] = st
	}
	for i, share := range m.of {
		if f := m.resultOf(&k, share, i); f != nil {
			snap.results = append(snap.results, *f)
		}
	}
	sub.meta = appendMoved(sub.meta[:0], m.envelope, &snap)
	sub.head.metaLen, sub.head.metaCRC = uint32(len(sub.meta)), checksum(sub.meta)
	return true
}

// resultOf is what is known of recipient i. What the index knows to have ended
// stays ended, even if the record of it was lost.
func (m *move) resultOf(k *known, share, i int) *result {
	f := m.results[i]
	for n := range k.entries {
		e := &k.entries[n]
		if int(e.share) != share || e.pending > 0 && !hasBit(k.ended[n], i) {
			continue
		}
		if f == nil || f.status == spool.Pending {
			return &result{recipient: i, status: spool.Delivered}
		}
	}
	return f
}

// durable makes the copy the message. Store.mu is held.
func (m *move) durable(sub *submission, _ *wakes) {
	s := m.store
	h := s.ix.byID[m.id]
	if h == 0 || s.ix.entry(h).at != m.from {
		return
	}
	old := entryWeight(s.ix.entry(h))
	for o := h; o != 0; o = s.ix.entry(o).next {
		e := s.ix.entry(o)
		e.at, e.metaLen = sub.at, sub.head.metaLen
	}
	s.count(m.from.segment, -1, -old)
	s.count(sub.at.segment, 1, entryWeight(s.ix.entry(h)))
}
