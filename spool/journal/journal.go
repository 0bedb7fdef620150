package journal

import (
	"fmt"
	"io"
	"slices"
	"sync"

	"postern/spool"
	"postern/spool/disk"
)

// journal is the end of the log where records are written.
type journal struct {
	mu       sync.Mutex
	seg      *segment
	frontier int64 // offset of the next record; what lies before it may still be being written
	zeroed   int64 // the file is written, at least with zeros, from the frontier up to here
	durable  int64 // synced up to here
	broken   bool  // a write or sync failed: nothing more goes into seg
	nextSeg  uint32
	reserved bool // the file that keeps room for records about shares is there
	spent    bool // it was given to the journal since the keeper looked
	// owed are the records about shares that are not known to be durable, in
	// order, so that they can be written again elsewhere after a failed sync.
	owed  []owedRecord
	arena []byte // their meta parts
	// appended counts the records that were ever owed, settled those of them
	// that are durable.
	appended, settled uint64
	vec               [][]byte
	frame             []byte
}

// owedRecord is a record about a share that isn't known to be durable.
type owedRecord struct {
	offset     int64 // in the segment; -1: it could not be written yet
	kind       byte
	id         spool.ID
	start, end int // of its meta part, in arena
}

// write writes a record about a share, n bytes in all, at the frontier.
// journal.mu is held. After an error nothing of it is in the journal.
func (s *Store) write(bufs [][]byte, n int64) error {
	j := &s.j
	off := j.frontier
	wrote, err := j.seg.file.WriteVec(bufs, off)
	if wrote < n {
		err = s.writeFailed(off, wrote, err)
		if j.broken || !disk.IsFull(err) || !s.dropReserve() {
			return err
		}
		if wrote, err = j.seg.file.WriteVec(bufs, off); wrote < n {
			return s.writeFailed(off, wrote, err)
		}
	}
	j.frontier += n
	s.grow(j, off+n)
	return nil
}

// writeFailed takes back what a write at off did before it failed, and tells
// the error. journal.mu is held. Where it can't be taken back, the journal is
// broken.
func (s *Store) writeFailed(off, wrote int64, err error) error {
	if err == nil {
		err = io.ErrShortWrite
	}
	s.ev(&WriteFailed{s.j.seg.num, "write", err})
	if !disk.IsFull(err) || s.wipe(off, wrote) != nil {
		s.breaks(err)
	}
	if disk.IsFull(err) {
		s.short.Store(true)
		s.poke(s.tidy)
		return fmt.Errorf("%w: %w", spool.ErrFull, err)
	}
	return err
}

// grow notes that the segment is written up to end.
func (s *Store) grow(j *journal, end int64) {
	if end <= j.zeroed {
		return
	}
	j.zeroed = end
	s.mu.Lock()
	s.disk += end - j.seg.size
	j.seg.size = end
	s.mu.Unlock()
}

// wipe overwrites the n bytes that a write left at off before it failed, and
// makes that durable: whoever waited for them is told that they were not
// accepted, so they must not be found after a crash.
func (s *Store) wipe(off, n int64) error {
	file := s.j.seg.file
	for end := off + n; off < end; off += zeroStep {
		if _, err := file.WriteVec([][]byte{zeros[:min(end-off, zeroStep)]}, off); err != nil {
			return err
		}
	}
	return file.Sync()
}

// zeroStep is how many zeros are written at once: a page. Larger steps make
// the page cache keep larger units, and every later small write into one is
// then accounted to the process as the whole.
const zeroStep = 4 << 10

var zeros [zeroStep]byte

// zeroLimit is the size of a write, in bytes, from which on nothing is
// zero-filled behind it: it changes the file's size anyway, and writing large
// bodies twice would cost more than it gains.
const zeroLimit = 64 << 10

// writeAhead writes zeros beyond what was written, if that has come to the end
// of the zeros before, so that the next commits change no metadata of the
// file. Records about shares get in between its steps. A full disk ends it.
func (s *Store) writeAhead() {
	j := &s.j
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.zeroed > j.frontier {
		return
	}
	for end := min(j.frontier+s.opts.ZeroAhead, s.opts.SegmentSize); !j.broken; {
		off := max(j.zeroed, j.frontier)
		n := min(zeroStep-off%zeroStep, end-off)
		if n <= 0 {
			return
		}
		wrote, err := j.seg.file.WriteVec([][]byte{zeros[:n]}, off)
		s.grow(j, off+wrote)
		if err != nil {
			return
		}
		j.mu.Unlock()
		j.mu.Lock()
	}
}

