//go:build unix

package postgres

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Whoever adopts a queue may be root, and the file of what waited lies in a folder
// of the relay's user: a pipe holds nobody up, no link is followed, and a line
// without an end fills no memory.
func TestOutboxThatIsNone(t *testing.T) {
	foreign := filepath.Join(t.TempDir(), "foreign")
	if err := os.WriteFile(foreign, []byte("theirs\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, put := range map[string]func(path string) error{
		"pipe":            func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"folder":          func(path string) error { return os.Mkdir(path, 0o700) },
		"link":            func(path string) error { return os.Symlink(foreign, path) },
		"link to nothing": func(path string) error { return os.Symlink(foreign+".new", path) },
		"no end": func(path string) error {
			f, err := os.Create(path)
			return errors.Join(err, f.Truncate(10<<30), f.Close())
		},
	} {
		path := filepath.Join(t.TempDir(), "outbox")
		if err := put(path); err != nil {
			t.Fatal(err)
		}
		done := use(path)
		select {
		case err := <-done:
			if err == nil {
				t.Errorf("%s: it is taken", name)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: it waits", name)
		}
		if text, err := os.ReadFile(foreign); err != nil || string(text) != "theirs\n" {
			t.Errorf("%s: the other file holds %q %v", name, text, err)
		}
		if _, err := os.Lstat(foreign + ".new"); err == nil {
			t.Errorf("%s: a file was made elsewhere", name)
		}
	}
}

// use reads an outbox, and writes to it where it could be read.
func use(path string) chan error {
	done := make(chan error, 1)
	go func() {
		o := &outboxFile{path: path}
		_, err := o.read()
		o.mu.Lock()
		defer o.mu.Unlock()
		if err == nil {
			err = o.append(record{})
		}
		done <- err
	}()
	return done
}

// TestOutboxBounds: what is too large to be read again is not written, and what was
// written before stays.
func TestOutboxBounds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox")
	o := &outboxFile{path: path}
	t.Cleanup(o.close)
	add := func(r record) error {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.append(r)
	}
	if err := add(record{Doubt: &doubtful{1, 2}}); err != nil {
		t.Fatal(err)
	}
	large := &ending{Outcomes: []outcomeRow{{Text: strings.Repeat("x", maxRecord)}}}
	if err := add(record{End: large}); err != errFull {
		t.Errorf("a large record: %v", err)
	}
	size := o.size
	o.size = maxOutbox - 10
	if err := add(record{Doubt: &doubtful{3, 4}}); err != errFull {
		t.Errorf("beyond the bound: %v", err)
	}
	o.size = size
	if err := add(record{Doubt: &doubtful{5, 6}}); err != nil {
		t.Fatal(err)
	}
	list, err := (&outboxFile{path: path}).read()
	if err != nil || len(list) != 2 || *list[1].Doubt != (doubtful{5, 6}) {
		t.Errorf("%+v, %v", list, err)
	}
}
