//go:build unix

package history

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Whoever searches may be root, and the folder is of the user of the relay: files
// that are exchanged after the look at the folder hold nobody up, and lead nowhere.
func TestExchangedFiles(t *testing.T) {
	dir := t.TempDir()
	folder, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if err := errors.Join(syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600), os.Symlink("/dev/zero", filepath.Join(dir, "zero")), os.Symlink("pipe", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipe", "zero", "link"} {
		done := make(chan bool, 1)
		go func() {
			f := &file{path: filepath.Join(dir, name)}
			whole, err := f.each(t.Context(), folder, func([]byte) bool { return true })
			done <- whole || err != nil
		}()
		select {
		case taken := <-done:
			if taken {
				t.Errorf("%s is taken", name)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: it waits", name)
		}
	}
}
