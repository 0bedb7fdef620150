// Package statefile keeps small facts that have to outlive the process and the
// machine: a folder of files, each read and replaced as a whole, that nobody
// but its owner can read, with locks that daemon and command line share.
//
// It opens the folder once for each operation and works in what it has opened.
// It never follows a link, neither in the place of the folder nor of a file,
// never leaves half a file under its name, and knows nothing of what the files
// say.
package statefile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/spool"
	"postern/spool/disk"
)

// Folder is a folder of such files. Its methods may be called concurrently;
// who reads, decides and writes holds Lock meanwhile.
//
//	daemon.lock  which process has claimed the folder
//	NAME         as written by Write
//	NAME.lock    empty
//	NAME.new     a write that a crash cut off; harmless
//	NAME.bad     what SetAside has put there, for people
type Folder struct {
	Dir string
	// Step is called before each operation on disk, with "create", "write",
	// "sync", "rename", "remove" or "sync folder", and fails it by its error:
	// for tests. It may be nil.
	Step func(operation string) error
}

// claimName is apart from what a spool in the same folder has.
const claimName = "daemon.lock"

// lockPoll is how often a held lock is tried again.
const lockPoll = 20 * time.Millisecond

// Prepare makes the folder. What root makes belongs to whom the folder above
// belongs: the daemon has to read it.
func (d *Folder) Prepare() error {
	r, err := d.prepare()
	if err != nil {
		return err
	}
	return r.Close()
}

