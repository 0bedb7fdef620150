//go:build unix

package addressbook

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// noWait opens a pipe without waiting for its other end.
const noWait = syscall.O_NONBLOCK

// syncFolder makes durable what stands in a folder.
func syncFolder(r *os.Root) error {
	f, err := r.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func inodeOf(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Ino)
	}
	return 0
}

// openNow opens a file that is there. It follows no link, and a pipe that has taken
// its place holds nobody up.
func openNow(path string, how int) (*os.File, error) {
	return os.OpenFile(path, how|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// openLinked is openNow for a file that may be a link.
func openLinked(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// belongLike gives what root has made to the owner and the group of the folder
// that it stands in, so that its other users can read it.
func belongLike(made *os.File, folder fs.FileInfo) error {
	st, ok := folder.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return made.Chown(int(st.Uid), int(st.Gid))
}
