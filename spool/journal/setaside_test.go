package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"

	"postern/spool"
	"postern/spool/disk"
	"postern/spool/journal"
	"postern/spool/simdisk"
)

// damagedSpool is a spool that a killed process left, with a damaged body in
// a segment and a damaged body in a file, and how many messages are whole.
func damagedSpool(t *testing.T) (sim *simdisk.Disk, whole int) {
	t.Helper()
	sim, l := smallSpool(t, false)
	whole = l.alive()
	for _, file := range sim.Files() {
		b := sim.Read(file)
		at := bytes.Index(b, []byte(strings.Repeat("x", 90)))
		if at < 0 {
			continue
		}
		b[at] ^= 1
		sim.Write(file, b)
		whole--
	}
	return sim, whole
}

// readAll opens a spool, reads each message, and returns how many are whole.
func readAll(fs disk.FS) (whole int, err error) {
	opts := crashOptions(fs)
	tiny(&opts)
	s, err := journal.Open(opts)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	var ids []spool.ID
	s.Find(bg, spool.Query{}, func(sum spool.Summary) bool { ids = append(ids, sum.ID); return true })
	for _, id := range ids {
		c, err := s.Content(bg, id)
		switch {
		case err == nil:
			whole++
			c.Close()
		case !errors.Is(err, spool.ErrDamaged):
			return whole, err
		}
	}
	synctest.Wait()
	return whole, nil
}

// settingAside sets damaged messages aside, cuts the power before each step of
// it, and wants the next start to come to the same: everything damaged in
// bad/, byte by byte, and everything else in the queue.
func settingAside(t *testing.T, skip func(op simdisk.Op, name string) bool) (states int, failed error) {
	base, left := damagedSpool(t)
	sim := base.Copy()
	sim.Trace()
	whole, err := readAll(&simdisk.Lax{View: sim.FS(), Skip: skip})
	if err != nil || whole != left || left == 0 {
		t.Fatalf("%d are whole, %d have to be, %v", whole, left, err)
	}
	kept := map[string][]byte{}
	for _, name := range sim.Files() {
		if strings.HasPrefix(name, "bad/") && !strings.HasSuffix(name, ".txt") {
			kept[name] = sim.Read(name)
		}
	}
	if len(kept) != 3 { // two records, and the body of one of them
		t.Fatalf("%d files are set aside: %q", len(kept), sim.Files())
	}
	rng := rand.New(rand.NewPCG(1, 1))
	simdisk.Play(base, sim.Steps(), func(i int, at *simdisk.Disk) {
		for n := range 4 * len(simdisk.Moods) {
			if failed != nil {
				return
			}
			states++
			cut := at.Cut(simdisk.Moods[n%len(simdisk.Moods)], rng)
			got, err := readAll(cut.FS())
			if err != nil || got != whole {
				failed = fmt.Errorf("cut before step %d: %d are whole instead of %d, %v", i, got, whole, err)
			}
			for name, want := range kept {
				if b := cut.Read(name); !bytes.Equal(b, want) {
					failed = fmt.Errorf("cut before step %d: %s has %d bytes %.20q instead of %d", i, name, len(b), b, len(want))
				}
			}
		}
	})
	return states, failed
}

// TestCutsWhileSettingAside: what is damaged is kept, whenever the power goes.
// Without the sync before the rename, which lets the disk do them in the other
// order, or without that of the folder, it would not be.
func TestCutsWhileSettingAside(t *testing.T) {
	for name, c := range map[string]struct {
		skip    func(op simdisk.Op, name string) bool
		noticed bool
	}{
		"as it is": {func(simdisk.Op, string) bool { return false }, false},
		"renamed before the sync": {func(op simdisk.Op, name string) bool {
			return op == simdisk.OpSync && strings.HasSuffix(name, ".new")
		}, true},
		"folder not synced": {func(op simdisk.Op, name string) bool {
			return op == simdisk.OpSyncDir && name == "bad"
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				states, err := settingAside(t, c.skip)
				if (err != nil) != c.noticed {
					t.Errorf("%d states: %v", states, err)
				}
				t.Logf("%d states: %v", states, err)
			})
		})
	}
}