// record is a record about a share on its way into the journal.
type record struct {
	kind byte
	id   spool.ID
	meta []byte
	at   place // where it was written; none: it is owed
}

// appendRecords writes records about shares at once, so that the end of the
// process can't forget them, and sees to it that they are synced soon.
// journal.mu is held. Where they can't be written and mustOwe, they are kept
// to be written as soon as that is possible, and all later ones behind them.
func (s *Store) appendRecords(recs []record, mustOwe bool) error {
	j := &s.j
	err := s.broken(j)
	if err == nil {
		err = s.rewriteOwed(false)
	}
	start := j.frontier
	if err == nil {
		j.frame = j.frame[:0]
		for i := range recs {
			recs[i].at = place{j.seg.num, uint32(start + int64(len(j.frame)))}
			j.frame = appendFrame(j.frame, j, recs[i].kind, recs[i].id, recs[i].meta)
		}
		j.vec = append(j.vec[:0], j.frame)
		err = s.write(j.vec, int64(len(j.frame)))
	}
	if err != nil && !mustOwe {
		return err
	}
	for i := range recs {
		r := owedRecord{offset: -1, kind: recs[i].kind, id: recs[i].id, start: len(j.arena)}
		if err == nil {
			r.offset = int64(recs[i].at.offset)
		} else {
			recs[i].at = place{}
		}
		j.arena = append(j.arena, recs[i].meta...)
		r.end = len(j.arena)
		j.owed = append(j.owed, r)
		j.appended++
	}
	s.poke(s.dirty)
	return err
}

func (s *Store) broken(j *journal) error {
	switch {
	case s.closed:
		return spool.ErrClosed
	case j.broken || j.seg == nil:
		return errBroken
	}
	return nil
}

func appendFrame(b []byte, j *journal, kind byte, id spool.ID, meta []byte) []byte {
	h := header{
		mark: j.seg.mark, segment: j.seg.num, kind: kind, id: id, durable: uint32(j.durable),
		metaLen: uint32(len(meta)), metaCRC: checksum(meta),
	}
	n := len(b)
	b = append(b, make([]byte, headerSize)...)
	h.encode(b[n:])
	return append(b, meta...)
}

// rewriteOwed writes every owed record that isn't in the current segment.
// journal.mu is held.
func (s *Store) rewriteOwed(all bool) error {
	j := &s.j
	if n := len(j.owed); n == 0 || !all && j.owed[n-1].offset >= 0 {
		return nil // those that aren't written are the last ones
	}
	j.frame = j.frame[:0]
	start := j.frontier
	var fresh []int
	for i := range j.owed {
		if r := &j.owed[i]; all || r.offset < 0 {
			r.offset = -1
			fresh = append(fresh, i)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	offsets := make([]int64, len(fresh))
	for n, i := range fresh {
		r := &j.owed[i]
		offsets[n] = start + int64(len(j.frame))
		j.frame = appendFrame(j.frame, j, r.kind, r.id, j.arena[r.start:r.end])
	}
	j.vec = append(j.vec[:0], j.frame)
	if err := s.write(j.vec, int64(len(j.frame))); err != nil {
		return err
	}
	for n, i := range fresh {
		j.owed[i].offset = offsets[n]
	}
	return nil
}

// paid notes that the current segment is durable up to end.
func (j *journal) paid(end int64) {
	j.durable = max(j.durable, end)
	n := 0
	for n < len(j.owed) && j.owed[n].offset >= 0 && j.owed[n].offset < end {
		n++
	}
	if n == 0 {
		return
	}
	j.settled += uint64(n)
	j.owed = slices.Delete(j.owed, 0, n)
	if len(j.owed) == 0 {
		j.arena = j.arena[:0]
		return
	}
	cut := j.owed[0].start
	j.arena = slices.Delete(j.arena, 0, cut)
	for i := range j.owed {
		j.owed[i].start -= cut
		j.owed[i].end -= cut
	}
}
