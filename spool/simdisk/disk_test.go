package simdisk

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"testing"
)

// TestFailedSync wants what a failed sync was for to be in doubt until it is
// written and synced again, and never after that.
func TestFailedSync(t *testing.T) {
	d := New()
	f, err := d.FS().Create("f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(off int64, c byte, n int) {
		t.Helper()
		if _, err := f.WriteVec([][]byte{bytes.Repeat([]byte{c}, n)}, off); err != nil {
			t.Fatal(err)
		}
	}
	sync := func(fault error) {
		t.Helper()
		d.SetFault(func(op Op, _ string) error {
			if op == OpSync {
				return fault
			}
			return nil
		})
		if err := f.Sync(); (err != nil) != (fault != nil) {
			t.Fatal(err)
		}
	}
	d.FS().SyncDir(".")
	rng := rand.New(rand.NewPCG(1, 1))
	contents := func() map[string]bool {
		found := map[string]bool{}
		for range 200 {
			b := d.Cut(Mixed, rng).Read("f")
			firsts := ""
			for ; len(b) > 0; b = b[min(len(b), Sector):] {
				firsts += string(b[:1])
			}
			found[firsts] = true
		}
		return found
	}
	write(0, 'a', 3*Sector)
	sync(nil)
	write(0, '0', 3*Sector)
	write(Sector, 'b', 2*Sector)
	sync(syscall.EIO)
	sync(nil) // the system takes it for saved
	if n := len(contents()); n != 2*3*3 {
		t.Errorf("%d different contents after a failed sync", n)
	}
	write(Sector, 'c', Sector+1)
	sync(nil)
	want := map[string]bool{"acc": true, "0cc": true}
	if got := contents(); len(got) != 2 || !got["acc"] || !got["0cc"] {
		t.Errorf("%v, want %v", got, want)
	}
	if b := d.Cut(Nothing, rng).Read("f"); b[2*Sector] != 'c' || b[2*Sector+1] != 'b' {
		t.Errorf("the last sector was not saved as a whole: %q", b[2*Sector:2*Sector+2])
	}
	if err := f.Truncate(1); err != nil {
		t.Fatal(err)
	}
	sync(nil)
	if got := contents(); len(got) != 2 || !got["a"] || !got["0"] {
		t.Errorf("after a truncation %v", got)
	}
}
