//go:build unix

package disk

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// What has taken the place of a folder or a file holds nobody up: a pipe, a link,
// a folder.
func TestOpenWaitsForNobody(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600), os.WriteFile(filepath.Join(dir, "file"), nil, 0o600),
		os.Mkdir(filepath.Join(dir, "folder"), 0o700), os.Symlink("file", filepath.Join(dir, "link")), os.Symlink("/etc/passwd", filepath.Join(dir, "out"))); err != nil {
		t.Fatal(err)
	}
	above, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer above.Close()
	soon := func(what string, good bool, do func() error) {
		t.Helper()
		done := make(chan error, 1)
		go func() { done <- do() }()
		select {
		case err := <-done:
			if (err == nil) != good {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: it waits", what)
		}
	}
	for name, good := range map[string]bool{"pipe": false, "file": false, "folder": true, "none": false} {
		soon("folder "+name, good, func() error {
			r, err := OpenFolder(filepath.Join(dir, name))
			if err == nil {
				r.Close()
			}
			return err
		})
		soon("folder in it "+name, good, func() error {
			r, err := OpenFolderIn(above, name)
			if err == nil {
				r.Close()
			}
			return err
		})
	}
	for name, good := range map[string]bool{"pipe": false, "file": true, "folder": false, "link": false, "out": false, "none": false} {
		soon("file "+name, good, func() error {
			f, err := OpenFile(above, name, os.O_RDONLY)
			if err == nil {
				f.Close()
			}
			return err
		})
	}
}
