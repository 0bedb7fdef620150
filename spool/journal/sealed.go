package journal

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"postern/spool"
)

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// The index of a sealed segment tells what its records mean for the index in
// memory, so that a restart needn't read them. It can be made again at any
// time, so it is never synced and never trusted without its checksum.
const (
	indexMagic   = "PSTNIDX1"
	indexVersion = 4
	indexHead    = 48
	indexHead2   = 40 // of version 2, which knew no fields; version 3 knew no keys
)

// indexWriter collects the events of one segment.
type indexWriter struct {
	b     []byte
	last  int64
	lists map[string]int
	n     uint32
	// fields has a bit for each type of field that a reader has to know.
	fields uint64
}

func newIndexWriter() *indexWriter {
	return &indexWriter{b: make([]byte, indexHead, 64<<10), lists: map[string]int{}}
}

func (w *indexWriter) add(ev *event) {
	w.n++
	b := append(w.b, ev.kind, ev.flags)
	b = putUint(b, uint64(int64(ev.at.offset)-w.last))
	w.last = int64(ev.at.offset)
	b = putUint(putUint(b, uint64(ev.metaLen)), uint64(ev.bodyLen))
	b = putInt64(b, int64(ev.id))
	if ev.kind == recMessage || ev.kind == recMoved {
		br := &ev.brief
		b = append(b, putFlags(br.hold, br.deadline != noTime, br.prefix > 0, ev.other != 0, len(ev.keys) > 0, br.notBefore != noTime), byte(br.priority))
		b = putUint(putInt64(b, br.accepted), uint64(br.size))
		b = putUint(b, uint64(br.sender))
		if br.deadline != noTime {
			b = putInt64(b, br.deadline)
		}
		b = putUint(b, uint64(len(br.shares)))
		for _, sh := range br.shares {
			b = w.addList(putUint(b, uint64(sh.recipients)), sh.upstreams)
		}
		if br.prefix > 0 {
			w.fields |= 1 << fieldPrefix
			b = putUint(b, uint64(br.prefix))
		}
		if ev.other != 0 {
			w.fields |= 1 << fieldSettles
			b = putInt64(b, int64(ev.other))
		}
		if br.notBefore != noTime {
			w.fields |= 1 << fieldNotBefore
			b = putInt64(b, br.notBefore)
		}
		if ev.kind == recMessage && ev.other == 0 && len(ev.shares) > 0 {
			w.fields |= 1 << fieldStood
		}
	}
	if len(ev.keys) > 0 || ev.kind == recKeys {
		b = appendRecordedKeys(b, ev.keys)
	}
	b = putUint(b, uint64(len(ev.shares)))
	for i := range ev.shares {
		d := &ev.shares[i]
		b = appendState(putUint(b, uint64(d.share)), d.state)
		b = putUint(b, uint64(len(d.ended)))
		for _, r := range d.ended {
			b = putUint(b, uint64(r))
		}
	}
	w.b = b
}

// addList writes the number of a failover list, and the list at its first
// appearance.
func (w *indexWriter) addList(b []byte, upstreams []string) []byte {
	key := listKey(upstreams)
	n, ok := w.lists[key]
	if !ok {
		n = len(w.lists)
		w.lists[key] = n
	}
	b = putUint(b, uint64(n))
	if ok {
		return b
	}
	b = putUint(b, uint64(len(upstreams)))
	for _, u := range upstreams {
		b = putString(b, u)
	}
	return b
}

// finish completes the index of a segment that ends at end.
func (w *indexWriter) finish(g *segment, end int64) []byte {
	le := binary.LittleEndian
	copy(w.b, indexMagic)
	le.PutUint32(w.b[8:], indexVersion)
	le.PutUint32(w.b[12:], g.num)
	le.PutUint64(w.b[16:], g.mark)
	le.PutUint32(w.b[24:], uint32(end))
	le.PutUint32(w.b[28:], w.n)
	le.PutUint64(w.b[32:], uint64(len(w.b)))
	le.PutUint64(w.b[40:], w.fields)
	return le.AppendUint32(w.b, checksum(w.b))
}

