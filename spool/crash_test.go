package spool_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/spool"
	"postern/spool/simdisk"
)

// crashGoal says when a crash test has tried enough distinct states: as many
// as POSTERN_CRASH_STATES says (docs/spool-format.md), or by default a few
// thousand, or what can be done in a few seconds.
func crashGoal(t *testing.T) func(states int) bool {
	if v := os.Getenv("POSTERN_CRASH_STATES"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		return func(states int) bool { return states >= n }
	}
	began := time.Now()
	return func(states int) bool { return states >= 2000 || states >= 300 && time.Since(began) > 2*time.Second }
}

// crasher collects what the crash tests tried.
type crasher struct {
	states map[uint64]bool
	rng    *rand.Rand
	inside int // states that were cut inside a recovery
	lived  int // states with which work went on after recovery

	lenient bool // what was refused may be there
	enough  func(states int) bool
}

// reopen opens what a cut left and compares it with what was promised.
func (c *crasher) reopen(d *simdisk.Disk, l ledger) error {
	view := d.FS()
	events := &recorder{}
	opts := crashOptions(view)
	opts.Events = events
	s, err := spool.Open(opts)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer s.Close()
	defer view.Kill() // nothing of closing matters
	if err := l.check(s, c.lenient); err != nil {
		return fmt.Errorf("%w; recovery %+v, set aside %q", err, s.Recovery(), events.aside)
	}
	return nil
}

// try opens the disk that a cut left. Some are cut again while they recover,
// and with some the work goes on.
func (c *crasher) try(d *simdisk.Disk, l ledger) error {
	sum := d.Sum()
	if c.states[sum] {
		return nil
	}
	c.states[sum] = true
	switch c.rng.IntN(40) {
	case 0:
		return c.tryInside(d, l)
	case 1:
		return c.tryOn(d, l)
	}
	return c.reopen(d, l)
}

// tryInside cuts the power again at each step of the recovery.
func (c *crasher) tryInside(d *simdisk.Disk, l ledger) error {
	base := d.Copy()
	d.Trace()
	if err := c.reopen(d, l); err != nil {
		return err
	}
	var failed error
	simdisk.Play(base, d.Steps(), func(i int, at *simdisk.Disk) {
		if failed != nil {
			return
		}
		cut := at.Cut(simdisk.Moods[c.rng.IntN(len(simdisk.Moods))], c.rng)
		sum := cut.Sum()
		if !c.states[sum] {
			c.states[sum] = true
			c.inside++
			if failed = c.reopen(cut, l); failed != nil {
				failed = fmt.Errorf("cut inside recovery, before step %d: %w", i, failed)
			}
		}
	})
	return failed
}

// tryOn goes on working after the cut, restarts, and looks again.
func (c *crasher) tryOn(d *simdisk.Disk, l ledger) error {
	c.lived++
	d.Trace()
	w := &workload{disk: d, rng: c.rng, now: time.Now()}
	if err := w.run(25); err != nil {
		return err
	}
	w.s.Close()
	l = l.clone()
	delete(l, 0) // what was settled and not yet durable may have been cut off
	for _, s := range d.Steps() {
		if s.Op == simdisk.OpMark {
			l.apply(s.Mark)
		}
	}
	return c.reopen(d.Copy(), l)
}

// cutEverywhere cuts the power before every step of a workload's trace, in
// several ways each.
func (c *crasher) cutEverywhere(steps []simdisk.Step, ways int) error {
	l := ledger{}
	done := 0
	var failed error
	simdisk.Play(nil, steps, func(i int, d *simdisk.Disk) {
		if failed != nil || c.enough(len(c.states)) {
			return
		}
		for ; done < i; done++ {
			if steps[done].Op == simdisk.OpMark {
				l.apply(steps[done].Mark)
			}
		}
		if i > 0 && steps[i-1].Op == simdisk.OpMark {
			if _, ok := steps[i-1].Mark.(evAck); !ok {
				return // the disk is as before, and more is allowed
			}
		}
		for n := range ways {
			mood := simdisk.Mixed
			if n < len(simdisk.Moods) {
				mood = simdisk.Moods[n]
			}
			if err := c.try(d.Cut(mood, c.rng), l); err != nil {
				failed = fmt.Errorf("cut before step %d of %d, mood %d: %w", i, len(steps), mood, err)
				return
			}
		}
	})
	return failed
}

func newCrasher(seed uint64) *crasher {
	never := func(int) bool { return false }
	return &crasher{states: map[uint64]bool{}, rng: rand.New(rand.NewPCG(seed, 1)), enough: never}
}

func traced(seed uint64, calls int, wrap func(*simdisk.View) spool.FS) ([]simdisk.Step, error) {
	disk := simdisk.New()
	disk.Trace()
	w := &workload{disk: disk, wrap: wrap, rng: rand.New(rand.NewPCG(seed, 2)), now: time.Now().Add(-time.Hour)}
	if err := w.run(calls); err != nil {
		return nil, err
	}
	w.s.Close()
	return disk.Steps(), nil
}

