package journal_test

import (
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/spool/disk"
	"postern/spool/journal"
	"postern/spool/simdisk"
)

// TestEveryFaultAtStart fails each operation of a start in turn, the reading of
// folders and files among them: the start ends with a sentence or has
// everything, nothing is set aside for it, and the start after the repair has
// everything in any case.
func TestEveryFaultAtStart(t *testing.T) {
	failed := map[simdisk.Op]int{}
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			base, l := leftBehind(t, seed)
			for _, fault := range []error{syscall.EIO, syscall.ENOSPC} {
				for n := 0; ; n++ {
					op := startFails(t, base.Copy(), l, n, fault)
					if op == "" || t.Failed() {
						break
					}
					failed[op]++
				}
			}
		})
	}
	for _, op := range []simdisk.Op{simdisk.OpList, simdisk.OpOpen, simdisk.OpRead, simdisk.OpCreate, simdisk.OpWrite, simdisk.OpSync,
		simdisk.OpSyncDir, simdisk.OpRename, simdisk.OpRemove} {
		if failed[op] == 0 {
			t.Errorf("no start was tried in which %q failed", op)
		}
	}
	t.Log(failed)
}

// leftBehind is what a cut under a workload leaves, and what was promised; with
// seed 0 an empty disk.
func leftBehind(t *testing.T, seed uint64) (*simdisk.Disk, ledger) {
	t.Helper()
	sim, l := simdisk.New(), ledger{}
	if seed == 0 {
		return sim, l
	}
	sim.Trace()
	w := &workload{disk: sim, rng: rand.New(rand.NewPCG(seed, 2)), now: time.Now().Add(-time.Hour)}
	if err := w.run(60); err != nil {
		t.Fatal(err)
	}
	w.view.Kill()
	w.s.Close()
	for _, s := range sim.Steps() {
		if s.Op == simdisk.OpMark {
			l.apply(s.Mark)
		}
	}
	return sim.Cut(simdisk.Mixed, w.rng), l
}

// startFails starts with the operation number n failing, and again without,
// and returns what failed; "": a start has no more operations.
func startFails(t *testing.T, d *simdisk.Disk, l ledger, n int, fault error) (failed simdisk.Op) {
	t.Helper()
	var name string
	d.SetFault(func(op simdisk.Op, file string) error {
		if n--; n == -1 {
			failed, name = op, file
			return fault
		}
		return nil
	})
	view := d.FS()
	s, err := journal.Open(crashOptions(view))
	var told *disk.StartError
	switch {
	case err == nil:
		d.SetFault(nil) // what follows is not the start any more
		err = l.check(s, false)
		view.Kill()
		s.Close()
	case errors.As(err, &told) && told.Error() != "":
		err = nil
	}
	if err != nil {
		t.Errorf("%s of %s failed by %v: %v", failed, name, fault, err)
	}
	d.SetFault(nil)
	view.Kill()
	if err := newCrasher(1, newStates(t)).reopen(d, l); err != nil {
		t.Errorf("after %s of %s failed by %v: %v", failed, name, fault, err)
	}
	return failed
}
