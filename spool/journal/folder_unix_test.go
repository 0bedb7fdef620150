//go:build unix

package journal_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"postern/spool/disk"
	"postern/spool/journal"
)

// The last folder is made where the one above it is there, for its owner alone
// whatever the umask of the process; those above it are not.
func TestLastFolderIsMade(t *testing.T) {
	volume := filepath.Join(t.TempDir(), "volume")
	dir := filepath.Join(volume, "queue")
	if _, err := journal.Open(journal.Options{Dir: dir}); !errors.Is(err, disk.ErrMissing) {
		t.Fatalf("made its parents: %v", err)
	}
	if err := os.Mkdir(volume, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(volume, 0o777); err != nil { // an emptyDir
		t.Fatal(err)
	}
	if _, err := journal.OpenReader(dir); !errors.Is(err, disk.ErrMissing) {
		t.Fatalf("a reader made it: %v", err)
	}
	s, err := journal.Open(journal.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// A folder that was given to a group of this process by setgid, as fsGroup
// does, is used; one of another group, or open to others, is not.
func TestFolderOfAGroup(t *testing.T) {
	for _, c := range []struct {
		name string
		mode fs.FileMode
		gid  int
		kind error
	}{
		{"fsGroup", fs.ModeSetgid | 0o770, os.Getegid(), nil},
		{"fsGroup that others enter", fs.ModeSetgid | 0o775, os.Getegid(), disk.ErrOpenToOthers},
		{"emptyDir with fsGroup", fs.ModeSetgid | 0o777, os.Getegid(), disk.ErrOpenToOthers},
		{"group without setgid", 0o770, os.Getegid(), disk.ErrOpenToOthers},
		{"setgid of another group", fs.ModeSetgid | 0o770, 4242, disk.ErrOpenToOthers},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.gid != os.Getegid() && os.Geteuid() != 0 {
				t.Skip("needs root")
			}
			dir := filepath.Join(t.TempDir(), "spool")
			if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, -1, c.gid), os.Chmod(dir, c.mode)); err != nil {
				t.Fatal(err)
			}
			s, err := journal.Open(journal.Options{Dir: dir})
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, c.kind) {
				t.Errorf("%v, want %v", err, c.kind)
			}
		})
	}
}
