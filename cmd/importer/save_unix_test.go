//go:build unix

package importer

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestReplacedFileKeepsItsReaders: the file of the package is root's, and read by
// the daemon through its group; so is the one that replaces it.
func TestReplacedFileKeepsItsReaders(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to others")
	}
	path := filepath.Join(t.TempDir(), "postern.toml")
	if err := os.WriteFile(path, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	const owner, group = 12345, 23456
	if err := os.Chown(path, owner, group); err != nil {
		t.Fatal(err)
	}
	if err := Save(path, []byte("new"), 0o644, true); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != owner || st.Gid != group || info.Mode().Perm() != 0o640 {
		t.Errorf("owner %d, group %d, mode %v", st.Uid, st.Gid, info.Mode())
	}
}
