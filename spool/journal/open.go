package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"postern/spool/disk"
)

// Open opens a spool for reading and writing, recovers it, and begins a new
// segment. Every error is a *StartError, whose text tells the administrator
// what to do. Close it.
func Open(opts Options) (*Store, error) {
	began := time.Now()
	s := newStore(opts)
	if err := s.start(); err != nil {
		s.abandon()
		return nil, s.startError(err)
	}
	s.report.Took = time.Since(began)
	s.ev(&s.report)
	s.running.Add(1)
	go s.committer()
	s.tidying.Add(1)
	go s.keeper()
	s.poke(s.tidy)
	return s, nil
}

func (s *Store) start() error {
	making := disk.MakeLast
	if s.opts.Create {
		making = disk.MakeAll
	}
	if err := s.fs.Prepare(making); err != nil {
		return err
	}
	names, err := s.checkFolder()
	if err != nil {
		return err
	}
	if s.lock, err = s.fs.Lock(lockName); err != nil {
		return err
	}
	if err := s.layOut(names); err != nil {
		return err
	}
	if e, ok := names[reserveName]; ok && e.Mode.IsRegular() {
		s.j.reserved = e.Size == s.opts.Reserve
		if s.opts.Reserve <= 0 {
			s.fs.Remove(reserveName)
		}
	}
	if err := s.recover(); err != nil {
		return err
	}
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	if err := s.roll(); err != nil {
		return err
	}
	return s.recoverBodies()
}

// startError turns whatever stopped the start into a sentence.
func (s *Store) startError(err error) error {
	var se *disk.StartError
	if errors.As(err, &se) {
		return se
	}
	se = &disk.StartError{Dir: s.opts.Dir, Kind: disk.ErrUnusable, Cause: err}
	var held *disk.Held
	switch {
	case errors.Is(err, disk.ErrLockHeld):
		se.Kind = disk.ErrLocked
		if errors.As(err, &held) {
			se.Found = held.Process
		}
	case disk.IsFull(err):
		se.Kind = disk.ErrDiskFull
	}
	return se
}

// checkFolder refuses a folder that holds something else than a spool, or one
// of a format that only a newer version reads.
func (s *Store) checkFolder() (map[string]disk.DirEntry, error) {
	entries, err := s.fs.List(".")
	if err != nil {
		return nil, err
	}
	names := map[string]disk.DirEntry{}
	foreign := ""
	for _, e := range entries {
		names[e.Name] = e
		if !ours(e) && foreign == "" {
			foreign = e.Name
		}
	}
	if _, ok := names[formatName]; ok {
		// One that can't be read is for checkFormat to tell of.
		if text, err := s.readFile(formatName, 64); err == nil {
			var version int
			if n, _ := fmt.Sscanf(text, "postern spool %d\n", &version); n == 1 && version > formatVersion {
				return nil, s.newerFormat(version)
			}
		}
		return names, nil
	}
	for name := range names {
		if _, ok := parseNumber(name, segmentSuffix); ok {
			return names, nil // only the format file was lost
		}
	}
	if foreign != "" {
		return nil, &disk.StartError{Dir: s.opts.Dir, Kind: disk.ErrNotSpool, Found: foreign}
	}
	return names, nil
}

// ours reports whether an entry can be there before a spool is laid out, or
// after that was cut short.
func ours(e disk.DirEntry) bool {
	switch e.Name {
	case bigDir, badDir:
		return e.Mode.IsDir()
	case lockName, formatName, formatName + ".new":
		return e.Mode.IsRegular()
	}
	return e.Name == "lost+found"
}

