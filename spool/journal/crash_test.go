package journal_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/spool"
	"postern/spool/disk"
	"postern/spool/journal"
	"postern/spool/simdisk"
)

// states are the distinct crash states that a test has tried: as many as
// POSTERN_CRASH_STATES says (docs/spool-format.md), or by default a few
// thousand, or what can be done in a few seconds.
type states struct {
	mu   sync.Mutex
	seen map[uint64]struct{}
	did  map[string]int // by all workloads

	goal, least int
	late        atomic.Bool
	inside      atomic.Int64 // that were cut inside a recovery
	lived       atomic.Int64 // with which work went on after recovery
}

func newStates(t *testing.T) *states {
	all := &states{seen: map[uint64]struct{}{}, did: map[string]int{}, goal: 2000, least: 300}
	if v := os.Getenv("POSTERN_CRASH_STATES"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		all.goal, all.least = n, n
	}
	timer := time.AfterFunc(2*time.Second, func() { all.late.Store(true) })
	t.Cleanup(func() { timer.Stop() })
	return all
}

func (a *states) enough() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen) >= a.goal || len(a.seen) >= a.least && a.late.Load()
}

// add reports whether the disk is one that was not tried yet.
func (a *states) add(d *simdisk.Disk) bool {
	sum := d.Sum()
	a.mu.Lock()
	defer a.mu.Unlock()
	_, old := a.seen[sum]
	a.seen[sum] = struct{}{}
	return !old
}

// each calls one with seeds from 1 on, on all cores, until enough states are
// tried. Each call has a bubble of its own, where waiting takes no time.
func (a *states) each(t *testing.T, one func(c *crasher, seed uint64) error) {
	var next atomic.Uint64
	t.Run("seeds", func(t *testing.T) {
		for n := range runtime.GOMAXPROCS(0) {
			t.Run(strconv.Itoa(n), func(t *testing.T) {
				t.Parallel()
				for !a.enough() && !t.Failed() {
					seed := next.Add(1)
					synctest.Test(t, func(t *testing.T) {
						if err := one(newCrasher(seed, a), seed); err != nil {
							t.Errorf("seed %d: %v", seed, err)
						}
					})
				}
			})
		}
	})
	t.Logf("%d distinct crash states of %d workloads survived, %d of them inside a recovery; work went on after %d; %v",
		len(a.seen), next.Load(), a.inside.Load(), a.lived.Load(), a.did)
	if len(a.seen) < 10_000 {
		return
	}
	for _, call := range []string{"put", "big", "deliver", "bounce", "hold", "remove", "begun", "reclaimed", "moved", "full", "kill", "restart", "prefix", "scheduled", "settling", "together", "key", "repeated", "carried", "adopted"} {
		if a.did[call] == 0 {
			t.Errorf("no workload came to %q", call)
		}
	}
}

// trace is what a workload did to its disk.
func (a *states) trace(w *workload) []simdisk.Step {
	a.mu.Lock()
	defer a.mu.Unlock()
	for call, n := range w.did.counts {
		a.did[call] += n
	}
	return w.disk.Steps()
}

// crasher cuts the power under one workload, and looks at what is left.
type crasher struct {
	all *states
	rng *rand.Rand

	lenient bool // what was refused may be there
}

func newCrasher(seed uint64, all *states) *crasher {
	return &crasher{all: all, rng: rand.New(rand.NewPCG(seed, 1))}
}

// reopen opens what a cut left and compares it with what was promised.
func (c *crasher) reopen(d *simdisk.Disk, l ledger) error {
	view := d.FS()
	events := &recorder{}
	opts := crashOptions(view)
	vary(&opts, c.rng)
	opts.Events = events.tell
	s, err := journal.Open(opts)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer s.Close()
	defer view.Kill() // nothing of closing matters
	if err := l.check(s, c.lenient); err != nil {
		return fmt.Errorf("%w; recovery %+v, set aside %q", err, s.Recovery(), events.aside)
	}
	return inTheTable(d, s)
}

// try opens the disk that a cut left. Some are cut again while they recover,
// and with some the work goes on.
func (c *crasher) try(d *simdisk.Disk, l ledger) error {
	if !c.all.add(d) {
		return nil
	}
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
		if c.all.add(cut) {
			c.all.inside.Add(1)
			if failed = c.reopen(cut, l); failed != nil {
				failed = fmt.Errorf("cut inside recovery, before step %d: %w", i, failed)
			}
		}
	})
	return failed
}

