package journal_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/spool"
	"postern/spool/disk"
	"postern/spool/journal"
	"postern/spool/simdisk"
)

// TestStartErrors wants a sentence that says what to do for each folder that
// can't be a spool.
func TestStartErrors(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes and owners are left to access lists on Windows")
	}
	base := t.TempDir()
	make := func(name string, mode os.FileMode) string {
		dir := filepath.Join(base, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	file := filepath.Join(make("files", 0o700), "plain")
	foreign := make("foreign", 0o700)
	linked := make("linked", 0o700)
	newer := make("newer", 0o700)
	for name, text := range map[string]string{file: "x", filepath.Join(foreign, "thesis.tex"): "x", filepath.Join(newer, "format"): "postern spool 3\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(base, filepath.Join(linked, "big")); err != nil {
		t.Fatal(err)
	}
	locked := make("locked", 0o700)
	defer open(t, journal.Options{Dir: locked}).Close()

	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		dir  string
		kind error
		text string
	}{
		{filepath.Join(base, "none", "none"), disk.ErrMissing, "does not exist and cannot be made: create it with `install -d -m 0700 -o " + me.Username + " " + base},
		{file, disk.ErrNotFolder, "is not a folder: move that file away"},
		{make("open", 0o750), disk.ErrOpenToOthers, "has mode 0750, so other users can read the mail in it: run `chmod 0700 "},
		{foreign, disk.ErrNotSpool, "holds thesis.tex, which is not part of a spool: give [spool] an empty dir of its own"},
		{linked, disk.ErrNotSpool, "holds big, which is not part of a spool"},
		{locked, disk.ErrLocked, "is in use by process "},
		{newer, disk.ErrUnusable, "it has format 3, which only a newer postern reads"},
	}
	for _, test := range tests {
		s, err := journal.Open(journal.Options{Dir: test.dir})
		if err == nil {
			s.Close()
		}
		var se *disk.StartError
		if !errors.Is(err, test.kind) || !errors.As(err, &se) || !strings.Contains(err.Error(), test.text) || !strings.Contains(err.Error(), test.dir) {
			t.Errorf("%s: %v", test.dir, err)
		}
	}
	if os.Geteuid() == 0 {
		dir := make("theirs", 0o700)
		if err := os.Chown(dir, 4242, 4242); err != nil {
			t.Fatal(err)
		}
		_, err := journal.Open(journal.Options{Dir: dir})
		if !errors.Is(err, disk.ErrNotOurs) || !strings.Contains(err.Error(), "belongs to user 4242: run postern as that user") {
			t.Error(err)
		}
	}
}

// TestRootReadsTheSpoolOfTheService: an administrator looks at what a stopped
// daemon has left.
func TestRootReadsTheSpoolOfTheService(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := filepath.Join(t.TempDir(), "spool")
	s := open(t, journal.Options{Dir: dir, Create: true})
	id := put(t, s, simple("office"), []byte("Subject: x\r\n\r\ny\r\n"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, 4242, 4242))
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := journal.OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if d, err := r.Detail(bg, id); err != nil || d.Envelope.From != "app@example.com" {
		t.Error(d, err)
	}
}

func TestFullDiskStopsTheStart(t *testing.T) {
	for _, op := range []simdisk.Op{simdisk.OpMkdir, simdisk.OpCreate, simdisk.OpWrite} {
		sim := simdisk.New()
		sim.SetFault(func(o simdisk.Op, _ string) error {
			if o == op {
				return syscall.ENOSPC
			}
			return nil
		})
		_, err := journal.Open(journal.Options{Dir: "sim", FS: sim.FS()})
		if !errors.Is(err, disk.ErrDiskFull) || !strings.Contains(err.Error(), "make room on it and start again") {
			t.Errorf("%s: %v", op, err)
		}
		sim.SetFault(nil)
		open(t, journal.Options{Dir: "sim", FS: sim.FS()}).Close()
	}
}

func TestCreateMakesFolderAndParents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "spool")
	s := open(t, journal.Options{Dir: dir, Create: true})
	id := put(t, s, simple("a"), []byte("x"))
	s.Close()
	for name, mode := range map[string]os.FileMode{".": 0o700, "big": 0o700, "bad": 0o700, "lock": 0o600, "format": 0o600, "0000000001.seg": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	r, err := journal.OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if d, err := r.Detail(bg, id); err != nil || d.Size != 1 {
		t.Error(d, err)
	}
}

