//go:build unix

package disk

import (
	"io/fs"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// noFollow also waits for nobody: a pipe in the place of a file, whose
	// other end nobody has, would hold a start up for ever.
	noFollow = unix.O_NOFOLLOW | NoWait
	// NoWait opens a pipe without waiting for its other end.
	NoWait = unix.O_NONBLOCK
	// RemovesOpen: an open file can be removed and stays readable.
	RemovesOpen = true
)

// checkOwner refuses a folder that is not ours or that others can enter. One
// that root has given to a group of ours is as good: nobody else gets in, and
// root could anyhow.
func checkOwner(dir string, info fs.FileInfo) error {
	shared := GroupIsOurs(info)
	open := info.Mode().Perm() & 0o077
	if shared {
		open &= 0o007
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() && (st.Uid != 0 || !shared) {
		return &StartError{Dir: dir, Kind: ErrNotOurs, Owner: int(st.Uid)}
	}
	if open != 0 {
		return &StartError{Dir: dir, Kind: ErrOpenToOthers, Mode: info.Mode().Perm()}
	}
	return nil
}

// GroupIsOurs reports whether a folder was given on purpose to a group that
// this process is in: it has the setgid bit, which no folder has by itself.
// Kubernetes does so to the folders of a volume with the fsGroup of a pod.
func GroupIsOurs(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode()&fs.ModeSetgid == 0 {
		return false
	}
	groups, _ := os.Getgroups()
	return slices.Contains(append(groups, os.Getegid()), int(st.Gid))
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
		return ErrLockHeld
	}
	return err
}

// FreeBytes is how many bytes this process may still write below dir.
func FreeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

func isFullOS(error) bool { return false }

// MayWrite tells whether this process may make files in a folder, by asking
// the kernel and not by trying.
func MayWrite(dir string) error {
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return &fs.PathError{Op: "write", Path: dir, Err: err}
	}
	return nil
}

// identity tells files apart.
type identity struct{ dev, ino uint64 }

// Named implements File. It is asked at each commit, so it makes no FileInfo.
func (f *osFile) Named() error {
	if f.self == (identity{}) {
		self, err := identityOf(f.File)
		if err != nil {
			return &fs.PathError{Op: "stat", Path: f.path, Err: err}
		}
		f.self = self
	}
	switch now, err := identityAt(f.path); {
	case err == unix.ENOENT, err == unix.ENOTDIR, err == nil && f.self != now:
		return errNameless
	case err != nil:
		return &fs.PathError{Op: "lstat", Path: f.path, Err: err}
	}
	return nil
}
