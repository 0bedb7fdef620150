package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"postern/spool"
	"postern/spool/disk"
)

// recover reads the journal into the index. Until the first segment of this
// run is begun, it changes nothing on which the next start could not build:
// it sets damaged records aside, writes indexes, and removes segments that
// were never used.
func (s *Store) recover() error {
	entries, err := s.fs.List(".")
	if err != nil {
		return err
	}
	indexes := map[uint32]int64{}
	var heads []segmentHead
	for _, e := range entries {
		if num, ok := parseNumber(e.Name, indexSuffix); ok {
			indexes[num] = e.Size
		}
		num, ok := parseNumber(e.Name, segmentSuffix)
		if !ok || !e.Mode.IsRegular() {
			continue
		}
		s.j.nextSeg = max(s.j.nextSeg, num)
		head, g, err := s.openSegment(num, e.Size)
		if err != nil {
			return err
		}
		if g != nil {
			heads = append(heads, head)
			s.segs = append(s.segs, g)
			s.bySeg[num] = g
			s.disk += e.Size
		}
	}
	aside, last, err := s.setAsideCount()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.setAside = aside
	s.j.nextSeg = max(s.j.nextSeg, last) + 1
	limits := map[uint32]limit{}
	for _, h := range heads {
		s.lastID.Store(max(s.lastID.Load(), uint64(h.floor)))
		if h.prev != 0 {
			limits[h.prev] = limit{int64(h.prevEnd), h.afterCrash}
		}
	}
	for i, g := range s.segs {
		if err := s.recoverSegment(g, &heads[i], limits, indexes); err != nil {
			return err
		}
		delete(indexes, g.num)
	}
	for num := range indexes {
		if !s.readOnly {
			s.fs.Remove(indexName(num))
		}
	}
	s.recoverIndex()
	return nil
}

// openSegment opens a segment and reads its header. A segment that was never
// used is removed, and one that can't be read at all is set aside; g is nil
// then.
func (s *Store) openSegment(num uint32, size int64) (head segmentHead, g *segment, err error) {
	name := segmentName(num)
	file, err := s.fs.Open(name)
	if err != nil {
		return head, nil, err
	}
	b := make([]byte, segmentStart+headerSize)
	n, err := file.ReadAt(b, 0)
	if err != nil && !isEOF(err) {
		file.Close()
		return head, nil, err
	}
	b = b[:n]
	head, ok := decodeSegmentHead(b, num)
	if second, too := decodeSegmentHead(b[min(len(b), sector):], num); too != ok {
		s.report.Repaired++ // nothing to do: the other copy has it all
		if too {
			head, ok = second, true
		}
	}
	if !ok && len(b) == cap(b) {
		// Both headers are gone. The first record, which nobody outside can
		// have written there, tells the mark.
		mark := uint64(0)
		for i := range 8 {
			mark |= uint64(b[segmentStart+i]) << (8 * i)
		}
		if _, ok = decodeHeader(b[segmentStart:], num, mark); ok && mark != 0 {
			head = segmentHead{version: formatVersion, num: num, mark: mark}
		}
	}
	if ok && head.version > formatVersion {
		file.Close()
		return head, nil, s.newerFormat(int(head.version))
	}
	if ok {
		return head, &segment{num: num, mark: head.mark, file: file, size: size}, nil
	}
	empty := isZero(file, size)
	file.Close()
	if s.readOnly {
		return head, nil, nil
	}
	if empty {
		return head, nil, s.fs.Remove(name)
	}
	return head, nil, s.saveSegment(num)
}

func isZero(file disk.File, size int64) bool {
	sc := newScan(&segment{file: file}, size)
	for off := int64(0); off < sc.limit; off += scanWindow {
		if lastNonZero(sc.view(off, scanWindow)) >= 0 {
			return false
		}
	}
	return sc.err == nil
}

// saveSegment moves a segment of which nothing can be read to bad/.
func (s *Store) saveSegment(num uint32) error {
	name := badDir + "/" + segmentName(num)
	if err := s.fs.Rename(segmentName(num), name); err != nil {
		return err
	}
	if err := s.fs.SyncDir(badDir); err != nil {
		return err
	}
	s.report.SetAside++
	s.ev(&RecordSetAside{name, 0, "neither header of the segment can be read"})
	return s.fs.SyncDir(".")
}

// limit is where a segment ends, as the next one says.
type limit struct {
	end        int64
	afterCrash bool // as a start found it; otherwise as it was written
}

// recoverSegment replays one segment, from its index if there is a whole one.
func (s *Store) recoverSegment(g *segment, head *segmentHead, limits map[uint32]limit, indexes map[uint32]int64) error {
	s.report.Segments++
	known, sealed := limits[g.num]
	if size, ok := indexes[g.num]; ok {
		if end, ok := s.replayIndex(g, size); ok && (!sealed || end == known.end) {
			g.end, g.indexed, g.indexSize = end, true, size
			s.disk += size
			s.tail = tail{g.num, uint32(end)}
			return nil
		}
	}
	s.report.Scanned++
	if !sealed {
		known = limit{g.size, true}
	}
	sc := newScan(g, min(known.end, g.size))
	w := newIndexWriter()
	err := sc.run(known.afterCrash, func(ev *event) {
		w.add(ev)
		s.replay(ev)
	})
	if err != nil {
		return err
	}
	if known.end > g.size {
		sc.bad = append(sc.bad, badRange{g.size, known.end - g.size, 0, "the file ends too early", true})
	}
	s.report.Records += sc.records
	if err := s.recoverBad(g, sc, known.afterCrash); err != nil {
		return err
	}
	g.end = sc.end
	if sealed {
		g.end = known.end
	}
	s.tail = tail{g.num, uint32(g.end)}
	if s.readOnly {
		return nil
	}
	if sc.records == 0 {
		err = s.rewrite(g, func(file disk.File) error {
			_, err := file.WriteVec([][]byte{head.encode()}, 0)
			return err
		})
	} else if known.afterCrash {
		err = s.rewriteTail(g, sc)
	}
	if err == nil {
		s.writeIndex(g, w.finish(g, g.end))
	}
	return err
}

