package statefile

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

const (
	noWait       = 0     // a file there is no pipe
	syncsFolders = false // NTFS logs its directories
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

// inherit has nothing to do: access lists are inherited.
func inherit(*os.File, *os.Root) error { return nil }

func inheritFolder(_, _ *os.Root) error { return nil }

func ours(string, fs.FileInfo, fs.FileInfo) error { return nil }

func private(_, _ fs.FileInfo) error { return nil }
