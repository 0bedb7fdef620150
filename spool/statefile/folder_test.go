package statefile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/spool"
)

func folder(t *testing.T) *Folder {
	d := &Folder{Dir: filepath.Join(t.TempDir(), "state")}
	if err := d.Prepare(); err != nil {
		t.Fatal(err)
	}
	return d
}

func write(t *testing.T, d *Folder, content string) {
	t.Helper()
	if err := d.Write("fact", []byte(content)); err != nil {
		t.Fatal(err)
	}
}

// TestFaultsLeaveOldOrNew: whichever step fails, the file is whole, and the
// next write goes through.
func TestFaultsLeaveOldOrNew(t *testing.T) {
	for _, failing := range []string{"create", "write", "sync", "rename", "sync folder"} {
		d := folder(t)
		write(t, d, "old")
		var steps []string
		d.Step = func(operation string) error {
			steps = append(steps, operation)
			if operation == failing {
				return fs.ErrInvalid
			}
			return nil
		}
		if err := d.Write("fact", []byte("new")); !errors.Is(err, fs.ErrInvalid) || steps[len(steps)-1] != failing {
			t.Fatalf("%s: %v after %q", failing, err, steps)
		}
		want := "old"
		if failing == "sync folder" {
			want = "new"
		}
		if got, err := d.Read("fact", 10); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", failing, got, err)
		}
		d.Step = nil
		write(t, d, "newer")
		if got, err := d.Read("fact", 10); err != nil || string(got) != "newer" {
			t.Errorf("after %s: %q, %v", failing, got, err)
		}
		if left, _ := filepath.Glob(filepath.Join(d.Dir, "*")); len(left) != 1 {
			t.Errorf("after %s: %q", failing, left)
		}
	}
}

// TestWrecksOfACrash: a write that a crash cut off is neither read nor in the way.
func TestWrecksOfACrash(t *testing.T) {
	d := folder(t)
	write(t, d, "old")
	if err := os.WriteFile(filepath.Join(d.Dir, "fact.new"), []byte("hal"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Read("fact", 10); err != nil || string(got) != "old" {
		t.Errorf("%q, %v", got, err)
	}
	write(t, d, "new")
}

func TestRefusesWhatIsNotOurs(t *testing.T) {
	d := folder(t)
	if _, err := d.Read("fact", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	write(t, d, "0123456789x")
	if _, err := d.Read("fact", 10); !errors.Is(err, spool.ErrForm) {
		t.Errorf("too long: %v", err)
	}
	if err := os.Mkdir(filepath.Join(d.Dir, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read("dir", 1<<20); err == nil {
		t.Error("a folder was read")
	}
	if runtime.GOOS == "windows" {
		return
	}
	path := filepath.Join(d.Dir, "fact")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if err := os.Symlink("fact", filepath.Join(d.Dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read("link", 100); err == nil {
		t.Error("a link was followed")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read("fact", 100); err == nil || !strings.Contains(err.Error(), "chmod 0600") {
		t.Errorf("readable by others: %v", err)
	}
}

func TestRemove(t *testing.T) {
	d := folder(t)
	if err := d.Remove("fact"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	write(t, d, "old")
	for _, failing := range []string{"remove", "sync folder"} {
		d.Step = func(operation string) error {
			if operation == failing {
				return fs.ErrInvalid
			}
			return nil
		}
		if err := d.Remove("fact"); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v", failing, err)
		}
		_, err := d.Read("fact", 10)
		if gone := errors.Is(err, fs.ErrNotExist); gone != (failing == "sync folder") {
			t.Errorf("%s: %v", failing, err)
		}
	}
}

func TestLockExcludes(t *testing.T) {
	d := folder(t)
	unlock, err := d.Lock(t.Context(), "fact")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := (&Folder{Dir: d.Dir}).Lock(ctx, "fact"); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Error(err)
		}
		one, err := d.Lock(t.Context(), "one") // has nothing to do with it
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := (&Folder{Dir: d.Dir}).Lock(ctx, "one"); err == nil || !strings.Contains(err.Error(), "one.lock") {
			t.Error(err)
		}
		one()
	})
	unlock()
	again, err := d.Lock(t.Context(), "fact")
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestSafeNames(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"", "office", "Office", "OFFICE", "a/b", "..", "ä", "a_b-1", strings.Repeat("x", 101), "=office", "con:"} {
		safe := SafeName(name)
		if seen[safe] != "" || strings.ContainsAny(safe, "/\\.:") || safe == "" || len(safe) > 100 {
			t.Errorf("%q: %q", name, safe)
		}
		seen[safe] = name + "!"
	}
	if SafeName("a_b-1") != "a_b-1" {
		t.Error("a plain name is changed")
	}
}