// TestEveryCutIsSurvived cuts the power everywhere.
func TestEveryCutIsSurvived(t *testing.T) {
	c := newCrasher(1)
	c.enough = crashGoal(t)
	for seed := uint64(1); !c.enough(len(c.states)); seed++ {
		steps, err := traced(seed, 120, nil)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if err := c.cutEverywhere(steps, 8); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	t.Logf("%d distinct crash states survived, %d of them inside a recovery; work went on after %d", len(c.states), c.inside, c.lived)
}

// TestFaultsAreSurvived lets operations of the disk fail, and then cuts. After
// several failures in a row the disk may hold what was refused, since it did
// not take the note of that either; everything else holds as ever.
func TestFaultsAreSurvived(t *testing.T) {
	c := newCrasher(3)
	c.enough = crashGoal(t)
	for seed := uint64(1); !c.enough(len(c.states)); seed++ {
		failures := 1
		if os.Getenv("POSTERN_CRASH_STATES") != "" {
			// Three failures in a row: docs/reliability.md tells what is open there.
			failures += int(seed%2) * 2
		}
		steps, err := faulty(seed, failures)
		if err == nil {
			c.lenient = failures > 1
			err = c.cutEverywhere(steps, 3)
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	t.Logf("%d distinct crash states survived", len(c.states))
}

// faulty is the trace of a workload during which so many operations fail.
func faulty(seed uint64, failures int) ([]simdisk.Step, error) {
	rng := rand.New(rand.NewPCG(seed, 4))
	disk := simdisk.New()
	disk.Trace()
	w := &workload{disk: disk, rng: rng, now: time.Now().Add(-time.Hour)}
	if err := w.run(20); err != nil {
		return nil, err
	}
	after, fault := rng.IntN(60), []error{syscall.EIO, syscall.ENOSPC}[rng.IntN(2)]
	disk.SetFault(func(op simdisk.Op, name string) error {
		if op == simdisk.OpRead || op == simdisk.OpOpen || op == simdisk.OpList {
			return nil
		}
		if after--; after < 0 && after >= -failures {
			return fault
		}
		return nil
	})
	for range 40 {
		if w.step() == nil {
			continue
		}
		disk.SetFault(nil) // it could not be opened again: the disk is repaired
		if err := w.open(); err != nil {
			return nil, err
		}
	}
	w.view.Kill()
	w.s.Close()
	return disk.Steps(), nil
}

// TestCrashTestFindsMissingSyncs takes syncs out of the engine and wants the
// crash test to notice: a check that cannot fail counts for nothing.
func TestCrashTestFindsMissingSyncs(t *testing.T) {
	for name, skip := range map[string]func(op simdisk.Op, name string) bool{
		"no sync of segments":      func(op simdisk.Op, name string) bool { return op == simdisk.OpSync && len(name) == 14 },
		"no sync of big bodies":    func(op simdisk.Op, name string) bool { return op == simdisk.OpSync && name[:3] == "big" },
		"no sync of the folder":    func(op simdisk.Op, name string) bool { return op == simdisk.OpSyncDir && name == "." },
		"no sync of big's entries": func(op simdisk.Op, name string) bool { return op == simdisk.OpSyncDir && name == "big" },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed < 40; seed++ {
				steps, err := traced(seed, 60, func(v *simdisk.View) spool.FS { return &simdisk.Lax{View: v, Skip: skip} })
				if err != nil {
					t.Fatal(err)
				}
				if err := newCrasher(seed).cutEverywhere(steps, 3); err != nil {
					t.Log(err)
					return
				}
			}
			t.Error("the crash test did not notice")
		})
	}
}

// TestCrashTestFindsReorderedRemovals does so for the order in which segments
// go, which only matters where a message and the record of its end are in two
// segments that both go.
func TestCrashTestFindsReorderedRemovals(t *testing.T) {
	run := func(skip func(simdisk.Op, string) bool) error {
		disk := simdisk.New()
		disk.Trace()
		w := &workload{disk: disk, rng: rand.New(rand.NewPCG(1, 1)), now: time.Now(),
			wrap: func(v *simdisk.View) spool.FS { return &simdisk.Lax{View: v, Skip: skip} },
			tune: func(o *spool.Options) { o.SegmentSize, o.BigBody, o.ZeroAhead = 3<<10, 4<<10, -1 }}
		if err := w.open(); err != nil {
			return err
		}
		defer w.s.Close()
		// The first message keeps all segments until it is settled last; then
		// they go one after the other.
		end := func(d *spool.Delivery) {
			disk.Mark(evEnd{d.ID, 0})
			w.end(d, spool.Settlement{Outcomes: delivered(1)})
		}
		for range 5 {
			env := simple("a")
			env.Accepted = w.now
			w.put(letter{env, make([]byte, 1501)}) // one fills a segment
			ds, err := w.s.Claim("a", w.now, 2, func(int) time.Time { return w.now })
			if err != nil {
				return err
			}
			if w.taken = append(w.taken, ds...); len(w.taken) > 2 {
				end(w.taken[1])
				w.taken = append(w.taken[:1], w.taken[2])
			}
		}
		before := len(disk.Files())
		end(w.taken[0])
		for n := 0; len(disk.Files()) > before-4 && n < 1000; n++ {
			time.Sleep(time.Millisecond) // for what tidies up
		}
		return newCrasher(1).cutEverywhere(disk.Steps(), 8)
	}
	if err := run(func(simdisk.Op, string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	err := run(afterRemoval())
	if err == nil {
		t.Fatal("the crash test did not notice")
	}
	t.Log(err)
}

// afterRemoval skips the sync of the folder that follows the removal of a
// segment, so that the disk may reorder removals.
func afterRemoval() func(op simdisk.Op, name string) bool {
	var mu sync.Mutex
	removed := false
	return func(op simdisk.Op, name string) bool {
		mu.Lock()
		defer mu.Unlock()
		if op == simdisk.OpRemove {
			removed = removed || strings.HasSuffix(name, ".seg")
			return false
		}
		skip := removed && op == simdisk.OpSyncDir && name == "."
		removed = removed && !skip
		return skip
	}
}
