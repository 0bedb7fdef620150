package addressbook

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of a folder.
const (
	// maxCards is how many cards of a folder are read.
	maxCards = 200_000
	// maxHeld bounds the texts that are held of a folder, in bytes.
	maxHeld = 256 << 20
	// maxFaults is how many faults are told.
	maxFaults = 100
	// gap is how long a folder isn't looked at again.
	gap = time.Second
	// wholeGap is how long the cards of a folder whose own time hasn't changed aren't
	// looked at one by one: new, renamed and removed ones change it, and so do all
	// programs that put a new file in the place of a card. Who writes into the file
	// itself doesn't.
	wholeGap = 10 * time.Second
)

// Folder is a folder of vCards, a file for each: a vdir. Other programs may
// write to it at any time. Its methods may be called concurrently.
type Folder struct {
	Name string // of the book
	Dir  string

	mu     sync.Mutex // guards what follows; held while the folder is read
	looked time.Time
	whole  time.Time // when each card was looked at
	dir    stamp     // of the folder, at that time
	young  bool      // the folder, or a card, had been written a moment before
	files  map[string]*file
	index  *Index
}

// file is a card as it was read.
type file struct {
	info  stamp
	entry *Entry // nil: fault
	fault string
	held  int  // bytes of text, about
	young bool // it had been written a moment before: what is written now might look the same
	seen  bool // in the look of this moment
}

// stamp tells one state of a file from another.
type stamp struct {
	size  int64
	mtime time.Time
	inode uint64 // 0: not known
}

func stampOf(info fs.FileInfo) stamp { return stamp{info.Size(), info.ModTime(), inodeOf(info)} }

// Index is what the folder holds, not older than a second; what was written into
// a file itself is seen ten seconds later at most. A folder that isn't there is an
// empty book. The error is one of the folder as a whole.
func (f *Folder) Index() (*Index, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.index != nil && now.Sub(f.looked) < gap {
		return f.index, nil
	}
	info, err := os.Stat(f.Dir)
	if err == nil && f.index != nil && !f.young && f.dir == stampOf(info) && now.Sub(f.whole) < wholeGap {
		f.looked = now
		return f.index, nil
	}
	if err := f.look(now); err != nil {
		return nil, err
	}
	f.looked, f.whole = time.Now(), now
	if f.young = err != nil; err == nil {
		f.dir, f.young = stampOf(info), now.Sub(info.ModTime()) < 2*gap
	}
	for _, of := range f.files {
		f.young = f.young || of.young
	}
	return f.index, nil
}

// Refresh has each card of the folder looked at when it is asked the next time.
func (f *Folder) Refresh() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looked, f.whole = time.Time{}, time.Time{}
}