// tryOn goes on working after the cut, restarts, and looks again.
func (c *crasher) tryOn(d *simdisk.Disk, l ledger) error {
	c.all.lived.Add(1)
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
// several ways each, every other one of them mixed.
func (c *crasher) cutEverywhere(steps []simdisk.Step, ways int) error {
	l := ledger{}
	done := 0
	var failed error
	simdisk.Play(nil, steps, func(i int, d *simdisk.Disk) {
		if failed != nil || c.all.enough() {
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
			if (i+n)%2 == 0 {
				mood = simdisk.Moods[c.rng.IntN(len(simdisk.Moods))]
			}
			if err := c.try(d.Cut(mood, c.rng), l); err != nil {
				failed = fmt.Errorf("cut before step %d of %d, mood %d: %w", i, len(steps), mood, err)
				return
			}
		}
	})
	return failed
}

func traced(seed uint64, calls int, wrap func(*simdisk.View) disk.FS) (*workload, error) {
	sim := simdisk.New()
	sim.Trace()
	w := &workload{disk: sim, wrap: wrap, rng: rand.New(rand.NewPCG(seed, 2)), now: time.Now().Add(-time.Hour), calm: seed&1 == 0}
	if err := w.run(calls); err != nil {
		return nil, err
	}
	w.s.Close()
	return w, nil
}

// TestEveryCutIsSurvived cuts the power everywhere.
func TestEveryCutIsSurvived(t *testing.T) {
	newStates(t).each(t, func(c *crasher, seed uint64) error {
		w, err := traced(seed, 120, nil)
		if err != nil {
			return err
		}
		return c.cutEverywhere(c.all.trace(w), 3)
	})
}

// TestFaultsAreSurvived lets up to three operations of the disk in a row
// fail, or a third of many, and then cuts. After several failures the disk may
// hold what was refused, since it did not take the note of that either;
// everything else holds as ever.
func TestFaultsAreSurvived(t *testing.T) {
	newStates(t).each(t, func(c *crasher, seed uint64) error {
		failures := int(seed % 4)
		w, err := faulty(seed, failures)
		if err != nil {
			return err
		}
		c.lenient = failures != 1
		return c.cutEverywhere(c.all.trace(w), 2)
	})
}

// faulty is the trace of a workload during which so many operations in a row
// fail; 0: every third of thirty, on an average.
func faulty(seed uint64, failures int) (*workload, error) {
	rng := rand.New(rand.NewPCG(seed, 4))
	sim := simdisk.New()
	sim.Trace()
	w := &workload{disk: sim, rng: rng, now: time.Now().Add(-time.Hour), calm: seed&4 == 0}
	if err := w.run(20); err != nil {
		return nil, err
	}
	dice := rand.New(rand.NewPCG(seed, 5)) // the disk's own: it is asked by several goroutines
	after, fault := rng.IntN(60), []error{syscall.EIO, syscall.ENOSPC}[rng.IntN(2)]
	sim.SetFault(func(op simdisk.Op, name string) error {
		if op == simdisk.OpRead || op == simdisk.OpOpen || op == simdisk.OpList {
			return nil
		}
		after--
		if after < 0 && after >= -failures || failures == 0 && after < 0 && after >= -30 && dice.IntN(3) == 0 {
			return fault
		}
		return nil
	})
	if failures != 1 && rng.IntN(3) == 0 {
		sim.SetRoom(30<<10 + rng.Int64N(60<<10))
	}
	for range 40 {
		if w.step() == nil {
			continue
		}
		sim.SetRoom(0)
		sim.SetFault(nil) // it could not be opened again: the disk is repaired
		if err := w.open(); err != nil {
			return nil, err
		}
	}
	w.view.Kill()
	w.s.Close()
	return w, nil
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
			synctest.Test(t, func(t *testing.T) {
				for seed := uint64(1); seed < 40; seed++ {
					w, err := traced(seed, 60, func(v *simdisk.View) disk.FS { return &simdisk.Lax{View: v, Skip: skip} })
					if err != nil {
						t.Fatal(err)
					}
					if err := newCrasher(seed, newStates(t)).cutEverywhere(w.disk.Steps(), 3); err != nil {
						t.Log(err)
						return
					}
				}
				t.Error("the crash test did not notice")
			})
		})
	}
}

// TestCrashTestFindsReorderedRemovals does so for the order in which segments
// go, which only matters where a message and the record of its end are in two
// segments that both go.
func TestCrashTestFindsReorderedRemovals(t *testing.T) {
	run := func(t *testing.T, skip func(simdisk.Op, string) bool) error {
		sim := simdisk.New()
		sim.Trace()
		w := &workload{disk: sim, rng: rand.New(rand.NewPCG(1, 1)), now: time.Now(),
			wrap: func(v *simdisk.View) disk.FS { return &simdisk.Lax{View: v, Skip: skip} },
			tune: func(o *journal.Options) { o.SegmentSize, o.BigBody, o.ZeroAhead = 3<<10, 4<<10, -1 }}
		if err := w.open(); err != nil {
			return err
		}
		defer w.s.Close()
		// The first message keeps all segments until it is settled last; then
		// they go one after the other.
		end := func(d *spool.Delivery) {
			sim.Mark(evEnd{d.ID, 0})
			w.end(d, spool.Settlement{Outcomes: delivered(1)})
		}
		for range 5 {
			env := simple("a")
			env.Accepted = w.now
			w.put(handedIn{env: env, body: make([]byte, 1501)}) // one fills a segment
			ds, err := w.s.Claim(bg, leased(w.s, "a"), w.now, 2, spool.Schedule{})
			if err != nil {
				return err
			}
			if w.taken = append(w.taken, ds...); len(w.taken) > 2 {
				end(w.taken[1])
				w.taken = append(w.taken[:1], w.taken[2])
			}
		}
		synctest.Wait() // for the indexes of what is full by now: they are files too
		before := len(sim.Files())
		end(w.taken[0])
		time.Sleep(time.Minute) // for what tidies up
		if n := before - len(sim.Files()); n < 4 {
			t.Fatalf("%d files went", n)
		}
		return newCrasher(1, newStates(t)).cutEverywhere(sim.Steps(), 8)
	}
	synctest.Test(t, func(t *testing.T) {
		if err := run(t, func(simdisk.Op, string) bool { return false }); err != nil {
			t.Fatal(err)
		}
		for range 20 { // few of the cuts that are drawn show it
			if err := run(t, afterRemoval()); err != nil {
				t.Log(err)
				return
			}
		}
		t.Error("the crash test did not notice")
	})
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
