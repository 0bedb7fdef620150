//go:build unix

package statefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"postern/spool"
)

const (
	noFollow = unix.O_NOFOLLOW
	noWait   = unix.O_NONBLOCK // for the other end of a pipe
)

// tryLock takes the lock, or tells that somebody else holds it.
func tryLock(f *os.File) (held bool, err error) {
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
		return true, nil
	}
	return false, err
}

func syncDir(dir string) error {
	d, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// inherit gives what root made to the owner of the folder.
func inherit(path, folder string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return nil
	}
	return os.Lchown(path, int(st.Uid), int(st.Gid))
}

// ours refuses a folder that others than its owner can write to, or whose
// owner is neither root, nor we, nor whoever owns the folder above it and could
// replace it anyway.
func ours(path string, info, above fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o002 != 0 || mode&0o020 != 0 && !spool.GroupIsOurs(info) {
		return fmt.Errorf("%s has mode %04o: others can put files there: chmod 0700 %s", path, mode, path)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	up, known := above.Sys().(*syscall.Stat_t)
	if ok && known && st.Uid != 0 && int(st.Uid) != os.Geteuid() && st.Uid != up.Uid {
		return fmt.Errorf("%s belongs to user %d, who could put files there: chown it to the owner of %s",
			path, st.Uid, filepath.Dir(path))
	}
	return nil
}

// private refuses a file that others can use. Those whom its folder was given
// to are none of them.
func private(info, folder fs.FileInfo) error {
	others := fs.FileMode(0o077)
	if spool.GroupIsOurs(folder) && sameGroup(info, folder) {
		others = 0o007
	}
	if mode := info.Mode().Perm(); mode&others != 0 {
		return fmt.Errorf("has mode %04o: others than its owner can use it", mode)
	}
	return nil
}

func sameGroup(a, b fs.FileInfo) bool {
	one, ok := a.Sys().(*syscall.Stat_t)
	other, too := b.Sys().(*syscall.Stat_t)
	return ok && too && one.Gid == other.Gid
}