// prepare makes the folder where there is none, and opens it.
func (d *Folder) prepare() (*os.Root, error) {
	dir := filepath.Clean(d.Dir)
	if _, err := os.Stat(filepath.Dir(dir)); errors.Is(err, fs.ErrNotExist) {
		if err := disk.MakeFolder(filepath.Dir(dir)); err != nil {
			return nil, err
		}
	}
	above, err := disk.OpenFolder(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	defer above.Close()
	err = above.Mkdir(filepath.Base(dir), 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	made := err == nil
	r, err := open(above, dir)
	if err != nil || !made {
		return r, err
	}
	if err := errors.Join(inheritFolder(r, above), sync(above)); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Open opens a folder for as long as it is worked in, so that nobody can put
// another in its place between two steps. It refuses a link, and a folder in
// which others could put their files in the place of ours, with the remedy.
// fs.ErrNotExist: there is none.
func Open(dir string) (*os.Root, error) {
	dir = filepath.Clean(dir)
	above, err := disk.OpenFolder(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	defer above.Close()
	return open(above, dir)
}

func (d *Folder) open() (*os.Root, error) { return Open(d.Dir) }

// open opens dir, which is in the folder above. What is judged is what was
// opened.
func open(above *os.Root, dir string) (*os.Root, error) {
	name := filepath.Base(dir)
	named, err := above.Lstat(name)
	if err != nil {
		return nil, err
	}
	notFolder := fmt.Errorf("%s is not a folder, and no link to one is followed: move it away", dir)
	if !named.IsDir() {
		return nil, notFolder
	}
	r, err := disk.OpenFolderIn(above, name)
	if err != nil {
		return nil, err
	}
	err = func() error {
		info, err := r.Stat(".")
		if err != nil {
			return err
		}
		if !os.SameFile(named, info) {
			return notFolder
		}
		up, err := above.Stat(".")
		if err != nil {
			return err
		}
		return ours(dir, info, up)
	}()
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// sync makes the names in a folder durable.
func sync(r *os.Root) error {
	if !syncsFolders {
		return nil
	}
	f, err := r.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Lock waits until nobody else, in any process, holds the lock of a file, or
// ctx is done. It makes the folder where there is none.
func (d *Folder) Lock(ctx context.Context, name string) (unlock func(), err error) {
	r, err := d.prepare()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := openLock(r, name+".lock")
	if err != nil {
		return nil, d.inFull(err)
	}
	for {
		err := disk.TryLock(f)
		if err == nil {
			return func() { _ = f.Close() }, nil // closing it unlocks
		}
		if errors.Is(err, disk.ErrLockHeld) {
			select {
			case <-time.After(lockPoll):
				continue
			case <-ctx.Done():
				err = errors.New(f.Name() + " is held by another process")
			}
		}
		f.Close()
		return nil, err
	}
}

// Claim takes the folder for this process, until release is called. It
// does not keep out who holds Lock. Where another process has it, the error is a
// *disk.Held at once.
func (d *Folder) Claim() (release func(), err error) {
	r, err := d.prepare()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	w, err := openLock(r, claimName)
	if err != nil {
		return nil, d.inFull(err)
	}
	defer w.Close()
	// It is held for long, and a file that is open for writing would keep the
	// file system from being mounted read-only.
	f, err := disk.OpenFile(r, claimName, os.O_RDONLY)
	if err != nil {
		return nil, d.inFull(err)
	}
	if err := disk.Claim(f, w); err != nil {
		f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// Claimant is the process that has claimed the folder, as far as can be seen
// without getting in its way.
func (d *Folder) Claimant() (pid int, claimed bool) {
	return disk.Holder(filepath.Join(d.Dir, claimName))
}

// openLock opens the file of a lock, and makes it where there is none. What is
// found under the name is given to nobody: it may be a second name of a file that
// is somebody else's.
func openLock(r *os.Root, name string) (*os.File, error) {
	for range 1000 { // a name that comes and goes more often does so on purpose
		f, err := disk.OpenFile(r, name, os.O_RDWR)
		if !errors.Is(err, fs.ErrNotExist) || has(r, name) {
			return f, err
		}
		if err := makeLock(r, name); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s is removed again and again", name)
}

// makeLock makes the file of a lock. Where it is to belong to another user, it
// gets its name when it does, so that what has the name has the right owner.
// fs.ErrExist, fs.ErrNotExist: another process was quicker.
func makeLock(r *os.Root, name string) error {
	temporary := name
	if inherits(r) {
		temporary = name + ".new"
		_ = r.Remove(temporary) // of a crash
	}
	f, err := r.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if temporary == name {
		return nil
	}
	if err = inherit(f, r); err == nil {
		err = r.Link(temporary, name)
	}
	_ = r.Remove(temporary) // the next process that makes it would do so
	return err
}

// Read reads a file of at most limit bytes. fs.ErrNotExist: there is none;
// spool.ErrForm: it is longer, or no ordinary file. A file that others than its
// owner can read is refused with the remedy.
func (d *Folder) Read(name string, limit int64) ([]byte, error) {
	r, err := d.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := disk.OpenFile(r, name, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) && has(r, name) {
		return nil, fmt.Errorf("%s %w", filepath.Join(d.Dir, name), spool.ErrForm) // a link to nothing
	}
	if err != nil {
		return nil, d.inFull(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	folder, err := r.Stat(".")
	if err != nil {
		return nil, err
	}
	if err := private(info, folder); err != nil {
		return nil, fmt.Errorf("%s %w: chmod 0600 %s", f.Name(), err, f.Name())
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s %w", f.Name(), spool.ErrForm)
	}
	content := make([]byte, info.Size())
	n, err := f.ReadAt(content, 0)
	if n < len(content) {
		return nil, err
	}
	return content, nil
}

// Has tells whether there is something of that name, also what Read refuses.
func (d *Folder) Has(name string) bool {
	_, err := os.Lstat(filepath.Join(d.Dir, name))
	return err == nil
}

func has(r *os.Root, name string) bool {
	_, err := r.Lstat(name)
	return err == nil
}

// SetAside puts what has that name, also what Read refuses, where nobody reads
// it and no Write goes, in the place of what was there. It returns the path.
func (d *Folder) SetAside(name string) (path string, err error) {
	r, err := d.open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	return filepath.Join(d.Dir, name+".bad"), d.steps(
		step{"rename", func() error { return r.Rename(name, name+".bad") }},
		step{"sync folder", func() error { return sync(r) }})
}

// Write replaces a file as a whole: temporary file, sync, rename, sync of the
// folder. When it returns nil, a power cut leaves the new content; when not,
// it leaves the last one or the new one.
func (d *Folder) Write(name string, content []byte) (err error) {
	r, err := d.open()
	if err != nil {
		return err
	}
	defer r.Close()
	defer func() { err = named(err, d.path(name+".new"), d.path(name)) }()
	var f *os.File
	err = d.steps(step{"create", func() (err error) {
		_ = r.Remove(name + ".new") // of a crash
		f, err = r.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	}})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = r.Remove(name + ".new")
		}
	}()
	err = d.steps(
		step{"write", func() error {
			if err := inherit(f, r); err != nil {
				return err
			}
			_, err := f.Write(content)
			return err
		}},
		step{"sync", f.Sync})
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	return d.steps(
		step{"rename", func() error { return r.Rename(name+".new", name) }},
		step{"sync folder", func() error { return sync(r) }})
}

// Remove removes a file, also one that Read refuses. fs.ErrNotExist: there is
// none. When it returns nil, a power cut does not bring it back.
func (d *Folder) Remove(name string) error {
	r, err := d.open()
	if err != nil {
		return err
	}
	defer r.Close()
	return d.steps(
		step{"remove", func() error { return r.Remove(name) }},
		step{"sync folder", func() error { return sync(r) }})
}

// step is an operation on disk.
type step struct {
	operation string
	do        func() error
}

// steps carries out operations until one fails.
func (d *Folder) steps(list ...step) error {
	for _, s := range list {
		if d.Step != nil {
			if err := d.Step(s.operation); err != nil {
				return err
			}
		}
		if err := s.do(); err != nil {
			return d.inFull(err)
		}
	}
	return nil
}

// inFull gives the whole paths in an error: an opened folder knows names alone,
// and names its operations after system calls.
func (d *Folder) inFull(err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		e.Op, e.Path = strings.TrimSuffix(e.Op, "at"), d.path(e.Path)
	case *os.LinkError:
		e.Op, e.Old, e.New = strings.TrimSuffix(e.Op, "at"), d.path(e.Old), d.path(e.New)
	}
	return err
}

// named makes an error about a temporary file one about the file that it was
// to become.
func named(err error, temporary, path string) error {
	switch e := err.(type) {
	case *fs.PathError:
		if e.Path == temporary && !errors.Is(e.Err, fs.ErrExist) { // which is about the temporary file
			e.Path = path
		}
	case *os.LinkError:
		if e.Old == temporary {
			return &fs.PathError{Op: "replace", Path: path, Err: e.Err}
		}
	}
	return err
}

func (d *Folder) path(name string) string {
	if filepath.Dir(name) != "." {
		return name
	}
	return filepath.Join(d.Dir, name)
}

// SafeName turns any name into one that is safe on every file system, and
// another for every name. Short names of lower-case letters, digits, "-" and
// "_" stay as they are.
func SafeName(name string) string {
	plain := !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
	if plain && name != "" && len(name) <= 100 {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "=" + hex.EncodeToString(sum[:16])
}
