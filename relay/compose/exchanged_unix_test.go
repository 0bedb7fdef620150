//go:build unix

package compose

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestExchangedPart: where a file has become a pipe or a folder since it was
// attached, the message is not made, and waits for nobody.
func TestExchangedPart(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"pipe":           func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"link to a pipe": func(path string) error { return syscall.Mkfifo(path+".p", 0o600) },
		"folder":         func(path string) error { return os.Mkdir(path, 0o700) },
		"link to itself": func(path string) error { return os.Symlink(path, path) },
		"device":         func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		path := filepath.Join(t.TempDir(), "report.txt")
		if err := os.WriteFile(path, []byte("report"), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := FilePart(path, "", "")
		if err == nil {
			err = os.Remove(path)
		}
		if err == nil {
			err = put(path)
		}
		if err == nil && name == "link to a pipe" {
			err = os.Symlink(path+".p", path)
		}
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			f, err := p.Open()
			if err == nil {
				f.Close()
			}
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil {
				t.Errorf("%s: it is opened", name)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: it waits", name)
		}
	}
}