// look reads what is new or has changed.
func (f *Folder) look(now time.Time) error {
	entries, err := os.ReadDir(f.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the folder of %s cannot be read: %w", f.Name, err)
	}
	if f.files == nil {
		f.files = make(map[string]*file, len(entries))
	}
	changed, count, held := f.index == nil, 0, 0
	var buffer []byte
	if len(f.files) < len(entries) {
		buffer = make([]byte, 64<<10)
	}
	var more string
	for _, of := range f.files {
		of.seen = false
	}
	for _, e := range entries {
		name := e.Name()
		if !isCardName(name) {
			continue
		}
		if count++; count > maxCards {
			more = fmt.Sprintf("has more than %d cards; the others are not read", maxCards)
			break
		}
		known := f.files[name]
		if known == nil && e.Type().IsRegular() {
			if fresh := f.readNew(name, now, buffer); fresh != nil {
				if held += fresh.held; held > maxHeld {
					more = overfull
					break
				}
				changed, f.files[name] = true, fresh
				continue
			}
		}
		info, err := os.Lstat(filepath.Join(f.Dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since
		}
		if err == nil && known != nil && !known.young && known.info == stampOf(info) {
			known.seen, held = true, held+known.held
			continue
		}
		fresh := f.read(name, info, err, now)
		if held += fresh.held; held > maxHeld {
			more = overfull
			break
		}
		changed, f.files[name] = true, fresh
	}
	for name, of := range f.files {
		if !of.seen {
			delete(f.files, name)
			changed = true
		}
	}
	if changed {
		f.build(more)
	}
	return nil
}

// isCardName: hidden files are of writers that have not ended.
func isCardName(name string) bool {
	return !strings.HasPrefix(name, ".") && strings.EqualFold(filepath.Ext(name), ".vcf")
}

var overfull = fmt.Sprintf("holds more than %d MiB of text; the rest is not read", maxHeld>>20)

// readNew reads a card that isn't known yet with as few system calls as can be,
// as a folder of 10,000 is read in one go. nil: it has to be looked at more
// closely.
func (f *Folder) readNew(name string, now time.Time, buffer []byte) *file {
	r, err := openNow(filepath.Join(f.Dir, name), os.O_RDONLY)
	if err != nil {
		return nil
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() >= int64(len(buffer)) {
		return nil
	}
	n, err := r.Read(buffer)
	if err != nil || int64(n) != info.Size() {
		return nil
	}
	of := &file{seen: true, info: stampOf(info), young: now.Sub(info.ModTime()) < 2*gap}
	if err := of.take(f.Name, name, buffer[:n]); err != nil {
		of.fault = reason(err)
	}
	return of
}

// read reads one card, whatever there is.
func (f *Folder) read(name string, info fs.FileInfo, err error, now time.Time) *file {
	of := &file{seen: true}
	if err == nil {
		of.info = stampOf(info)
		of.young = now.Sub(info.ModTime()) < 2*gap
		var text []byte
		if text, err = readRegular(filepath.Join(f.Dir, name), info, maxCard); err == nil {
			err = of.take(f.Name, name, text)
		}
	}
	if err != nil {
		of.fault = reason(err)
	}
	return of
}

func (of *file) take(book, name string, text []byte) error {
	c, err := ParseCard(text)
	if err != nil {
		return err
	}
	e := c.Entry()
	e.Book, e.File = book, name
	if e.UID == "" {
		e.UID = strings.TrimSuffix(name, filepath.Ext(name))
	}
	of.entry, of.held = e, 200+len(e.UID)+len(e.Name)+len(e.Organisation)
	for _, list := range [][]string{e.Nicknames, e.Addresses, e.Groups, e.Members} {
		for _, s := range list {
			of.held += 16 + len(s)
		}
	}
	if faults := c.Faults(); len(faults) > 0 {
		of.fault = strings.Join(faults[:min(3, len(faults))], "; ")
	}
	return nil
}

// build makes the index of what was read, in the order of the file names.
func (f *Folder) build(more string) {
	names := make([]string, 0, len(f.files))
	for name := range f.files {
		names = append(names, name)
	}
	slices.Sort(names)
	entries := make([]*Entry, 0, len(names))
	var faults []Fault
	untold := 0
	owner := make(map[string]string, len(names)) // of each UID
	tell := func(name, text string) {
		if len(faults) < maxFaults {
			faults = append(faults, Fault{f.Name, name, text})
		} else {
			untold++
		}
	}
	for _, name := range names {
		of := f.files[name]
		if of.fault != "" {
			tell(name, of.fault)
		}
		if of.entry == nil {
			continue
		}
		if other, twice := owner[of.entry.UID]; twice {
			tell(name, "has the UID of "+other)
		} else {
			owner[of.entry.UID] = name
		}
		entries = append(entries, of.entry)
	}
	if untold > 0 {
		faults = append(faults, Fault{f.Name, "", fmt.Sprintf("%d more cards have faults", untold)})
	}
	if more != "" {
		faults = append(faults, Fault{f.Name, "", more})
	}
	f.index = newIndex(entries, faults)
}

// errSpecial is a card that is no file.
var errSpecial = errors.New("is no regular file")

// readRegular reads a file that info, of Lstat, is about. It waits for nothing:
// what is no regular file is not opened, and what has become one since is not
// read.
func readRegular(path string, info fs.FileInfo, most int64) ([]byte, error) {
	if err := readable(info, most); err != nil {
		return nil, err
	}
	f, err := openNow(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return readOpen(f, info, most)
}

// readable is why a file is not opened; nil: it may be.
func readable(info fs.FileInfo, most int64) error {
	switch {
	case !info.Mode().IsRegular():
		return errSpecial
	case info.Size() > most:
		return fmt.Errorf("has more than %d MiB", most>>20)
	}
	return nil
}

// readOpen reads and closes a file that info is about.
func readOpen(f *os.File, info fs.FileInfo, most int64) ([]byte, error) {
	defer f.Close()
	if now, err := f.Stat(); err != nil {
		return nil, err
	} else if !os.SameFile(info, now) || !now.Mode().IsRegular() { // a number of a file is used again
		return nil, errors.New("was replaced while it was read")
	}
	text := make([]byte, 0, info.Size()+512)
	for int64(len(text)) <= most {
		if len(text) == cap(text) {
			text = slices.Grow(text, len(text)+512)
		}
		n, err := f.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if err == io.EOF {
			return text, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("has more than %d MiB", most>>20)
}

// readRegularAt is readRegular for a file that may be a link.
func readRegularAt(path string, info fs.FileInfo, most int64) ([]byte, error) {
	if !info.Mode().IsRegular() {
		return nil, errSpecial
	}
	f, err := openLinked(path)
	if err != nil {
		return nil, err
	}
	return readOpen(f, info, most)
}

// missing reports whether there is no such folder.
func (f *Folder) missing() bool {
	_, err := os.Stat(f.Dir)
	return errors.Is(err, fs.ErrNotExist)
}

// reason is an error without the path that stands beside it.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return "cannot be read: " + path.Err.Error()
	}
	return err.Error()
}
