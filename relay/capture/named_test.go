package capture

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

// An error names the Maildir, and not a file that is gone when it is read.
func TestErrorsNameTheMaildir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "capture")
	m, err := openMaildir(dir, "host")
	if err != nil {
		t.Fatal(err)
	}
	full := iotest.ErrReader(&fs.PathError{Op: "write", Path: filepath.Join(dir, "tmp", "1.M2P3Q4.host"), Err: syscall.ENOSPC})
	_, err = m.deliver("office", "a@b", []string{"c@d"}, full)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "keep a message in "+dir+": ") || strings.Contains(err.Error(), "Q4") {
		t.Error(err)
	}
}
