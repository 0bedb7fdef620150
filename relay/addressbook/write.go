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

// lock is held by one writer at a time. It makes the folder where it isn't there.
func (f *Folder) lock() (release func(), err error) {
	if err := f.make(); err != nil {
		return nil, err
	}
	l, err := f.openLock()
	if err != nil {
		return nil, err
	}
	for begun := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		switch err := disk.TryLock(l); {
		case err == nil:
			return func() { l.Close() }, nil
		case !errors.Is(err, disk.ErrLockHeld):
			l.Close()
			return nil, err
		case time.Since(begun) > patience:
			l.Close()
			return nil, ErrBusy
		}
	}
}

func (f *Folder) openLock() (*os.File, error) {
	path := filepath.Join(f.Dir, lockName)
	l, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		if err := f.share(l); err != nil {
			l.Close()
			return nil, err
		}
		return l, nil
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	return openNow(path, os.O_RDWR)
}

// make makes the folder, for its users alone.
func (f *Folder) make() error {
	if _, err := os.Stat(f.Dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	above, err := os.Stat(filepath.Dir(f.Dir))
	if err != nil {
		return err
	}
	if err := os.Mkdir(f.Dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	made, err := os.Open(f.Dir)
	if err != nil {
		return err
	}
	defer made.Close()
	return belongLike(made, above)
}

// share gives a file that was made here the rights of the folder: who may read
// and write there, may read and write it.
func (f *Folder) share(made *os.File) error {
	folder, err := os.Stat(f.Dir)
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
	release, err := f.lock()
	if err != nil {
		return err
	}
	defer release()
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
		if err = f.write(e.File, c.Bytes(), s.etag); !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return ErrChanged
}

// Replace writes a card in the place of one that was read. ErrChanged: somebody
// else has written it since.
func (f *Folder) Replace(s *Stored, c *Card) error {
	release, err := f.lock()
	if err != nil {
		return err
	}
	defer release()
	return f.write(s.Entry.File, c.Bytes(), s.etag)
}

// Remove removes a card that was read. ErrChanged, ErrGone.
func (f *Folder) Remove(s *Stored) error {
	release, err := f.lock()
	if err != nil {
		return err
	}
	defer release()
	if err := f.still(s.Entry.File, s.etag); err != nil {
		return err
	}
	defer f.Refresh()
	if err := os.Remove(filepath.Join(f.Dir, s.Entry.File)); err != nil {
		return err
	}
	return syncDir(f.Dir)
}

// still is nil where a card is as it was read.
func (f *Folder) still(name, etag string) error {
	path := filepath.Join(f.Dir, name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrGone
	} else if err != nil {
		return err
	}
	text, err := readRegular(path, info, maxCard)
	if err != nil {
		return err
	}
	if etagOf(text) != etag {
		return ErrChanged
	}
	return nil
}

// write puts a card in the place of one that was read, all of it or nothing.
func (f *Folder) write(name string, text []byte, etag string) error {
	if err := checkText(text); err != nil {
		return err
	}
	temp, err := f.writeTemp(text)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	if err := f.still(name, etag); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(f.Dir, name)); err != nil {
		return err
	}
	f.Refresh()
	return syncDir(f.Dir)
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
func (f *Folder) writeTemp(text []byte) (temp string, err error) {
	temp = filepath.Join(f.Dir, "."+rand.Text()+".tmp")
	if err := f.writeNew(temp, text); err != nil {
		os.Remove(temp)
		return "", err
	}
	return temp, nil
}

func (f *Folder) writeNew(temp string, text []byte) error {
	w, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	if err == nil {
		err = w.Sync()
	}
	if err == nil {
		err = f.share(w)
	}
	if closed := w.Close(); err == nil {
		err = closed
	}
	return err
}

// syncDir makes durable what stands in a folder.
func syncDir(dir string) error { return disk.At(dir).SyncDir("") }
