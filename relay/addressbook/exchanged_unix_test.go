//go:build unix

package addressbook

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestExchangedFile: a pipe that takes the place of a book's file, between the look
// at it and its opening, holds nobody up.
func TestExchangedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "people.vcf")
	if err := os.WriteFile(path, []byte("BEGIN:VCARD\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err := errors.Join(err, os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := readRegularAt(path, info, 1<<20)
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "replaced") {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for whoever writes to the pipe")
	}
}
