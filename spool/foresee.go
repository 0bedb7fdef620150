package spool

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Foresee tells what Open would find wrong with the folder, without changing
// anything: the error is a *StartError, or nil. It does not look at the lock,
// at the room on the disk, or into the spool.
func Foresee(opts Options) error {
	o := osFS{opts.Dir}
	err := o.Prepare(MakeNothing)
	if errors.Is(err, ErrMissing) {
		if opts.Create {
			return unusable(opts.Dir, MayMake(opts.Dir))
		}
		if MayWrite(filepath.Dir(opts.Dir)) == nil {
			return nil
		}
		return err
	}
	if err != nil {
		return err
	}
	if err := MayWrite(opts.Dir); err != nil {
		return unusable(opts.Dir, err)
	}
	s := &Store{fs: o, opts: opts}
	if _, err := s.checkFolder(); err != nil {
		var se *StartError
		if errors.As(err, &se) {
			return se
		}
		return unusable(opts.Dir, err)
	}
	return nil
}

// Room is how many bytes are free for a spool in dir, whose last folder need not
// be there yet.
func Room(dir string) (int64, error) {
	free, err := freeBytes(dir)
	if errors.Is(err, fs.ErrNotExist) {
		free, err = freeBytes(filepath.Dir(dir))
	}
	return free, err
}

func unusable(dir string, err error) error {
	if err == nil {
		return nil
	}
	return &StartError{Dir: dir, Kind: ErrUnusable, Cause: err}
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
