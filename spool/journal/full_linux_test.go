package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"postern/spool"
	"postern/spool/journal"
)

// TestFullTmpfs fills a real file system to the last byte, with small mail and
// with large, and delivers all of it from there.
func TestFullTmpfs(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=40m,mode=0700"); err != nil {
		t.Skipf("no tmpfs can be mounted (needs root): %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	for _, size := range []int{4 << 10, 300 << 10} {
		s := open(t, journal.Options{Dir: dir})
		for n := 0; ; n++ { // until the reserve is made
			if info, err := os.Stat(filepath.Join(dir, "reserve")); err == nil && info.Size() == 16<<20 {
				break
			} else if n > 1000 {
				t.Fatal("no reserve is kept")
			}
			time.Sleep(10 * time.Millisecond)
		}
		n := fillUp(t, s, size)
		if n < 10 {
			t.Fatalf("full after %d", n)
		}
		if got := deliverAll(t, s); got != n {
			t.Fatalf("delivered %d of %d", got, n)
		}
		for n := 0; ; n++ { // until room is made
			d, err := s.Create(bg)
			if err == nil {
				d.Discard()
				break
			}
			if !errors.Is(err, spool.ErrFull) || n > 1000 {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