// rewrite writes what was read of a segment once more, and makes it durable,
// before anything is built on it. The last run may have been killed before it
// was synced; or a sync failed and left in the cache, as if saved, what the
// disk doesn't have. That can be the header, as long as no record follows it,
// and what lies behind the last offset that was known to be durable.
func (s *Store) rewrite(g *segment, write func(disk.File) error) error {
	file, err := s.fs.OpenWrite(segmentName(g.num))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := write(file); err != nil {
		return err
	}
	return file.Sync()
}

func (s *Store) rewriteTail(g *segment, sc *scan) error {
	from := max(sc.durable, segmentStart)
	if sc.end <= from {
		return nil
	}
	return s.rewrite(g, func(file disk.File) error {
		for from < sc.end {
			b := sc.view(from, min(sc.end-from, scanWindow))
			if len(b) == 0 {
				return sc.err
			}
			if _, err := file.WriteVec([][]byte{b}, from); err != nil {
				return err
			}
			from += int64(len(b))
		}
		return nil
	})
}

// replayIndex replays the index of a segment; false: it isn't whole.
func (s *Store) replayIndex(g *segment, size int64) (end int64, ok bool) {
	file, err := s.fs.Open(indexName(g.num))
	if err != nil {
		return 0, false
	}
	defer file.Close()
	b := make([]byte, size)
	if n, err := file.ReadAt(b, 0); n < len(b) || err != nil && !isEOF(err) {
		return 0, false
	}
	return readIndex(b, g, func(ev *event) {
		s.report.Records++
		s.replay(ev)
	})
}

// recoverBad tells unfinished writing from damage. Writing was unfinished
// where a whole sector is missing, behind everything that was ever known to
// be synced, in a segment whose end was not written down by who wrote it. The
// rest is damage.
func (s *Store) recoverBad(g *segment, sc *scan, afterCrash bool) error {
	for _, b := range sc.bad {
		if b.lost && afterCrash && b.offset >= sc.durable {
			s.report.TornBytes += b.n
			s.ev(&TornTailCut{g.num, b.offset, b.n})
			continue
		}
		s.report.SetAside++
		if s.readOnly {
			continue
		}
		if err := s.saveBad(g, uint32(b.offset), b.n, b.id, b.why); err != nil {
			return fmt.Errorf("set aside: %w", err)
		}
	}
	return nil
}

// recoverIndex completes the index once everything is replayed.
func (s *Store) recoverIndex() {
	now := time.Now().UnixNano()
	for _, first := range s.ix.byID {
		for h := first; h != 0; h = s.ix.entry(h).next {
			e := s.ix.entry(h)
			if e.pending == 0 {
				continue
			}
			if e.is(inDoubt) {
				s.report.InDoubt++
			}
			if e.due == e.accepted {
				e.due = min(e.due, now) // never tried, and the clock jumped back
			}
			s.ix.enqueue(h)
		}
	}
	s.report.Messages, s.report.Shares, s.report.Keys = len(s.ix.byID), s.ix.shares, s.keys.n
}

// recoverBodies sweeps bodies to which no message belongs, and sets messages
// aside whose body is missing.
func (s *Store) recoverBodies() error {
	entries, err := s.fs.List(bigDir)
	if err != nil {
		return err
	}
	found := map[spool.ID]bool{}
	var swept int64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name, bodySuffix)
		id, err := spool.ParseID(name)
		if !ok || err != nil || !e.Mode.IsRegular() {
			continue
		}
		if h := s.ix.byID[id]; h != 0 && s.ix.entry(h).is(big) {
			found[id] = true
			s.disk += e.Size
			continue
		}
		if s.report.SetAside > 0 {
			// The record that named it may be what was damaged.
			err = s.saveBody(id)
		} else if err = s.fs.Remove(bodyName(id)); err == nil {
			s.report.Swept++
			swept += e.Size
		}
		if err != nil {
			return err
		}
	}
	if s.report.Swept > 0 {
		s.ev(&BodiesSwept{s.report.Swept, swept})
	}
	return s.recoverMissing(found)
}

func (s *Store) recoverMissing(found map[spool.ID]bool) error {
	for id, h := range s.ix.byID {
		e := *s.ix.entry(h)
		if !e.is(big) || found[id] {
			continue
		}
		g := s.bySeg[e.at.segment]
		if err := s.saveBad(g, e.at.offset, headerSize+int64(e.metaLen), id, "its body is missing"); err != nil {
			return err
		}
		s.report.SetAside++
		s.appendRecords([]record{{kind: recDone, id: id}}, true)
		s.ix.drop(id)
		s.count(e.at.segment, -1, -entryWeight(&e))
		s.report.Messages, s.report.Shares = len(s.ix.byID), s.ix.shares
	}
	return nil
}
