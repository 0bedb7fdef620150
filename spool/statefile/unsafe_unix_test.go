//go:build unix

package statefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUnsafeFolder: a folder in which others could put their files in the place
// of ours is neither read nor written, and the error says what to do.
func TestUnsafeFolder(t *testing.T) {
	for name, c := range map[string]struct {
		root  bool
		spoil func(dir string) error
		want  string
	}{
		"link":         {false, func(dir string) error { return errors.Join(os.Rename(dir, dir+"-"), os.Symlink(dir+"-", dir)) }, "move it away"},
		"file":         {false, func(dir string) error { return errors.Join(os.Rename(dir, dir+"-"), os.WriteFile(dir, nil, 0o600)) }, "move it away"},
		"of a group":   {false, func(dir string) error { return os.Chmod(dir, 0o770) }, "chmod 0700"},
		"of everybody": {false, func(dir string) error { return os.Chmod(dir, 0o1777) }, "chmod 0700"},
		"of another":   {true, func(dir string) error { return os.Chown(dir, 65534, -1) }, "belongs to user 65534"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.root && os.Geteuid() != 0 {
				t.Skip("this needs root, to give a folder away")
			}
			d := folder(t)
			write(t, d, "old")
			if err := c.spoil(d.Dir); err != nil {
				t.Fatal(err)
			}
			_, reading := d.Read("fact", 10)
			_, locking := d.Lock(t.Context(), "fact")
			_, moving := d.SetAside("fact")
			for operation, err := range map[string]error{"read": reading, "lock": locking, "set aside": moving,
				"prepare": d.Prepare(), "write": d.Write("fact", []byte("new")), "remove": d.Remove("fact")} {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v", operation, err)
				}
			}
		})
	}
}

// TestOwnerOfTheFolderAbove: a command that root runs uses the folder of the
// user who runs the daemon.
func TestOwnerOfTheFolderAbove(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this needs root, to give a folder away")
	}
	above := t.TempDir()
	if err := os.Chown(above, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	d := &Folder{Dir: filepath.Join(above, "state")}
	for range 2 {
		unlock, err := d.Lock(t.Context(), "fact")
		if err != nil {
			t.Fatal(err)
		}
		unlock()
		write(t, d, "content")
	}
	for _, path := range []string{d.Dir, filepath.Join(d.Dir, "fact"), filepath.Join(d.Dir, "fact.lock")} {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Uid != 65534 {
			t.Errorf("%s belongs to %d, %v", path, st.Uid, err)
		}
	}
}

// TestThingsInThePlaceOfAFile: what is no file is refused at once, also a pipe
// whose other end nobody has, and can be set aside or written over.
func TestThingsInThePlaceOfAFile(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"pipe":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		"link":      func(path string) error { return os.Symlink("fact.lock", path) },
		"dead link": func(path string) error { return os.Symlink("nowhere", path) },
	} {
		t.Run(name, func(t *testing.T) {
			d := folder(t)
			path := filepath.Join(d.Dir, "fact")
			for _, path := range []string{path, path + ".new"} {
				if err := put(path); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := d.Read("fact", 10); err == nil || errors.Is(err, fs.ErrNotExist) || !d.Has("fact") {
				t.Errorf("%v, has %t", err, d.Has("fact"))
			}
			aside, err := d.SetAside("fact")
			if _, gone := os.Lstat(aside); err != nil || gone != nil || d.Has("fact") {
				t.Errorf("set aside: %v, %v", err, gone)
			}
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			write(t, d, "new")
			if got, err := d.Read("fact", 10); err != nil || string(got) != "new" {
				t.Errorf("%q, %v", got, err)
			}
			if _, err := os.Lstat(filepath.Join(d.Dir, "nowhere")); err == nil {
				t.Error("written through a link")
			}
		})
	}
}
