//go:build unix

package spool

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	noFollow = unix.O_NOFOLLOW
	// removesOpen: an open file can be removed and stays readable.
	removesOpen = true
)

// checkOwner refuses a folder that is not ours or that others can enter.
func checkOwner(dir string, info fs.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return &StartError{Dir: dir, Kind: ErrNotOurs, Owner: int(st.Uid)}
	}
	if info.Mode().Perm()&0o077 != 0 {
		return &StartError{Dir: dir, Kind: ErrOpenToOthers, Mode: info.Mode().Perm()}
	}
	return nil
}

func syncFolder(dir string) error {
	d, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func lockFile(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return errLockHeld
	}
	return err
}

func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

func isFullOS(error) bool { return false }
