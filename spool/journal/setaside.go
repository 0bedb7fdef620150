package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"postern/spool"
	"postern/spool/disk"
)

// setAsideMessage puts a message that turned out to be damaged under bad/ and
// takes it out of the spool. at is where its record was when that was seen.
func (s *Store) setAsideMessage(id spool.ID, at place, why error) {
	if !errors.Is(why, spool.ErrDamaged) || s.readOnly {
		return // the disk failed to read it: it may succeed another time
	}
	s.setting.Lock()
	defer s.setting.Unlock()
	s.mu.Lock()
	h := s.ix.byID[id]
	if h == 0 || s.ix.entry(h).at != at {
		s.mu.Unlock()
		return
	}
	e := *s.ix.entry(h)
	g := s.bySeg[at.segment].acquire()
	s.mu.Unlock()
	n := headerSize + int64(e.metaLen)
	if !e.is(big) {
		n += e.body()
	}
	err := s.saveBad(g, at.offset, n, id, why.Error())
	if err == nil && e.is(big) {
		err = s.saveBody(id)
	}
	s.release(g)
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	if err == nil {
		s.appendRecords([]record{{kind: recDone, id: id}}, true)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g.keep = g.keep || err != nil
	h = s.ix.byID[id]
	if h == 0 {
		return
	}
	s.ix.drop(id)
	s.count(e.at.segment, -1, -entryWeight(&e))
}

// saveBad copies n bytes of a segment to bad/, durably, with a note of why.
// What is there already is left as it is.
func (s *Store) saveBad(g *segment, offset uint32, n int64, id spool.ID, why string) error {
	name := fmt.Sprintf("%s/%010d-%010d", badDir, g.num, offset)
	note := fmt.Sprintf("set aside: %s\nsegment %d, offset %d, %d bytes\n", why, g.num, offset, n)
	if id != 0 {
		note += "message " + id.String() + "\n"
	}
	if file, err := s.fs.Open(name + ".rec"); err == nil {
		return file.Close()
	}
	s.fs.Remove(name + ".new")
	file, err := s.fs.Create(name + ".new")
	if err != nil {
		return err
	}
	err = copyRange(file, g.file, int64(offset), n)
	file.Close()
	if err == nil {
		err = s.writeFile(name+".txt", note)
	}
	if err == nil {
		err = s.fs.Rename(name+".new", name+".rec")
	}
	if err == nil {
		err = s.fs.SyncDir(badDir)
	}
	if err != nil {
		s.fs.Remove(name + ".new")
		return err
	}
	s.setAsideDone(name+".rec", id, why)
	return nil
}

func (s *Store) setAsideDone(name string, id spool.ID, why string) {
	s.mu.Lock()
	s.setAside++
	s.mu.Unlock()
	s.ev(&RecordSetAside{name, id, why})
}

// saveBody moves a big body to bad/. One that is missing is left to be so.
func (s *Store) saveBody(id spool.ID) error {
	err := s.fs.Rename(bodyName(id), strings.Replace(bodyName(id), bigDir, badDir, 1))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = s.fs.SyncDir(badDir)
	}
	if err == nil {
		err = s.fs.SyncDir(bigDir)
	}
	return err
}

// copyRange copies n bytes, or as many as there are, and syncs.
func copyRange(to, from disk.File, off, n int64) error {
	buf := largeChunks.Get().(*[largeChunk]byte)
	defer largeChunks.Put(buf)
	for done := int64(0); done < n; {
		k, err := from.ReadAt(buf[:min(n-done, largeChunk)], off+done)
		if k == 0 {
			break // the file ends, or can't be read: what was read is saved
		}
		if _, werr := to.WriteVec([][]byte{buf[:k]}, done); werr != nil {
			return werr
		}
		done += int64(k)
		if err != nil {
			break
		}
	}
	return to.Sync()
}

// writeFile writes a small file and syncs it; an existing one is left.
func (s *Store) writeFile(name, text string) error {
	file, err := s.fs.Create(name)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.WriteVec([][]byte{[]byte(text)}, 0); err != nil {
		return err
	}
	return file.Sync()
}
