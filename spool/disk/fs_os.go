package disk

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// osFS is the real disk, below dir.
type osFS struct{ dir string }

// At is the real disk, below dir.
func At(dir string) FS { return osFS{dir} }

func (o osFS) path(name string) string { return filepath.Join(o.dir, filepath.FromSlash(name)) }

func (o osFS) Prepare(making Making) error {
	info, err := os.Stat(o.dir)
	if errors.Is(err, fs.ErrNotExist) {
		missing := &StartError{Dir: o.dir, Kind: ErrMissing, Cause: err}
		if making == MakeNothing {
			return missing
		}
		if making == MakeLast {
			// A missing parent may be a disk that is not mounted.
			if _, err := os.Stat(filepath.Dir(o.dir)); err != nil {
				return missing
			}
		}
		err = MakeFolder(o.dir)
		if making == MakeLast && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)) {
			return missing
		}
		if err == nil {
			info, err = os.Stat(o.dir)
		}
	}
	switch {
	case err != nil && IsFull(err):
		return &StartError{Dir: o.dir, Kind: ErrDiskFull, Cause: err}
	case err != nil:
		return &StartError{Dir: o.dir, Kind: ErrUnusable, Cause: err}
	case !info.IsDir():
		return &StartError{Dir: o.dir, Kind: ErrNotFolder}
	}
	return checkOwner(o.dir, info)
}

// MakeFolder makes a folder that only we can enter, with its missing parents,
// each entry durable before the next is made. One that is there stays as it is.
func MakeFolder(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	parent := filepath.Dir(dir)
	if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := MakeFolder(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(parent)
}

func (o osFS) Mkdir(name string) error { return os.Mkdir(o.path(name), 0o700) }

func (o osFS) Create(name string) (File, error) {
	f, err := os.OpenFile(o.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f, path: o.path(name)}, nil
}

func (o osFS) Open(name string) (File, error)      { return o.open(name, os.O_RDONLY) }
func (o osFS) OpenWrite(name string) (File, error) { return o.open(name, os.O_RDWR) }

func (o osFS) open(name string, flag int) (File, error) {
	f, err := os.OpenFile(o.path(name), flag|noFollow, 0)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f, path: o.path(name)}, nil
}

func (o osFS) Rename(from, to string) error { return os.Rename(o.path(from), o.path(to)) }
func (o osFS) Remove(name string) error     { return os.Remove(o.path(name)) }
func (o osFS) SyncDir(dir string) error     { return syncFolder(o.path(dir)) }
func (o osFS) Free() (int64, error)         { return FreeBytes(o.dir) }

func (o osFS) List(dir string) ([]DirEntry, error) {
	found, err := os.ReadDir(o.path(dir))
	if err != nil {
		return nil, err
	}
	entries := make([]DirEntry, 0, len(found))
	for _, f := range found {
		info, err := f.Info() // lstat: a link is reported as one
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, DirEntry{Name: f.Name(), Size: info.Size(), Mode: info.Mode()})
	}
	return entries, nil
}

func (o osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(o.path(name), os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	if err := Claim(f, f); err != nil {
		f.Close()
		return nil, err
	}
	return &osFile{File: f, path: o.path(name)}, nil
}

// TryLock locks an open file for as long as it is open. It does not wait:
// errors.Is(err, ErrLockHeld) where the lock is held.
func TryLock(f *os.File) error { return lockFile(f) }

// Claim is TryLock, and writes into the file, through w, which process has it.
// Where another one has, the error is a *Held.
func Claim(f, w *os.File) error {
	err := lockFile(f)
	if errors.Is(err, ErrLockHeld) {
		holder := make([]byte, 20)
		n, _ := f.ReadAt(holder, 0)
		return &Held{Process: strings.TrimSpace(string(holder[:n]))}
	}
	// Who holds it is told to whoever finds it held; nothing depends on it.
	if err == nil && w.Truncate(0) == nil {
		w.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return err
}

// Held says which process holds a lock, as far as is known.
type Held struct{ Process string }

func (l *Held) Error() string { return "held by process " + l.Process }
func (l *Held) Unwrap() error { return ErrLockHeld }

// osFile is an open file of the real disk.
type osFile struct {
	*os.File
	path string
	self identity // of the first Named; zero before
	// The range last given to WriteBehind, in bytes.
	behindOff, behindLen int64
}

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// errNameless: what is written to such a file is gone when it is closed.
var errNameless = errors.New("the file of the spool was removed or moved, or its folder was")

// fill occupies room with what can't be compressed.
func (f *osFile) fill(size int64) error {
	noise := rand.NewChaCha8([32]byte{})
	b := make([]byte, 64<<10)
	for off := int64(0); off < size; off += int64(len(b)) {
		noise.Read(b)
		if _, err := f.WriteAt(b[:min(size-off, int64(len(b)))], off); err != nil {
			return err
		}
	}
	return nil
}

// IsFull reports whether err means that the disk, or our share of it, is full.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || isFullOS(err)
}

// MayMake tells whether MakeFolder could make a folder, or use the one that is
// there, without doing it.
func MayMake(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		case err == nil:
			return MayWrite(dir)
		case !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir):
			return err
		}
		dir = filepath.Dir(dir)
	}
}
