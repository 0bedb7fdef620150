package disk

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

const (
	// NoWait opens a pipe without waiting for its other end.
	NoWait   = 0 // a file there is no pipe
	noFollow = 0 // folders of services are protected by their access lists
	// RemovesOpen: an open file can be removed and stays readable.
	RemovesOpen = false
)

// checkOwner leaves access to the access lists of the folder.
func checkOwner(string, fs.FileInfo) error { return nil }

// GroupIsOurs is false: Windows has no such groups.
func GroupIsOurs(fs.FileInfo) bool { return false }

// syncFolder has nothing to do: NTFS logs its directories.
func syncFolder(string) error { return nil }

func lockFile(f *os.File) error {
	// The range lies beyond the text of the file, so that others can read it.
	over := &windows.Overlapped{Offset: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, over)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return ErrLockHeld
	}
	return err
}

// FreeBytes is how many bytes this process may still write below dir.
func FreeBytes(dir string) (int64, error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, nil, nil); err != nil {
		return 0, err
	}
	return int64(free), nil
}

func isFullOS(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

// MayWrite does not know: access lists are not looked at.
func MayWrite(string) error { return nil }

// identity tells files apart.
type identity struct{ info fs.FileInfo }

// Named implements File.
func (f *osFile) Named() error {
	if f.self.info == nil {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		f.self.info = info
	}
	now, err := os.Lstat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !os.SameFile(now, f.self.info):
		return errNameless
	}
	return err
}
