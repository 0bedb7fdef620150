// Package archive keeps a copy of messages in a folder, for people and for
// other programs: each is a file that is whole and durable, or is not there.
//
// It owns the layout of that folder. It reads nothing of it, removes nothing but
// what a crash has cut off, and knows nothing of where messages go.
//
//	tmp/              what is being written; a crash may leave some
//	2026-11-28/2153/  day, and hour with minute, of UTC
//	    1hv2n32xz6mrn.k3j5q2.eml  ID of the message, and something random
package archive

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"postern/config/wire"
	"postern/spool"
	"postern/spool/disk"
	"postern/spool/statefile"
)

// Folder is a folder for copies. Its methods may be called concurrently.
type Folder struct {
	dir string
	// step is called before each operation of Keep, and fails it by its error:
	// for tests. It may be nil.
	step func(operation string) error

	mu   sync.Mutex // guards what follows
	made string     // the folder of a minute whose name is durable
}

// New is the folder at dir.
func New(dir string) *Folder { return &Folder{dir: dir} }

const temporary = "tmp"

// leftover is the age at which what lies in tmp/ is no message on its way.
const leftover = 36 * time.Hour

// Prepare makes the folder where there is none, and removes what a crash has
// left in it long ago. It refuses a folder in which others can write.
// The folder above has to be there: it may be a disk that is not mounted.
func (f *Folder) Prepare() error {
	if err := f.Foresee(); err != nil {
		return err
	}
	for _, name := range []string{"", temporary} {
		made := statefile.Folder{Dir: filepath.Join(f.dir, name)}
		if err := made.Prepare(); err != nil {
			return err
		}
	}
	tmp, err := statefile.Open(filepath.Join(f.dir, temporary))
	if err != nil {
		return err
	}
	defer tmp.Close()
	d, err := tmp.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	list, err := d.ReadDir(-1)
	for _, e := range list {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > leftover {
			_ = tmp.Remove(e.Name()) // the next start tries again
		}
	}
	return err
}

// Foresee tells whether Prepare could make the folder, or use it, without doing
// it.
func (f *Folder) Foresee() error {
	if _, err := os.Stat(filepath.Dir(filepath.Clean(f.dir))); err != nil {
		return err
	}
	return disk.MayMake(f.dir)
}

// File is a copy on its way into the folder. It belongs to one goroutine.
// Whoever creates one ends it by Close.
type File struct {
	folder *Folder
	root   *os.Root // nil: it has ended
	file   *os.File // nil: it is closed
	name   string
	minute string // its folder
	kept   bool   // it has its name in minute
}

// Create begins the copy of a message that came in at a time. Its first lines
// are the envelope: X-Envelope-From, and X-Envelope-To for each recipient.
// spool.ErrFull, also of the other methods: there is no room.
func (f *Folder) Create(id spool.ID, at time.Time, from string, to []string) (*File, error) {
	root, err := statefile.Open(f.dir)
	if err != nil {
		return nil, told(err)
	}
	at = at.UTC()
	x := &File{folder: f, root: root, name: id.String() + "." + rand.Text()[:8] + ".eml",
		minute: at.Format("2006-01-02") + "/" + at.Format("1504")}
	if x.file, err = root.OpenFile(x.temporary(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		root.Close()
		return nil, told(err)
	}
	if _, err := x.Write(envelope(from, to)); err != nil {
		x.Close()
		return nil, err
	}
	return x, nil
}

func envelope(from string, to []string) []byte {
	b := append(append([]byte("X-Envelope-From: <"), wire.Line(from)...), ">\r\n"...)
	for _, one := range to {
		b = append(append(append(b, "X-Envelope-To: <"...), wire.Line(one)...), ">\r\n"...)
	}
	return b
}

func (x *File) temporary() string { return temporary + "/" + x.name }

// Write adds to the copy.
func (x *File) Write(p []byte) (int, error) {
	n, err := x.file.Write(p)
	return n, told(err)
}

// Keep makes the copy durable, and returns its place in the folder. Close
// undoes it, unless Done is called before.
func (x *File) Keep() (string, error) {
	place := x.minute + "/" + x.name
	for _, one := range []struct {
		operation string
		do        func() error
	}{
		{"sync", x.file.Sync},
		{"close", func() error {
			f := x.file
			x.file = nil
			return f.Close()
		}},
		{"folders", func() error { return x.folder.prepare(x.root, x.minute) }},
		{"rename", func() error {
			err := x.root.Rename(x.temporary(), place)
			x.kept = err == nil
			return err
		}},
		{"sync folder", func() error { return syncFolder(x.root, x.minute) }},
	} {
		if x.folder.step != nil {
			if err := x.folder.step(one.operation); err != nil {
				return "", told(err)
			}
		}
		if err := one.do(); err != nil {
			return "", told(err)
		}
	}
	return filepath.FromSlash(place), nil
}

// Done says that the message is taken, so that the copy stays.
func (x *File) Done() {
	x.root.Close()
	x.root = nil
}

// Close ends the copy and removes what there is of it. It does nothing after
// Done.
func (x *File) Close() {
	if x.root == nil {
		return
	}
	if x.file != nil {
		x.file.Close()
	}
	// What stays is a copy too many.
	if x.kept {
		_ = x.root.Remove(x.minute + "/" + x.name)
	} else {
		_ = x.root.Remove(x.temporary())
	}
	x.Done()
}

// prepare makes the folder of a minute, and its name durable. One that is there
// may be another message's, which has not done so yet.
func (f *Folder) prepare(root *os.Root, minute string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.made == minute {
		if _, err := root.Stat(minute); err == nil {
			return nil // and nobody has moved the day away
		}
	}
	if err := root.MkdirAll(minute, 0o700); err != nil {
		return err
	}
	if err := errors.Join(syncFolder(root, "."), syncFolder(root, filepath.Dir(minute))); err != nil {
		return err
	}
	f.made = minute
	return nil
}

// syncFolder makes the names in a folder durable. Windows has nothing of the
// kind, and doesn't need it.
func syncFolder(root *os.Root, name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// told is an error with the key that it is about.
func told(err error) error {
	switch {
	case err == nil:
		return nil
	case disk.IsFull(err):
		return fmt.Errorf("archive_dir: %w", full{err})
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("archive_dir: %w: create it for the user that runs postern, or restart postern", err)
	}
	return fmt.Errorf("archive_dir: %w", err)
}

// full is an error that means spool.ErrFull, and doesn't say that it is the
// spool.
type full struct{ error }

func (full) Is(target error) bool { return target == spool.ErrFull }
func (f full) Unwrap() error      { return f.error }
