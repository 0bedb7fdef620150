//go:build unix

package peer

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// An error names the socket that was to be made, and not what it was made in.
func TestErrorsNameTheSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "control.sock")
	if err := os.MkdirAll(filepath.Join(path, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := listen(path, 0o600, ""); err == nil || !strings.Contains(err.Error(), "make socket "+path+": ") {
		t.Errorf("a folder in its place: %v", err)
	}
	between := filepath.Join(dir, ".p123")
	for _, err := range []error{
		&fs.PathError{Op: "mkdir", Path: between, Err: syscall.EACCES},
		&os.LinkError{Op: "renameat", Old: ".p123/s", New: "control.sock", Err: syscall.EACCES},
		&net.OpError{Op: "listen", Net: "unix", Addr: &net.UnixAddr{Name: between + "/s", Net: "unix"}, Err: syscall.EACCES},
	} {
		got := named(err, path)
		if !errors.Is(got, fs.ErrPermission) || !strings.Contains(got.Error(), path) || strings.Contains(got.Error(), ".p123") {
			t.Errorf("%v became %v", err, got)
		}
	}
}
