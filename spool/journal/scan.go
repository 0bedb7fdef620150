package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"postern/spool"
)

// A scan reads one segment from its first record to its end, and finds the
// next whole record behind whatever doesn't make sense.
type scan struct {
	g     *segment
	limit int64 // offset at which the segment ends
	buf   []byte
	at    int64 // offset of buf in the file
	err   error // of reading
	mark  [8]byte

	end     int64 // behind the last whole record
	durable int64 // offset that was known to be synced at some time
	records int
	bad     []badRange
	whole   int64    // behind the last whole record, also one that doesn't count
	group   []*event // that wait for the rest of what they count together with
}

// badRange is a part of a segment that makes no sense.
type badRange struct {
	offset, n int64
	id        spool.ID // of a record whose header is whole
	why       string
	lost      bool // a whole sector of it is zero, as a torn write leaves it
}

const scanWindow = 256 << 10

func newScan(g *segment, limit int64) *scan {
	sc := &scan{g: g, limit: limit, end: segmentStart, whole: segmentStart}
	binary.LittleEndian.PutUint64(sc.mark[:], g.mark)
	return sc
}

// view returns n bytes at off, fewer at the end of the segment. They are
// good until the next call.
func (sc *scan) view(off, n int64) []byte {
	n = max(min(n, sc.limit-off), 0)
	if off < sc.at || off+n > sc.at+int64(len(sc.buf)) {
		want := min(max(n, scanWindow), sc.limit-off)
		if int64(cap(sc.buf)) < want {
			sc.buf = make([]byte, want)
		}
		got, err := sc.g.file.ReadAt(sc.buf[:max(want, 0)], off)
		sc.buf, sc.at = sc.buf[:got], off
		if int64(got) < want {
			if sc.limit = off + int64(got); sc.err == nil && err != nil && !isEOF(err) {
				sc.err = err
			}
		}
		n = min(n, int64(got))
	}
	return sc.buf[off-sc.at : off-sc.at+n]
}

// run calls emit for each whole record, in order. Bodies are checked only
// where checkBodies: where nothing is known of the segment.
func (sc *scan) run(checkBodies bool, emit func(*event)) error {
	off := int64(segmentStart)
	for off < sc.limit && sc.err == nil {
		h, ok := decodeHeader(sc.view(off, headerSize), sc.g.num, sc.g.mark)
		if ok && off+h.size() > sc.limit {
			sc.bad = append(sc.bad, badRange{off, sc.limit - off, h.id, "the file ends within it", true})
			break
		}
		if !ok {
			next := sc.resync(off + 1)
			sc.noteGap(off, next)
			off = next
			continue
		}
		if ev, why := sc.record(&h, off, checkBodies); ev != nil {
			sc.durable = max(sc.durable, int64(h.durable))
			sc.take(ev, off, off+h.size(), emit)
		} else {
			sc.bad = append(sc.bad, badRange{off, h.size(), h.id, why, sc.lostSector(off, h.size())})
		}
		off += h.size()
	}
	sc.breakGroup(emit)
	return sc.err
}

// take passes on a whole record. Some count only together with those next to
// them, which are written by one write: of these, all or none are passed on.
func (sc *scan) take(ev *event, off, end int64, emit func(*event)) {
	if ev.flags&flagRest == 0 || off != sc.whole {
		sc.breakGroup(emit)
	}
	follows := len(sc.group) > 0
	if ev.flags&flagRest != 0 && !follows && sc.torn() {
		sc.bad = append(sc.bad, badRange{off, end - off, ev.id, "what it counts together with is missing", true})
		sc.whole = end
		return
	}
	sc.whole = end
	sc.group = append(sc.group, ev)
	if ev.flags&flagMore == 0 {
		sc.pass(emit)
	}
}

// pass passes on what has waited.
func (sc *scan) pass(emit func(*event)) {
	for _, ev := range sc.group {
		emit(ev)
		sc.records++
	}
	sc.group, sc.end = sc.group[:0], sc.whole
}

