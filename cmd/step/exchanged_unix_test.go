//go:build unix

package step

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"postern/spool/disk"
)

// Messages that are written into a folder, which may be another user's, take the
// place of what is there: no link leads them elsewhere, and no pipe holds them up.
func TestFileFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(t.TempDir(), "foreign")
	if err := errors.Join(os.WriteFile(foreign, []byte("theirs"), 0o600), os.Symlink(foreign, filepath.Join(dir, "link")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600), os.WriteFile(filepath.Join(dir, "old"), []byte("longer than the new one"), 0o600)); err != nil {
		t.Fatal(err)
	}
	folder, err := disk.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	for _, name := range []string{"link", "pipe", "old", "new"} {
		done := make(chan error, 1)
		go func() { done <- file(folder, name, bytes.NewBufferString("message")) }()
		select {
		case err := <-done:
			if text, e := os.ReadFile(filepath.Join(dir, name)); err != nil || e != nil || string(text) != "message" {
				t.Errorf("%s: %v, %q %v", name, err, text, e)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: it waits", name)
		}
	}
	if text, err := os.ReadFile(foreign); err != nil || string(text) != "theirs" {
		t.Errorf("the other file holds %q %v", text, err)
	}
}
