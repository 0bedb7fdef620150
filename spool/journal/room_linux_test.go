package journal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"postern/spool"
	"postern/spool/journal"
)

// Others fill the disk up to a little above the minimum of free space; mail
// comes until no more is taken, all of it is delivered, and then mail is taken
// again, without a restart: on small volumes too, and again and again.
func TestRoomComesBack(t *testing.T) {
	for _, volume := range []int64{8, 24, 48} {
		t.Run(fmt.Sprintf("%d MiB", volume), func(t *testing.T) {
			dir := t.TempDir()
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", volume)); err != nil {
				t.Skipf("no tmpfs can be mounted (needs root): %v", err)
			}
			defer syscall.Unmount(dir, syscall.MNT_DETACH)
			minFree := volume << 20 / 8
			reserve := int64(0) // the default reserve has no room there
			if volume < 40 {
				reserve = -1
			}
			s := open(t, journal.Options{Dir: dir, MinFree: minFree, Reserve: reserve})
			defer s.Close()
			for round := range 4 {
				n := fillUp(t, s, 100<<10)
				if round > 0 && n == 0 {
					t.Fatal("nothing is taken")
				}
				if got := deliverAll(t, s); got != n {
					t.Fatalf("delivered %d of %d", got, n)
				}
				began := time.Now()
				for {
					d, err := s.Create(bg)
					if err == nil {
						d.Discard()
						break
					}
					if !errors.Is(err, spool.ErrFull) || time.Since(began) > 10*time.Second {
						t.Fatalf("round %d: %v, with %+v", round, err, usage(s))
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
}

// The files of the spool, or its folder, are removed, moved or replaced under
// the running relay: nothing is promised from then on, until there is a folder
// again; then it goes on by itself, with what was open.
func TestFilesThatLoseTheirNames(t *testing.T) {
	for name, c := range map[string]struct{ away, back func(dir string) error }{
		"files removed": {func(dir string) error {
			segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
			for _, s := range segments {
				err = errors.Join(err, os.Remove(s))
			}
			if len(segments) == 0 {
				err = errors.New("no segments")
			}
			return err
		}, nil},
		"lock removed":    {func(dir string) error { return os.Remove(filepath.Join(dir, "lock")) }, nil},
		"lock replaced":   {func(dir string) error { return replace(filepath.Join(dir, "lock")) }, nil},
		"folder removed":  {os.RemoveAll, func(dir string) error { return os.Mkdir(dir, 0o700) }},
		"folder moved":    {func(dir string) error { return os.Rename(dir, dir+".old") }, func(dir string) error { return os.Rename(dir+".old", dir) }},
		"folder replaced": {func(dir string) error { return errors.Join(os.Rename(dir, dir+".old"), os.Mkdir(dir, 0o755)) }, func(dir string) error { return os.Chmod(dir, 0o700) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits for the disk more than it works
			dir := folder(t)
			rec := &recorder{}
			s := open(t, journal.Options{Dir: dir, Events: rec.tell})
			before, err := commit(t, s, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.away(dir); err != nil {
				t.Fatal(err)
			}
			_, err = commit(t, s, 1000)
			if err == nil {
				t.Fatal("promised what is in no folder")
			}
			if rec.count("failed") == 0 {
				t.Error("nobody is told")
			}
			if c.back != nil {
				if usage(s).Failing == nil {
					t.Error("usage says that all is well")
				}
				if _, err := commit(t, s, 1000); err == nil {
					t.Error("promised without a folder")
				}
				if err := c.back(dir); err != nil {
					t.Fatal(err)
				}
			}
			var after spool.ID
			for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
				if after, err = commit(t, s, 1000); err == nil {
					break
				}
				if time.Since(began) > 10*time.Second {
					t.Fatalf("it does not come back: %v", err)
				}
			}
			if usage(s).Failing != nil {
				t.Errorf("usage still says %v", usage(s).Failing)
			}
			if _, err := journal.Open(journal.Options{Dir: dir}); err == nil {
				t.Error("a second one opens the same folder")
			}
			for began := time.Now(); rec.count("reclaimed") == 0 && time.Since(began) < 5*time.Second; {
				time.Sleep(20 * time.Millisecond) // until what is open was copied
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, journal.Options{Dir: dir})
			defer s.Close()
			for _, id := range []spool.ID{before, after} {
				if _, err := s.Detail(bg, id); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
		})
	}
}

// replace puts another file in the place of one.
func replace(name string) error {
	return errors.Join(os.WriteFile(name+".new", nil, 0o600), os.Rename(name+".new", name))
}

// Where another process has taken the spool after its lock was removed, the
// first one promises nothing any more.
func TestSpoolThatAnotherHasTaken(t *testing.T) {
	dir := folder(t)
	rec := &recorder{}
	s := open(t, journal.Options{Dir: dir, Events: rec.tell})
	defer s.Close()
	if _, err := commit(t, s, 1000); err != nil { // so that its segment stays
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	other := open(t, journal.Options{Dir: dir})
	defer other.Close()
	for range 2 {
		if _, err := commit(t, s, 1000); err == nil {
			t.Error("two promise in one folder")
		}
	}
	if rec.count("failed") == 0 || usage(s).Failing == nil {
		t.Errorf("nobody is told: %v", usage(s).Failing)
	}
	if _, err := commit(t, other, 1000); err != nil {
		t.Errorf("the second one: %v", err)
	}
}

// The file of a large body, or the folder of such, is removed before the
// message is committed: it is refused, and the next one is not.
func TestBodiesThatLoseTheirNames(t *testing.T) {
	for name, away := range map[string]func(dir string) error{
		"file removed": func(dir string) error {
			files, err := filepath.Glob(filepath.Join(dir, "big", "*.eml"))
			if err != nil || len(files) != 1 {
				return fmt.Errorf("%v, %w", files, err)
			}
			return os.Remove(files[0])
		},
		"file replaced": func(dir string) error {
			files, err := filepath.Glob(filepath.Join(dir, "big", "*.eml"))
			if err != nil || len(files) != 1 {
				return fmt.Errorf("%v, %w", files, err)
			}
			return replace(files[0])
		},
		"folder removed": func(dir string) error { return os.RemoveAll(filepath.Join(dir, "big")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t)
			rec := &recorder{}
			s := open(t, journal.Options{Dir: dir, Events: rec.tell, BigBody: 64 << 10})
			defer s.Close()
			before := usage(s).Disk
			d, err := s.Create(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Write(make([]byte, 200<<10)); err != nil {
				t.Fatal(err)
			}
			if err := away(dir); err != nil {
				t.Fatal(err)
			}
			if err := d.Commit(bg, simple("a")); err == nil {
				t.Error("promised what is in no folder")
			}
			if rec.count("failed") == 0 {
				t.Error("nobody is told")
			}
			if used := usage(s).Disk; used > before {
				t.Errorf("%d bytes are taken for used", used-before)
			}
			id, err := commit(t, s, 200<<10)
			if err != nil {
				t.Fatalf("the next one: %v", err)
			}
			c, err := s.Content(bg, id)
			if err != nil {
				t.Fatal(err)
			}
			if c.Size() != 200<<10 {
				t.Errorf("%d bytes", c.Size())
			}
			c.Close()
		})
	}
}