// layOut makes what an empty folder lacks of a spool, and makes it durable.
func (s *Store) layOut(names map[string]disk.DirEntry) error {
	changed := false
	for _, dir := range []string{bigDir, badDir} {
		e, ok := names[dir]
		if ok && !e.Mode.IsDir() {
			return &disk.StartError{Dir: s.opts.Dir, Kind: disk.ErrNotSpool, Found: dir + " that is not a folder"}
		}
		if ok {
			continue
		}
		if err := s.fs.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		changed = true
	}
	fresh, err := s.checkFormat(names)
	if err != nil {
		return err
	}
	if _, ok := names[lockName]; !ok || changed || fresh {
		return s.fs.SyncDir(".")
	}
	return nil
}

// newerFormat is the refusal of a spool that a newer version has written.
func (s *Store) newerFormat(version int) error {
	return &disk.StartError{Dir: s.opts.Dir, Kind: disk.ErrUnusable,
		Cause: fmt.Errorf("it has format %d, which only a newer postern reads", version)}
}

// checkFormat reads the file that says which format the spool has, and writes
// it where it is missing or damaged, or names an older one: before the first
// segment of ours begins, which a version that reads only those can't read.
func (s *Store) checkFormat(names map[string]disk.DirEntry) (fresh bool, err error) {
	if _, ok := names[formatName]; ok {
		text, err := s.readFile(formatName, 64)
		switch {
		case err != nil:
			return false, err
		case text == formatText:
			return false, nil
		case text != formatText1:
			s.report.Repaired++
		}
	}
	s.fs.Remove(formatName + ".new")
	err = s.writeFile(formatName+".new", formatText)
	if err == nil {
		err = s.fs.Rename(formatName+".new", formatName)
	}
	if err != nil {
		return false, fmt.Errorf("write %s: %w", formatName, bare(err))
	}
	return true, nil
}

func (s *Store) readFile(name string, limit int64) (string, error) {
	file, err := s.fs.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	b, err := io.ReadAll(io.NewSectionReader(file, 0, limit))
	return string(b), err
}

func (s *Store) isClosing() bool {
	s.waitMu.Lock()
	defer s.waitMu.Unlock()
	return s.closing
}

// Close ends the spool: what was handed to the committer is finished, all is
// synced, and the lock is given back. Contents that are open stay readable.
// A second call does nothing. The error says that the last records about
// shares may not survive a power cut; messages are not affected.
func (s *Store) Close() error {
	s.waitMu.Lock()
	again := s.closing
	s.closing = true
	s.waitMu.Unlock()
	if again {
		return nil
	}
	s.poke(s.kick)
	s.running.Wait()
	close(s.stop)
	s.tidying.Wait()
	s.j.mu.Lock()
	s.closed = true
	var err error
	if len(s.j.owed) > 0 {
		err = errBroken
	}
	if g := s.j.seg; err == nil && !s.j.broken {
		if s.j.durable < s.j.frontier {
			err = g.file.Sync()
		}
		if err == nil {
			s.markBodies()
			s.seal(g, s.j.frontier)
		}
	}
	s.j.mu.Unlock()
	s.removeBodies()
	s.abandon()
	return err
}

// abandon closes what is open.
func (s *Store) abandon() {
	s.mu.Lock()
	for _, g := range s.segs {
		if g.removed = true; g.refs == 0 {
			g.file.Close()
		}
	}
	s.mu.Unlock()
	if s.lock != nil {
		s.lock.Close()
	}
}

// setAsideCount is the number of records and segments under bad/, and the
// greatest segment number named there.
func (s *Store) setAsideCount() (n int, last uint32, err error) {
	entries, err := s.fs.List(badDir)
	for _, e := range entries {
		if len(e.Name) >= 10 {
			if num, ok := parseNumber(e.Name[:10]+segmentSuffix, segmentSuffix); ok {
				last = max(last, num)
			}
		}
		if !strings.HasSuffix(e.Name, ".txt") && !strings.HasSuffix(e.Name, ".new") {
			n++
		}
	}
	return n, last, err
}

// bare is the cause of an error of a file, without the name.
func bare(err error) error {
	var at *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &at):
		return at.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