// readIndex calls emit for each event of an index, if b is a whole index of g.
func readIndex(b []byte, g *segment, emit func(*event)) (end int64, ok bool) {
	le := binary.LittleEndian
	n := len(b) - 4
	if n < indexHead2 || string(b[:8]) != indexMagic || le.Uint32(b[12:]) != g.num ||
		le.Uint64(b[16:]) != g.mark || le.Uint64(b[32:]) != uint64(n) || le.Uint32(b[n:]) != checksum(b[:n]) {
		return 0, false
	}
	head := indexHead2
	switch le.Uint32(b[8:]) {
	case 2:
	case 3, indexVersion:
		if head = indexHead; n < head || le.Uint64(b[40:])&^knownFields != 0 {
			return 0, false
		}
	default:
		return 0, false
	}
	c := cursor{rest: string(b[head:n])}
	r := indexReader{c: &c, g: g}
	for range le.Uint32(b[28:]) {
		ev := r.next()
		if c.bad {
			return 0, false
		}
		emit(ev)
	}
	return int64(le.Uint32(b[24:])), c.done()
}

type indexReader struct {
	c     *cursor
	g     *segment
	last  uint64
	lists [][]string
	ev    event
}

// next reads one event; it is good until the next call.
func (r *indexReader) next() *event {
	c, ev := r.c, &r.ev
	*ev = event{brief: brief{shares: ev.brief.shares[:0]}, shares: ev.shares[:0], keys: ev.keys[:0]}
	ev.kind, ev.flags = c.byte(), c.byte()
	r.last += c.uint()
	ev.at = place{r.g.num, uint32(r.last)}
	ev.metaLen, ev.bodyLen = uint32(c.upTo(maxMeta)), uint32(c.upTo(1<<32-1))
	ev.id = spool.ID(c.int64())
	keyed := false
	if ev.kind == recMessage || ev.kind == recMoved {
		keyed = r.brief(ev)
	}
	if keyed || ev.kind == recKeys {
		ev.keys = readRecordedKeys(c, ev.keys, r.g.num)
	}
	for range c.count() {
		d := eventDone{share: int(c.upTo(65535)), state: readState(c)}
		for range c.count() {
			d.ended = append(d.ended, int(c.upTo(1<<24)))
		}
		ev.shares = append(ev.shares, d)
	}
	return ev
}

// brief reads what there is of a message, and tells whether its key follows.
func (r *indexReader) brief(ev *event) (keyed bool) {
	c, br := r.c, &ev.brief
	flags := c.byte()
	br.hold, br.priority, br.deadline, br.notBefore = flags&1 != 0, int8(c.byte()), noTime, noTime
	br.accepted, br.size = c.int64(), int64(c.upTo(maxBody))
	br.sender = uint32(c.upTo(1<<32 - 1))
	if flags&2 != 0 {
		br.deadline = c.int64()
	}
	for range c.count() {
		sh := share{recipients: int(c.upTo(1 << 24))}
		n := c.uint()
		switch {
		case n < uint64(len(r.lists)):
			sh.upstreams = r.lists[n]
		case n == uint64(len(r.lists)):
			for range c.count() {
				sh.upstreams = append(sh.upstreams, c.string())
			}
			sh.upstreams = slices.Clip(sh.upstreams)
			r.lists = append(r.lists, sh.upstreams)
		default:
			c.fail()
		}
		if len(sh.upstreams) == 0 {
			c.fail()
			return false
		}
		br.shares = append(br.shares, sh)
	}
	if flags&4 != 0 {
		br.prefix = int(c.upTo(maxPrefix))
	}
	if flags&8 != 0 {
		if ev.other = spool.ID(c.int64()); ev.kind != recMessage {
			c.fail()
		}
	}
	if flags&32 != 0 {
		br.notBefore = c.int64()
	}
	return flags&16 != 0
}

// seal writes the index of a segment to which nothing is added any more. An
// index that can't be written is done without.
func (s *Store) seal(g *segment, end int64) {
	w := newIndexWriter()
	sc := newScan(g, end)
	if sc.run(false, w.add) != nil || len(sc.bad) > 0 {
		return // a start looks at it itself
	}
	s.writeIndex(g, w.finish(g, end))
}

func (s *Store) writeIndex(g *segment, b []byte) {
	name := indexName(g.num)
	s.fs.Remove(name)
	file, err := s.fs.Create(name)
	if err != nil {
		return
	}
	_, err = file.WriteVec([][]byte{b}, 0)
	file.Close()
	if err != nil {
		s.fs.Remove(name)
		return
	}
	s.mu.Lock()
	g.indexed, g.indexSize = true, int64(len(b))
	s.disk += g.indexSize
	s.mu.Unlock()
}