// breakGroup ends a group of which the rest doesn't follow. Where that wasn't
// written, nothing of it counts; where it is damaged, each stands for itself.
func (sc *scan) breakGroup(emit func(*event)) {
	if len(sc.group) == 0 {
		return
	}
	if !sc.torn() {
		sc.pass(emit)
		return
	}
	for _, ev := range sc.group {
		h := header{metaLen: ev.metaLen, bodyLen: ev.bodyLen}
		sc.bad = append(sc.bad, badRange{int64(ev.at.offset), h.size(), ev.id, "what it counts together with is missing", true})
	}
	sc.group = sc.group[:0]
}

// torn reports whether what lies behind the last whole record was not written,
// as far as the scan has come: nothing there is damage.
func (sc *scan) torn() bool {
	for i := len(sc.bad) - 1; i >= 0 && sc.bad[i].offset >= sc.whole; i-- {
		if !sc.bad[i].lost {
			return false
		}
	}
	return true
}

// record checks and decodes the record at off.
func (sc *scan) record(h *header, off int64, checkBody bool) (ev *event, why string) {
	meta := sc.view(off+headerSize, int64(h.metaLen))
	if int64(len(meta)) < int64(h.metaLen) || checksum(meta) != h.metaCRC {
		return nil, "its envelope or state does not match the checksum"
	}
	ev, err := toEvent(h, place{sc.g.num, uint32(off)}, string(meta))
	if err != nil {
		return nil, err.Error()
	}
	if checkBody && h.flags&flagBig == 0 && h.bodyLen > 0 {
		var crc uint32
		start := off + headerSize + int64(h.metaLen)
		for n := int64(h.bodyLen); n > 0; {
			part := sc.view(start, min(n, scanWindow))
			if len(part) == 0 {
				break
			}
			crc = crc32.Update(crc, castagnoli, part)
			start += int64(len(part))
			n -= int64(len(part))
		}
		if crc != h.bodyCRC {
			return nil, "its content does not match the checksum"
		}
	}
	return ev, ""
}

// resync finds the next header of this segment from off on; the end of the
// segment where there is none.
func (sc *scan) resync(off int64) int64 {
	for off+headerSize <= sc.limit {
		b := sc.view(off, scanWindow)
		if len(b) < headerSize {
			break
		}
		i := bytes.Index(b, sc.mark[:])
		if i < 0 {
			off += int64(len(b)) - int64(len(sc.mark)) + 1
			continue
		}
		off += int64(i)
		if h, ok := decodeHeader(sc.view(off, headerSize), sc.g.num, sc.g.mark); ok && off+h.size() <= sc.limit {
			return off
		}
		off++
	}
	return sc.limit
}

// noteGap notes what lies between off and next, if it is anything but zeros.
func (sc *scan) noteGap(off, next int64) {
	last := int64(-1)
	for at := off; at < next; {
		b := sc.view(at, min(next-at, scanWindow))
		if len(b) == 0 {
			break
		}
		if i := lastNonZero(b); i >= 0 {
			last = at + int64(i)
		}
		at += int64(len(b))
	}
	if last < 0 {
		return
	}
	n := last + 1 - off
	// Of a torn write the header, at least, is gone with its sector, or with
	// the end of the file.
	head := int64(headerSize)
	if next < sc.limit {
		head = min(head, next-off)
	}
	lost := sc.lostSector(off, head)
	sc.bad = append(sc.bad, badRange{off, n, 0, "it is no record", lost})
}

// lostSector reports whether some sector's part of the range is all zero or
// beyond the end of the file.
func (sc *scan) lostSector(off, n int64) bool {
	for end := off + n; off < end; {
		part := min(end, (off/sector+1)*sector) - off
		if b := sc.view(off, part); int64(len(b)) < part || lastNonZero(b) < 0 {
			return true
		}
		off += part
	}
	return false
}

func lastNonZero(b []byte) int {
	for len(b) >= 8 && binary.LittleEndian.Uint64(b[len(b)-8:]) == 0 {
		b = b[:len(b)-8]
	}
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0 {
			return i
		}
	}
	return -1
}
