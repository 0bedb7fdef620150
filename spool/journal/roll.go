package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"postern/spool"
	"postern/spool/disk"
)

// roll ends the current segment and begins the next. journal.mu is held. All
// that stands in the old one is durable before anything stands in the new
// one, so what is known of a message is always lost from the end.
func (s *Store) roll() error {
	j := &s.j
	if j.seg != nil && !j.broken && j.durable < j.frontier {
		if err := j.seg.file.Sync(); err != nil {
			s.giveUp("sync", err)
		} else {
			j.paid(j.frontier)
		}
	}
	head := segmentHead{version: formatVersion, num: j.nextSeg, mark: newMark(), floor: spool.ID(s.lastID.Load())}
	if j.seg != nil {
		head.prev, head.prevEnd = j.seg.num, uint32(j.frontier)
		if j.broken {
			head.prevEnd = uint32(j.durable)
		}
	} else {
		head.prev, head.prevEnd, head.afterCrash = s.tail.num, s.tail.end, true
	}
	j.nextSeg++
	file, gone, err := s.createSegment(&head)
	if disk.IsFull(err) && gone && s.dropReserve() {
		file, gone, err = s.createSegment(&head)
	}
	if err != nil {
		// A header that may be found says where the old segment ends, so the
		// old one must not grow any more.
		if j.seg != nil && (j.broken || !gone) {
			s.breaks(err)
		}
		s.ev(&WriteFailed{head.num, "begin", err})
		if disk.IsFull(err) {
			err = fmt.Errorf("%w: %w", spool.ErrFull, err)
		}
		return err
	}
	moved := j.broken
	s.install(&head, file)
	if moved {
		return s.rewriteOwed(true)
	}
	return nil
}

// createSegment makes the file of a segment and its entry in the folder
// durable, before a promise can depend on them. gone: after an error, surely
// nothing is left of it.
func (s *Store) createSegment(head *segmentHead) (file disk.File, gone bool, err error) {
	name := segmentName(head.num)
	if file, err = s.fs.Create(name); err != nil {
		return nil, true, err
	}
	if _, err = file.WriteVec([][]byte{head.encode()}, 0); err == nil {
		if err = file.Sync(); err == nil {
			err = s.fs.SyncDir(".")
		}
	}
	if err != nil {
		file.Close()
		gone = s.fs.Remove(name) == nil && s.fs.SyncDir(".") == nil
		return nil, gone, err
	}
	return file, false, nil
}

// install makes a new segment the current one.
func (s *Store) install(head *segmentHead, file disk.File) {
	j := &s.j
	seg := &segment{num: head.num, mark: head.mark, file: file, size: segmentStart}
	s.mu.Lock()
	if j.seg != nil {
		j.seg.end = int64(head.prevEnd)
	}
	s.segs = append(s.segs, seg)
	s.bySeg[seg.num] = seg
	s.disk += segmentStart
	s.mu.Unlock()
	j.seg, j.broken = seg, false
	s.mu.Lock()
	s.failing = nil
	s.mu.Unlock()
	j.frontier, j.zeroed, j.durable = segmentStart, segmentStart, segmentStart
	s.ev(&SegmentBegun{seg.num})
	s.poke(s.tidy)
}

// reopen goes on in a new segment where the current one failed, if the disk
// allows it again, and writes what is owed. journal.mu is held.
func (s *Store) reopen() error {
	if !s.j.broken {
		return s.rewriteOwed(false)
	}
	if time.Now().Before(s.retryAt) {
		return errBroken
	}
	err := s.comeBack()
	if err == nil {
		err = s.roll()
	}
	if err != nil {
		s.retryAt = time.Now().Add(retryAfter)
		// Nothing says yet that what the old segment holds beyond this was
		// refused. Should the process end now, it is at least not found.
		s.j.seg.file.Truncate(s.j.durable)
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	if s.strayed {
		s.strayed = false
		s.mu.Lock()
		for _, g := range s.segs[:len(s.segs)-1] {
			g.suspect = true // copied forward while it is open
		}
		s.mu.Unlock()
		s.poke(s.tidy)
	}
	return nil
}

// comeBack prepares a folder whose files were removed or moved: it has to be
// there, to be ours alone, and locked. journal.mu is held.
func (s *Store) comeBack() error {
	if s.strayed {
		if err := s.fs.Prepare(disk.MakeNothing); err != nil {
			return err
		}
		for _, dir := range []string{bigDir, badDir} {
			if err := s.fs.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
	}
	if s.lockNamed() == nil {
		return nil
	}
	lock, err := s.fs.Lock(lockName)
	if err != nil {
		return err
	}
	s.lock.Close()
	s.lock = lock
	return nil
}

// lockNamed returns nil while the name of the lock leads to the file that is
// locked. Otherwise another process could lock another one, and write too.
func (s *Store) lockNamed() error {
	held, ok := s.lock.(interface{ Named() error })
	if !ok {
		return nil
	}
	if err := held.Named(); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return nil
}
