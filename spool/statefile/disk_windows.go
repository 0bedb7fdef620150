package statefile

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

const (
	noFollow = 0 // folders of services are protected by their access lists
	noWait   = 0 // a file there is no pipe
)

// tryLock takes the lock, or tells that somebody else holds it.
func tryLock(f *os.File) (held bool, err error) {
	err = windows.LockFileEx(windows.Handle(f.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return true, nil
	}
	return false, err
}

// syncDir has nothing to do: NTFS logs its directories.
func syncDir(string) error { return nil }

// inherit has nothing to do: access lists are inherited.
func inherit(string, string) error { return nil }

func ours(string, fs.FileInfo, fs.FileInfo) error { return nil }

func private(_, _ fs.FileInfo) error { return nil }
