// Package statefile keeps small facts that have to outlive the process and the
// machine: a folder of files, each read and replaced as a whole, that nobody
// but its owner can read, with locks that daemon and command line share.
//
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
)

// Folder is a folder of such files. Its methods may be called concurrently;
// who reads, decides and writes holds Lock meanwhile, or LockFile.
//
//	lock       empty
//	NAME       as written by Write
//	NAME.lock  empty
//	NAME.new   a write that a crash cut off; harmless
//	NAME.bad   what SetAside has put there, for people
type Folder struct {
	Dir string
	// Step is called before each operation on disk, with "create", "write",
	// "sync", "rename", "remove" or "sync folder", and fails it by its error:
	// for tests. It may be nil.
	Step func(operation string) error
}

// ErrForm: the file is not one that Write has made.
var ErrForm = errors.New("is not a file of ours, or too large to be one")

// lockPoll is how often a held lock is tried again.
const lockPoll = 20 * time.Millisecond

// Prepare makes the folder. What root makes belongs to whom the folder above
// belongs: the daemon has to read it.
func (d *Folder) Prepare() error {
	above := filepath.Dir(d.Dir)
	if _, err := os.Stat(above); errors.Is(err, fs.ErrNotExist) {
		if err := spool.MakeFolder(above); err != nil {
			return err
		}
	}
	err := os.Mkdir(d.Dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return d.check()
	}
	if err != nil {
		return err
	}
	if err := inherit(d.Dir, above); err != nil {
		return err
	}
	return syncDir(above)
}

// check refuses a folder in which others could put their files in the place of
// ours, with the remedy. fs.ErrNotExist: there is none.
func (d *Folder) check() error {
	info, err := os.Lstat(d.Dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder, and no link to one is followed: move it away", d.Dir)
	}
	above, err := os.Stat(filepath.Dir(d.Dir))
	if err != nil {
		return err
	}
	return ours(d.Dir, info, above)
}

// Lock waits until nobody else, in any process, holds it, or ctx is done. It
// makes the folder where there is none.
func (d *Folder) Lock(ctx context.Context) (unlock func(), err error) {
	return d.lock(ctx, "lock")
}

// LockFile is Lock for whoever has to do with one file only, and may hold it
// for long. It does not keep out who holds Lock.
func (d *Folder) LockFile(ctx context.Context, name string) (unlock func(), err error) {
	return d.lock(ctx, name+".lock")
}

func (d *Folder) lock(ctx context.Context, name string) (unlock func(), err error) {
	if err := d.Prepare(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(d.Dir, name), os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	if err := inherit(f.Name(), d.Dir); err != nil {
		f.Close()
		return nil, err
	}
	for {
		held, err := tryLock(f)
		if err == nil && !held {
			return func() { _ = f.Close() }, nil // closing it unlocks
		}
		if err == nil {
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

// Read reads a file of at most limit bytes. fs.ErrNotExist: there is none;
// ErrForm: it is longer, or no ordinary file. A file that others than its
// owner can read is refused with the remedy.
func (d *Folder) Read(name string, limit int64) ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	path := filepath.Join(d.Dir, name)
	f, err := os.OpenFile(path, os.O_RDONLY|noFollow|noWait, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	folder, err := os.Lstat(d.Dir)
	if err != nil {
		return nil, err
	}
	if err := private(info, folder); err != nil {
		return nil, fmt.Errorf("%s %w: chmod 0600 %s", path, err, path)
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s %w", path, ErrForm)
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

// SetAside puts what has that name, also what Read refuses, where nobody reads
// it and no Write goes, in the place of what was there. It returns the path.
func (d *Folder) SetAside(name string) (path string, err error) {
	path = filepath.Join(d.Dir, name+".bad")
	if err := d.before("rename"); err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(d.Dir, name), path); err != nil {
		return "", err
	}
	if err := d.before("sync folder"); err != nil {
		return "", err
	}
	return path, syncDir(d.Dir)
}

// Write replaces a file as a whole: temporary file, sync, rename, sync of the
// folder. When it returns nil, a power cut leaves the new content; when not,
// it leaves the last one or the new one.
func (d *Folder) Write(name string, content []byte) (err error) {
	path := filepath.Join(d.Dir, name)
	if err := d.before("create"); err != nil {
		return err
	}
	_ = os.Remove(path + ".new") // of a crash
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL|noFollow, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	err = d.fill(f, content)
	if closing := f.Close(); err == nil {
		err = closing
	}
	for _, step := range []struct {
		operation string
		do        func() error
	}{
		{"rename", func() error { return os.Rename(f.Name(), path) }},
		{"sync folder", func() error { return syncDir(d.Dir) }},
	} {
		if err == nil {
			err = d.before(step.operation)
		}
		if err == nil {
			err = step.do()
		}
	}
	return err
}

// Remove removes a file, also one that Read refuses. fs.ErrNotExist: there is
// none. When it returns nil, a power cut does not bring it back.
func (d *Folder) Remove(name string) error {
	if err := d.before("remove"); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(d.Dir, name)); err != nil {
		return err
	}
	if err := d.before("sync folder"); err != nil {
		return err
	}
	return syncDir(d.Dir)
}

// fill makes the content of a new file durable.
func (d *Folder) fill(f *os.File, content []byte) error {
	if err := inherit(f.Name(), d.Dir); err != nil {
		return err
	}
	if err := d.before("write"); err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := d.before("sync"); err != nil {
		return err
	}
	return f.Sync()
}

// before comes before each operation on disk.
func (d *Folder) before(operation string) error {
	if d.Step != nil {
		if err := d.Step(operation); err != nil {
			return err
		}
	}
	return d.check()
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
