//go:build unix && !linux

package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

func identityOf(f *os.File) (identity, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return identity{uint64(st.Dev), uint64(st.Ino)}, err
}

func identityAt(path string) (identity, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	return identity{uint64(st.Dev), uint64(st.Ino)}, err
}
