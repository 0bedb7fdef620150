//go:build unix

package capture

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Nothing that is not a file is read or followed, whether it stands there from the
// start or is put in the place of a message later, and none of it makes anybody
// wait.
func TestBoxReadsFilesAlone(t *testing.T) {
	dir, secret := filepath.Join(t.TempDir(), "capture"), filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("Subject: secret\r\n\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := openMaildir(dir, "host")
	if err != nil {
		t.Fatal(err)
	}
	names := put(t, m, 4)
	place := func(name string) string { return filepath.Join(dir, "new", name) }
	odd := map[string]func(string) error{
		"1.link":   func(path string) error { return os.Symlink(secret, path) },
		"2.inside": func(path string) error { return os.Symlink(names[0], path) },
		"3.fifo":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"4.dir":    func(path string) error { return os.Mkdir(path, 0o700) },
	}
	for name, make := range odd {
		if err := make(place(name)); err != nil {
			t.Fatal(err)
		}
	}
	b := NewBox(dir)
	list, _, err := b.List()
	if err != nil || len(list) != 8 {
		t.Fatalf("%d messages, %v", len(list), err)
	}
	for name := range odd {
		k := b.Find(name)
		if _, err := b.Head(k); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, _, err := b.Whole(k); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	i := 0                        // of those from now on, which are the newest
	for name, make := range odd { // in the place of a message that is known
		k := list[i]
		i++
		if err := os.Remove(place(k.Name)); err != nil {
			t.Fatal(err)
		}
		if err := make(place(k.Name)); err != nil {
			t.Fatal(err)
		}
		done := aside(func() { _, err = b.Head(k) })
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: somebody waits", name)
		}
		if err == nil {
			t.Errorf("%s was read", name)
		}
	}
	for _, folder := range []string{"new", "cur", ""} { // links in the place of folders
		place := filepath.Join(dir, folder)
		away := filepath.Join(t.TempDir(), "away")
		if err := os.Rename(place, away); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(away, place); err != nil {
			t.Fatal(err)
		}
		if _, _, err := NewBox(dir).List(); err == nil {
			t.Errorf("the link in the place of %q was followed", folder)
		}
		if err := os.Remove(place); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(away, place); err != nil {
			t.Fatal(err)
		}
	}
}

func aside(do func()) chan struct{} {
	done := make(chan struct{})
	go func() { do(); close(done) }()
	return done
}
