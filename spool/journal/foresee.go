package journal

import (
	"errors"
	"io/fs"
	"path/filepath"

	"postern/spool/disk"
)

// Foresee tells what Open would find wrong with the folder, without changing
// anything: the error is a *StartError, or nil. It does not look at the lock,
// at the room on the disk, or into the spool.
func Foresee(opts Options) error {
	o := disk.At(opts.Dir)
	err := o.Prepare(disk.MakeNothing)
	if errors.Is(err, disk.ErrMissing) {
		if opts.Create {
			return unusable(opts.Dir, disk.MayMake(opts.Dir))
		}
		if disk.MayWrite(filepath.Dir(opts.Dir)) == nil {
			return nil
		}
		return err
	}
	if err != nil {
		return err
	}
	if err := disk.MayWrite(opts.Dir); err != nil {
		return unusable(opts.Dir, err)
	}
	s := &Store{fs: o, opts: opts}
	if _, err := s.checkFolder(); err != nil {
		var se *disk.StartError
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
	free, err := disk.FreeBytes(dir)
	if errors.Is(err, fs.ErrNotExist) {
		free, err = disk.FreeBytes(filepath.Dir(dir))
	}
	return free, err
}

func unusable(dir string, err error) error {
	if err == nil {
		return nil
	}
	return &disk.StartError{Dir: dir, Kind: disk.ErrUnusable, Cause: err}
}
