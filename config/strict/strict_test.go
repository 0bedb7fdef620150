//go:build unix

package strict

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const stranger = 64001

// TestEverythingOnTheWay: each way in which somebody else could put another
// file in the place of ours, and those that are none.
func TestEverythingOnTheWay(t *testing.T) {
	for name, c := range map[string]struct {
		root  bool
		spoil func(dir string) error // in which a/b/file is
		want  string                 // of the error; empty: nothing is wrong
	}{
		"good":                    {false, func(string) error { return nil }, ""},
		"file of the group":       {false, func(dir string) error { return os.Chmod(dir+"/a/b/file", 0o660) }, "a/b/file has mode 0660"},
		"file of everybody":       {false, func(dir string) error { return os.Chmod(dir+"/a/b/file", 0o602) }, "a/b/file has mode 0602"},
		"file of another":         {true, func(dir string) error { return os.Chown(dir+"/a/b/file", stranger, -1) }, "a/b/file belongs to user 64001"},
		"folder of the group":     {false, func(dir string) error { return os.Chmod(dir+"/a/b", 0o770) }, "a/b has mode 0770"},
		"folder above":            {false, func(dir string) error { return os.Chmod(dir+"/a", 0o777) }, "a has mode 0777"},
		"folder above of another": {true, func(dir string) error { return os.Chown(dir+"/a", stranger, -1) }, "a belongs to user 64001"},
		"sticky":                  {false, func(dir string) error { return os.Chmod(dir+"/a", os.ModeSticky|0o777) }, ""},
		"of another in sticky": {true, func(dir string) error {
			return errors.Join(os.Chmod(dir+"/a", os.ModeSticky|0o777), os.Chown(dir+"/a/b", stranger, -1))
		}, "a/b belongs to user 64001"},
		"volume of a pod":      {false, func(dir string) error { return os.Chmod(dir+"/a", os.ModeSetgid|0o770) }, ""},
		"volume for everybody": {false, func(dir string) error { return os.Chmod(dir+"/a", os.ModeSetgid|0o777) }, "a has mode 0777"},
		"link": {false, func(dir string) error {
			return errors.Join(os.Rename(dir+"/a/b", dir+"/c"), os.Symlink("../c", dir+"/a/b"))
		}, ""},
		"link to an open folder": {false, func(dir string) error {
			return errors.Join(os.Mkdir(dir+"/o", 0o700), os.Chmod(dir+"/o", 0o777), os.Rename(dir+"/a/b", dir+"/o/b"), os.Symlink("../o/b", dir+"/a/b"))
		}, "o has mode 0777"},
		"link of another": {true, func(dir string) error {
			return errors.Join(os.Rename(dir+"/a/b", dir+"/c"), os.Symlink("../c", dir+"/a/b"), os.Lchown(dir+"/a/b", stranger, -1))
		}, "a/b belongs to user 64001"},
		"file that is a link": {true, func(dir string) error {
			return errors.Join(os.Rename(dir+"/a/b/file", dir+"/f"), os.Chown(dir+"/f", stranger, -1), os.Symlink(dir+"/f", dir+"/a/b/file"))
		}, "/f belongs to user 64001"},
		"secret of Kubernetes": {false, func(dir string) error {
			return errors.Join(os.Chmod(dir+"/a/b", os.ModeSticky|os.ModeSetgid|0o777), os.Mkdir(dir+"/a/b/..2026", 0o755), os.Rename(dir+"/a/b/file", dir+"/a/b/..2026/file"), os.Symlink("..2026", dir+"/a/b/..data"), os.Symlink("..data/file", dir+"/a/b/file"))
		}, ""},
		"links in a circle": {false, func(dir string) error {
			return errors.Join(os.Remove(dir+"/a/b/file"), os.Symlink("file", dir+"/a/b/file"))
		}, ""},
		"missing": {false, func(dir string) error { return os.Remove(dir + "/a/b/file") }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.root && os.Geteuid() != 0 {
				t.Skip("this needs root, to give things away")
			}
			dir := t.TempDir()
			if err := errors.Join(os.MkdirAll(dir+"/a/b", 0o700), os.WriteFile(dir+"/a/b/file", nil, 0o600), c.spoil(dir)); err != nil {
				t.Fatal(err)
			}
			err := File(filepath.Join(dir, "a/b/file"))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if c.root && err != nil {
				if err := File(filepath.Join(dir, "a/b/file"), stranger); err != nil {
					t.Errorf("trusted: %v", err)
				}
			}
			if above := Above(filepath.Join(dir, "a/b/file")); above != nil && err == nil {
				t.Errorf("above alone: %v", above)
			}
		})
	}
}
