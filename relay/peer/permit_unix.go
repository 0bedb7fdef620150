//go:build unix

package peer

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// errRefused: nobody listens at a socket any more.
const errRefused = syscall.ECONNREFUSED

func permit(folder *os.Root, name string, mode fs.FileMode, group string) error {
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return &Advised{fmt.Errorf("the group %q does not exist", group), "create it or correct the key"}
		}
		gid, err := strconv.Atoi(g.Gid)
		if err != nil {
			return err
		}
		if err := folder.Lchown(name, -1, gid); err != nil {
			return fmt.Errorf("give the socket to the group %q: %w", group, bare(err))
		}
	}
	return folder.Chmod(name, mode.Perm())
}

// isPrivate: nobody but this user, and root, can enter.
func isPrivate(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return info.IsDir() && info.Mode().Perm()&0o077 == 0 && ok && int(st.Uid) == os.Geteuid()
}

// bare is the cause of an error of a file, without the name.
func bare(err error) error {
	if at, ok := err.(*fs.PathError); ok {
		return at.Err
	}
	return err
}