// TestReaderWritesNothing looks at a spool that is in use, and at a damaged one.
func TestReaderWritesNothing(t *testing.T) {
	dir := folder(t)
	s := open(t, journal.Options{Dir: dir})
	id := put(t, s, simple("a"), []byte("hello"))
	before := listing(t, dir)
	r, err := journal.OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := 0
	r.Find(bg, spool.Query{}, func(sum spool.Summary) bool { n++; return sum.ID == id })
	c, err := r.Content(bg, id)
	if err != nil || n != 1 {
		t.Fatal(n, err)
	}
	c.Close()
	if after := listing(t, dir); after != before {
		t.Errorf("was\n%s\nis\n%s", before, after)
	}
	s.Close()
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil {
			info, _ := d.Info()
			b.WriteString(path + " " + info.ModTime().String() + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestNoLinkIsFollowed plants links in the place of everything that the spool
// opens, makes, moves or removes: what they lead to stays as it is, a body that
// it holds is not handed out, and nothing is made where a link leads to nothing.
func TestNoLinkIsFollowed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("left to access lists on Windows")
	}
	t.Parallel() // it waits for the disk more than it works
	for _, name := range []string{
		"lock", "format", "format.new", "reserve", "0000000001.seg", "0000000001.idx", "0000000002.seg", "0000000003.idx",
		"big/ID.eml", "bad/ID.eml", "bad/RECORD.rec", "bad/RECORD.new", "bad/RECORD.txt", "bad/0000000001.seg",
		"big", "bad",
	} {
		plantLink(t, name, strings.HasPrefix(name, "bad")) // there only damage is written
	}
}

// plantLink puts a link in the place of name. It leads to a file of somebody
// else, to nothing, to a folder, and to what was there before, moved.
func plantLink(t *testing.T, name string, damaged bool) {
	body := bytes.Repeat([]byte("a line\r\n"), 40<<10) // a large one
	for _, to := range []string{"target", "nowhere", "", "moved"} {
		dir, elsewhere := folder(t), t.TempDir()
		opts := journal.Options{Dir: dir, Reserve: 64 << 10}
		s := open(t, opts)
		id := put(t, s, simple("a"), body)
		s.Close()
		if damaged { // the envelope of the first record
			damageFile(t, filepath.Join(dir, "0000000001.seg"), 1024+48+20)
			os.Remove(filepath.Join(dir, "0000000001.idx"))
		}
		if err := os.WriteFile(filepath.Join(elsewhere, "target"), []byte("precious"), 0o640); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, strings.NewReplacer("ID", id.String(), "RECORD", "0000000001-0000001024").Replace(name))
		if err := os.Rename(path, filepath.Join(elsewhere, "moved")); to == "moved" && err != nil {
			continue // there was nothing
		}
		before := contents(t, elsewhere)
		if err := os.Symlink(filepath.Join(elsewhere, to), path); err != nil {
			t.Fatal(err)
		}
		if s, err := journal.Open(opts); err == nil {
			_, err := s.Content(bg, id)
			if err == nil && (name == "0000000001.seg" || name == "big/ID.eml") {
				t.Errorf("%s → %s: the message was read", name, to)
			}
			put(t, s, simple("a"), body)
			s.Close()
		}
		if after := contents(t, elsewhere); after != before {
			t.Errorf("%s → %s, damaged %t: where it leads to was\n%s\nand is\n%s", name, to, damaged, before, after)
		}
	}
}

func damageFile(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// contents tells names, modes and digests below a folder.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var list strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b, _ := os.ReadFile(path) // fails for a folder
		fmt.Fprintf(&list, "%s %v %x\n", path[len(dir):], info.Mode(), sha256.Sum256(b))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list.String()
}

// TestNoLinkIsFollowedWhileRunning: nor is one that comes later.
func TestNoLinkIsFollowedWhileRunning(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("left to access lists on Windows")
	}
	dir := folder(t)
	s := open(t, journal.Options{Dir: dir})
	defer s.Close()
	id := put(t, s, simple("a"), bytes.Repeat([]byte("a line\r\n"), 40<<10))
	path, moved := filepath.Join(dir, "big", id.String()+".eml"), filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(moved, path); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Content(bg, id); err == nil {
		c.Close()
		t.Error("a body was read by a link")
	}
	if _, err := os.Stat(moved); err != nil {
		t.Error(err)
	}
}

// A clock that was set back while nobody ran delays no message that was never
// tried.
func TestClockSetBackOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := simulated(t, nil)
		env := simple("a")
		env.Accepted = time.Now().Add(12 * time.Hour)
		put(t, s, env, nil)
		due := func(s *journal.Store) bool {
			next, known, err := s.NextDue(bg, "a")
			return err == nil && known && !next.After(time.Now())
		}
		if due(s) {
			t.Error("due before its time")
		}
		s.Close()
		s = open(t, journal.Options{Dir: "sim", FS: sim.FS()})
		defer s.Close()
		if !due(s) {
			t.Error("it waits for the clock")
		}
	})
}
