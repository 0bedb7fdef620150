//go:build unix

package importer

import (
	"io/fs"
	"os"
	"syscall"
)

// keep gives a file that replaces another one its owner and group, so that who
// could read the old one can read the new one: the daemon, above all. Where this
// user may not do so, the group alone; where not even that, no group reads it.
// It returns the mode that is right then.
func keep(made *os.File, old fs.FileInfo, mode fs.FileMode) fs.FileMode {
	st := old.Sys().(*syscall.Stat_t)
	if made.Chown(int(st.Uid), int(st.Gid)) != nil && made.Chown(-1, int(st.Gid)) != nil {
		mode &^= 0o070
	}
	return mode
}
