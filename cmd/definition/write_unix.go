//go:build unix

package definition

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// share gives a file that we made the mode, and the group of a folder.
func share(f *os.File, folder fs.FileInfo, mode fs.FileMode) error {
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	group := folder.Sys().(*syscall.Stat_t).Gid
	if mine.Sys().(*syscall.Stat_t).Gid != group {
		if err := f.Chown(-1, int(group)); err != nil {
			return err
		}
	}
	return f.Chmod(mode)
}

// syncFolder makes the names in a folder durable.
func syncFolder(r *os.Root) error {
	f, err := r.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
