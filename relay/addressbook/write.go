package addressbook

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/config/strict"
	"postern/spool/disk"
)

// The errors of writing.
var (
	// ErrGone: there is no such card.
	ErrGone = errors.New("there is no such card")
	// ErrChanged: somebody else has written the card since it was read.
	ErrChanged = errors.New("the card was changed by somebody else meanwhile")
	// ErrThere: there is a card with this UID.
	ErrThere = errors.New("there is a card with this UID")
	// ErrBusy: another writer has not ended.
	ErrBusy = errors.New("another program writes to the book and doesn't end")
)

// lockName is the file that writers of ours lock. What other programs write is
// found out by its content.
const lockName = ".postern.lock"

// patience is how long a writer waits for another one.
const patience = 10 * time.Second

// writing is a folder that is open for one writer at a time: what it does there, it
// does in what was opened, wherever the path leads meanwhile.
type writing struct {
	*Folder
	r    *os.Root
	held *os.File
}

func (w *writing) close() {
	if w.held != nil {
		w.held.Close()
	}
	w.r.Close()
}

// lock opens the folder for one writer. It makes it where it isn't there.
func (f *Folder) lock() (*writing, error) {
	if err := f.make(); err != nil {
		return nil, err
	}
	w := &writing{Folder: f}
	var err error
	if w.r, err = disk.OpenFolder(f.Dir); err != nil {
		return nil, err
	}
	if err = strict.Folder(w.r, f.Dir); err == nil {
		err = w.take()
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// take waits for the lock of the folder.
func (w *writing) take() (err error) {
	if w.held, err = w.openLock(); err != nil {
		return err
	}
	for begun := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		if err := disk.TryLock(w.held); !errors.Is(err, disk.ErrLockHeld) {
			return err
		}
		if time.Since(begun) > patience {
			return ErrBusy
		}
	}
}

func (w *writing) openLock() (*os.File, error) {
	l, err := w.r.OpenFile(lockName, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		if err := w.share(l); err != nil {
			l.Close()
			return nil, err
		}
		return l, nil
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	return w.r.OpenFile(lockName, os.O_RDWR|noWait, 0)
}

// make makes the folder, for its users alone.
func (f *Folder) make() error {
	if _, err := os.Stat(f.Dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	above, err := disk.OpenFolder(filepath.Dir(f.Dir))
	if err != nil {
		return err
	}
	defer above.Close()
	name := filepath.Base(f.Dir)
	if err := above.Mkdir(name, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	info, err := above.Stat(".")
	if err != nil {
		return err
	}
	made, err := disk.OpenFolderIn(above, name)
	if err != nil {
		return err
	}
	defer made.Close()
	itself, err := made.Open(".")
	if err != nil {
		return err
	}
	defer itself.Close()
	return belongLike(itself, info)
}

// share gives a file that was made here the rights of the folder: who may read
// and write there, may read and write it.
func (w *writing) share(made *os.File) error {
	folder, err := w.r.Stat(".")
	if err != nil {
		return err
	}
	if err := made.Chmod(folder.Mode().Perm() & 0o666); err != nil {
		return err
	}
	return belongLike(made, folder)
}

// Stored is a card of a folder as it was read.
type Stored struct {
	*Card
	Entry *Entry
	etag  string
}

// Etag tells one state of a card from another.
func (s *Stored) Etag() string { return s.etag }

func etagOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// Get reads the card of an entry of the index. The error is ErrGone where it is
// there no more.
func (f *Folder) Get(e *Entry) (*Stored, error) {
	if !isCardName(e.File) || e.File != filepath.Base(e.File) {
		return nil, ErrGone
	}
	path := filepath.Join(f.Dir, e.File)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrGone
	} else if err != nil {
		return nil, err
	}
	text, err := readRegular(path, info, maxCard)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.File, err)
	}
	c, err := ParseCard(text)
	if err != nil {
		return nil, fmt.Errorf("%s %w", e.File, err)
	}
	fresh := c.Entry()
	fresh.Book, fresh.File = f.Name, e.File
	if fresh.UID == "" {
		fresh.UID = e.UID
	}
	return &Stored{c, fresh, etagOf(text)}, nil
}

// Add writes a new card, in vCard 4.0. Its file is named after its UID; it gets
// one where it has none. ErrThere: there is such a card.
func (f *Folder) Add(c *Card) (*Entry, error) {
	added, err := f.AddAll([]*Card{c})
	if err != nil {
		return nil, err
	}
	return added[0].Entry, added[0].Err
}

// fileName is the file of a UID: the UID itself where it can be a name.
func fileName(uid string) string {
	plain := uid != "" && len(uid) <= 100 && uid[0] != '.' && uid[0] != '-' && !strings.ContainsFunc(uid, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.@+", r))
	})
	if !plain {
		uid = etagOf([]byte(uid))
	}
	return uid + ".vcf"
}

