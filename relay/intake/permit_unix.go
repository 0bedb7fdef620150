//go:build unix

package intake

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// permit sets mode and group of a socket. A zero mode leaves it at 0660.
func permit(path string, mode fs.FileMode, group string) error {
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return fmt.Errorf("%w; create the group or correct group", err)
		}
		gid, err := strconv.Atoi(g.Gid)
		if err != nil {
			return err
		}
		if err := os.Lchown(path, -1, gid); err != nil {
			return err
		}
	}
	if mode == 0 {
		mode = 0o660
	}
	return os.Chmod(path, mode.Perm())
}

func parent(path string) string { return filepath.Dir(path) }
