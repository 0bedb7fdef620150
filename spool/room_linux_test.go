package spool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"postern/spool"
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
			s := open(t, spool.Options{Dir: dir, MinFree: minFree, Reserve: reserve})
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
					d, err := s.Create(context.Background())
					if err == nil {
						d.Discard()
						break
					}
					if !errors.Is(err, spool.ErrFull) || time.Since(began) > 10*time.Second {
						t.Fatalf("round %d: %v, with %+v", round, err, s.Usage())
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
		"folder removed":  {os.RemoveAll, func(dir string) error { return os.Mkdir(dir, 0o700) }},
		"folder moved":    {func(dir string) error { return os.Rename(dir, dir+".old") }, func(dir string) error { return os.Rename(dir+".old", dir) }},
		"folder replaced": {func(dir string) error { return errors.Join(os.Rename(dir, dir+".old"), os.Mkdir(dir, 0o755)) }, func(dir string) error { return os.Chmod(dir, 0o700) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits for the disk more than it works
			dir := folder(t)
			rec := &recorder{}
			s := open(t, spool.Options{Dir: dir, Events: rec})
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
				if s.Usage().Failing == nil {
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
			if s.Usage().Failing != nil {
				t.Errorf("usage still says %v", s.Usage().Failing)
			}
			if _, err := spool.Open(spool.Options{Dir: dir}); err == nil {
				t.Error("a second one opens the same folder")
			}
			for began := time.Now(); rec.count("reclaimed") == 0 && time.Since(began) < 5*time.Second; {
				time.Sleep(20 * time.Millisecond) // until what is open was copied
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, spool.Options{Dir: dir})
			defer s.Close()
			for _, id := range []spool.ID{before, after} {
				if _, err := s.Detail(id); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
		})
	}
}