// Change reads a card, has it changed, and writes it. Where somebody else has
// written it meanwhile, it begins again. A card of vCard 2.1 becomes one of 4.0;
// others keep their version. change returns false to leave the card as it is,
// and must not keep the card.
func (f *Folder) Change(e *Entry, change func(*Card) (bool, error)) error {
	w, err := f.lock()
	if err != nil {
		return err
	}
	defer w.close()
	for range 10 {
		s, err := f.Get(e)
		if err != nil {
			return err
		}
		c := s.Card
		if c.version == "2.1" {
			c = c.Modern()
		}
		if write, err := change(c); err != nil || !write {
			return err
		}
		if err = w.write(e.File, c.Bytes(), s.etag); !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return ErrChanged
}

// Replace writes a card in the place of one that was read. ErrChanged: somebody
// else has written it since.
func (f *Folder) Replace(s *Stored, c *Card) error {
	w, err := f.lock()
	if err != nil {
		return err
	}
	defer w.close()
	return w.write(s.Entry.File, c.Bytes(), s.etag)
}

// Remove removes a card that was read. ErrChanged, ErrGone.
func (f *Folder) Remove(s *Stored) error {
	w, err := f.lock()
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.still(s.Entry.File, s.etag); err != nil {
		return err
	}
	defer f.Refresh()
	if err := w.r.Remove(s.Entry.File); err != nil {
		return err
	}
	return syncFolder(w.r)
}

// still is nil where a card is as it was read.
func (w *writing) still(name, etag string) error {
	info, err := w.r.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrGone
	} else if err != nil {
		return err
	}
	if err := readable(info, maxCard); err != nil {
		return err
	}
	now, err := w.r.OpenFile(name, os.O_RDONLY|noWait, 0)
	if err != nil {
		return err
	}
	text, err := readOpen(now, info, maxCard)
	if err != nil {
		return err
	}
	if etagOf(text) != etag {
		return ErrChanged
	}
	return nil
}

// write puts a card in the place of one that was read, all of it or nothing.
func (w *writing) write(name string, text []byte, etag string) error {
	if err := checkText(text); err != nil {
		return err
	}
	temp, err := w.writeTemp(text)
	if err != nil {
		return err
	}
	defer w.r.Remove(temp)
	if err := w.still(name, etag); err != nil {
		return err
	}
	if err := w.r.Rename(temp, name); err != nil {
		return err
	}
	w.Refresh()
	return syncFolder(w.r)
}

// checkText is an error for what is no card that can be read again.
func checkText(text []byte) error {
	if len(text) > maxCard {
		return fmt.Errorf("the card has more than %d MiB", maxCard>>20)
	}
	if _, err := ParseCard(text); err != nil {
		return fmt.Errorf("the card %w", err)
	}
	return nil
}

// writeTemp puts a text on the disk under a name that is no card's.
func (w *writing) writeTemp(text []byte) (temp string, err error) {
	temp = "." + rand.Text() + ".tmp"
	if err := w.writeNew(temp, text); err != nil {
		_ = w.r.Remove(temp)
		return "", err
	}
	return temp, nil
}

func (w *writing) writeNew(temp string, text []byte) error {
	made, err := w.r.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = made.Write(text)
	if err == nil {
		err = made.Sync()
	}
	if err == nil {
		err = w.share(made)
	}
	if closed := made.Close(); err == nil {
		err = closed
	}
	return err
}
