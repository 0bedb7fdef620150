package capture

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestFollowsNoLinks: nothing is captured through a link that stands in the
// place of a folder, whether it was there at the start or came later.
func TestFollowsNoLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("making links needs a right of its own on Windows")
	}
	for _, name := range []string{"", "tmp", "new"} {
		dir, elsewhere := filepath.Join(t.TempDir(), "capture"), t.TempDir()
		for _, sub := range []string{"tmp", "new", "cur"} {
			if err := os.Mkdir(filepath.Join(elsewhere, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		m, err := openMaildir(dir, "host")
		if err != nil {
			t.Fatal(err)
		}
		deliver := func() error {
			_, err := m.deliver("office", "a@b", []string{"c@d"}, strings.NewReader("text"))
			return err
		}
		if err := deliver(); err != nil {
			t.Fatal(err)
		}
		place := filepath.Join(dir, name)
		if err := os.Rename(place, filepath.Join(t.TempDir(), "away")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(elsewhere, name), place); err != nil {
			t.Fatal(err)
		}
		if err := deliver(); err == nil || !strings.Contains(err.Error(), "no link to one is followed") {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := openMaildir(dir, "host"); err == nil || !strings.Contains(err.Error(), "no link to one is followed") {
			t.Errorf("start, %q: %v", name, err)
		}
		if list, _ := filepath.Glob(filepath.Join(elsewhere, "*", "*")); len(list) > 0 {
			t.Errorf("written through the link: %v", list)
		}
	}
}

// TestMakesNothingBehindLinks: a start that refuses a link in the place of the
// Maildir has made no folders where it leads.
func TestMakesNothingBehindLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("making links needs a right of its own on Windows")
	}
	dir, elsewhere := filepath.Join(t.TempDir(), "capture"), t.TempDir()
	if err := os.Symlink(elsewhere, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := openMaildir(dir, "host"); err == nil || !strings.Contains(err.Error(), "no link to one is followed") {
		t.Error(err)
	}
	if list, _ := filepath.Glob(filepath.Join(elsewhere, "*")); len(list) > 0 {
		t.Errorf("made behind the link: %v", list)
	}
}
