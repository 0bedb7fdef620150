package journal_test

import (
	"errors"
	"math/rand/v2"
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

// failing makes the operations of the list fail, each once and in that order:
// "sync .seg" is the next sync of a file whose name ends so.
func failing(sim *simdisk.Disk, err error, list ...string) {
	sim.SetFault(func(op simdisk.Op, name string) error {
		if len(list) == 0 {
			return nil
		}
		want, suffix, _ := strings.Cut(list[0], " ")
		if string(op) != want || !strings.HasSuffix(name, suffix) {
			return nil
		}
		list = list[1:]
		return err
	})
}

// commit hands in a message, as put does, and returns what came of it.
func commit(t *testing.T, s *journal.Store, size int) (spool.ID, error) {
	t.Helper()
	d, err := s.Create(bg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	return d.ID(), d.Commit(bg, simple("a"))
}

// afterCuts opens what many cuts leave, and wants no legal state to be taken
// for damage, and each of the messages to be there and whole.
func afterCuts(t *testing.T, sim *simdisk.Disk, want ...spool.ID) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	ways := 100
	if !long() {
		ways = 25
	}
	for n := range ways {
		mood := simdisk.Mixed
		if n < len(simdisk.Moods) {
			mood = simdisk.Moods[n]
		}
		s := open(t, journal.Options{Dir: "sim", FS: sim.Cut(mood, rng).FS()})
		if r := s.Recovery(); r.SetAside > 0 {
			t.Errorf("cut %d: %+v", n, r)
		}
		s.Find(bg, spool.Query{}, func(sum spool.Summary) bool {
			c, err := s.Content(bg, sum.ID)
			if err != nil {
				t.Errorf("cut %d: %s: %v", n, sum.ID, err)
				return false
			}
			c.Close()
			return true
		})
		for _, id := range want {
			if _, err := s.Detail(bg, id); err != nil {
				t.Errorf("cut %d: %s: %v", n, id, err)
			}
		}
		s.Close()
		if t.Failed() {
			return
		}
	}
}

// TestRefusedBodyMayStillBeNeeded: the sync of a large message fails, and so
// does everything that would note its refusal. A start may find its record, so
// it has to find the body too.
func TestRefusedBodyMayStillBeNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := simulated(t, func(o *journal.Options) { o.BigBody = 1 << 10 })
		first := put(t, s, simple("a"), nil)
		failing(sim, syscall.EIO, "sync .seg", "create .seg", "truncate .seg")
		if _, err := commit(t, s, 3000); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		afterCuts(t, sim, first)
		time.Sleep(2 * time.Second)
		afterCuts(t, sim, first, put(t, s, simple("a"), nil))
	})
}

// TestHeaderInTheCacheIsNotTrusted: the sync of a segment failed, and so did
// that of its successor, whose header a start then finds in the cache only. It
// must not remove what the header says to be refused before that is durable.
func TestHeaderInTheCacheIsNotTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := simulated(t, func(o *journal.Options) { o.BigBody = 1 << 10 })
		first := put(t, s, simple("a"), nil)
		failing(sim, syscall.EIO, "sync .seg", "sync .seg", "remove .seg", "truncate .seg")
		if _, err := commit(t, s, 3000); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		s.Close()
		again := open(t, journal.Options{Dir: "sim", FS: sim.FS()})
		defer again.Close()
		if r := again.Recovery(); r.Messages != 1 {
			t.Fatalf("%+v", r)
		}
		synctest.Wait()
		afterCuts(t, sim, first)
	})
}

// TestSegmentThatCouldNotBegin: its header may be on the sim, and says where
// the segment before it ends. What is accepted later must not lie behind that.
func TestSegmentThatCouldNotBegin(t *testing.T) {
	for name, list := range map[string][]string{
		"not removed":           {"sync .seg", "remove .seg"},
		"removed, perhaps":      {"syncdir .", "syncdir ."},
		"removed, and durably":  {"syncdir ."},
		"not even the file":     {"create .seg"},
		"without a header":      {"write .seg"},
		"neither, not removed":  {"write .seg", "remove .seg"},
		"tried again in vain":   {"sync .seg", "remove .seg", "syncdir .", "remove .seg"},
		"tried again, no space": {"sync .seg", "remove .seg", "create .seg"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, sim := simulated(t, func(o *journal.Options) { o.SegmentSize, o.ZeroAhead = 6<<10, -1 })
				ids := []spool.ID{put(t, s, simple("a"), make([]byte, 1000))}
				failing(sim, syscall.EIO, list...)
				if _, err := commit(t, s, 5000); !errors.Is(err, syscall.EIO) {
					t.Fatal(err)
				}
				for range 4 { // the first ones fit where the failed one didn't
					if id, err := commit(t, s, 500); err == nil {
						ids = append(ids, id)
						afterCuts(t, sim, ids...)
					}
					time.Sleep(2 * time.Second)
				}
				if len(ids) < 4 {
					t.Errorf("only %d messages were taken", len(ids)-1)
				}
				again := open(t, journal.Options{Dir: "sim", FS: sim.Copy().FS()}) // as after a kill
				defer again.Close()
				if r := again.Recovery(); r.Messages != len(ids) {
					t.Errorf("%d messages, of %d", r.Messages, len(ids))
				}
			})
		})
	}
}

// TestSyncWhoseErrorAnotherHeard: while a message is being synced, another
// write finds the disk full, and the sync that takes it back fails. That loses
// the message as well, but the system tells it once only.
func TestSyncWhoseErrorAnotherHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var during func()
		skip := func(op simdisk.Op, name string) bool {
			if run := during; op == simdisk.OpSync && strings.HasSuffix(name, ".seg") && run != nil {
				during = nil
				run()
			}
			return false
		}
		sim := simdisk.New()
		s := open(t, journal.Options{Dir: "sim", FS: &simdisk.Lax{View: sim.FS(), Skip: skip}, ZeroAhead: -1})
		defer s.Close()
		first := put(t, s, simple("a"), nil)
		d := claim(t, s, "a", 1)[0]
		during = func() {
			full, broken := true, true
			sim.SetFault(func(op simdisk.Op, name string) error {
				switch {
				case op == simdisk.OpWrite && full:
					full = false
					return syscall.ENOSPC
				case op == simdisk.OpSync && broken:
					broken = false
					return syscall.EIO
				}
				return nil
			})
			if _, err := s.Settle(bg, d, spool.Settlement{Due: time.Now()}); err == nil {
				t.Error("settled on a full disk")
			}
		}
		want := []spool.ID{first}
		if id, err := commit(t, s, 100); err == nil {
			want = append(want, id)
		}
		time.Sleep(2 * time.Second) // until the spool has found that there is room again
		afterCuts(t, sim, append(want, put(t, s, simple("a"), nil))...)
	})
}

// beforeWrite is a disk that calls a function before the next write to a segment.
type beforeWrite struct {
	*simdisk.View
	call func()
}

func (b *beforeWrite) Create(name string) (disk.File, error) {
	f, err := b.View.Create(name)
	return &beforeWriteFile{f, b}, err
}

type beforeWriteFile struct {
	disk.File
	b *beforeWrite
}

func (f *beforeWriteFile) WriteVec(bufs [][]byte, off int64) (int64, error) {
	if call := f.b.call; call != nil {
		f.b.call = nil
		call()
	}
	return f.File.WriteVec(bufs, off)
}

// TestSettleDoesNotWaitForCommits settles while a commit is about to be
// written, which then succeeds or finds the disk full. What is settled stays so
// after the end of the process at that moment and later.
func TestSettleDoesNotWaitForCommits(t *testing.T) {
	for name, fault := range map[string]error{"written": nil, "full": syscall.ENOSPC, "broken": syscall.EIO} {
		t.Run(name, func(t *testing.T) {
			sim := simdisk.New()
			hook := &beforeWrite{View: sim.FS()}
			s := open(t, journal.Options{Dir: "sim", FS: hook})
			defer s.Close()
			put(t, s, simple("a"), nil)
			d := claim(t, s, "a", 1)[0]
			left := func() int {
				again := open(t, journal.Options{Dir: "sim", FS: sim.Copy().FS()})
				defer again.Close()
				if r := again.Recovery(); r.SetAside > 0 {
					t.Errorf("%+v", r)
				}
				return again.Recovery().Messages
			}
			hook.call = func() {
				done := make(chan error)
				go func() { done <- journal.Settle(s, d, spool.Settlement{Outcomes: delivered(1)}) }()
				select {
				case err := <-done:
					if n := left(); n != 0 || err != nil {
						t.Errorf("%d messages at that moment, %v", n, err)
					}
				case <-time.After(30 * time.Second):
					t.Error("it waits")
				}
				if fault != nil {
					failing(sim, fault, "write .seg")
				}
			}
			want := 1
			if _, err := commit(t, s, 5000); !errors.Is(err, fault) {
				t.Error(err)
			} else if err != nil {
				want = 0
			}
			if n := left(); n != want {
				t.Errorf("%d messages, want %d", n, want)
			}
			for usage(s).Full { // until the keeper has its reserve back
				time.Sleep(time.Millisecond)
			}
			put(t, s, simple("a"), nil)
			if n := left(); n != want+1 {
				t.Errorf("%d messages, want %d", n, want+1)
			}
		})
	}
}

// TestRecordsStayInOrder: a record that could not be written is not overtaken
// by a later one about the same share.
func TestRecordsStayInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := simulated(t, func(o *journal.Options) { o.ZeroAhead, o.Reserve = -1, -1 })
		put(t, s, simple("a"), nil)
		d := claim(t, s, "a", 1)[0]
		failing(sim, syscall.ENOSPC, "write .seg")
		if _, err := s.Settle(bg, d, spool.Settlement{Due: time.Now()}); err == nil {
			t.Error("settled on a full disk")
		}
		d = claim(t, s, "a", 1)[0]
		_, err := s.Settle(bg, d, spool.Settlement{Due: time.Now(), Hold: true, Outcomes: []spool.Outcome{{Code: 450}}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		again := open(t, journal.Options{Dir: "sim", FS: sim.Copy().FS()})
		defer again.Close()
		again.Find(bg, spool.Query{}, func(sum spool.Summary) bool {
			if !sum.Held || sum.Attempts != 1 {
				t.Errorf("%+v", sum)
			}
			return true
		})
	})
}

// TestUnreadableIsNotDamaged: a running spool whose disk fails to open or to
// read hands out nothing, says so, and hands out everything once it works
// again.
func TestUnreadableIsNotDamaged(t *testing.T) {
	for _, op := range []simdisk.Op{simdisk.OpOpen, simdisk.OpRead} {
		synctest.Test(t, func(t *testing.T) {
			events := &recorder{}
			s, sim := simulated(t, func(o *journal.Options) { o.BigBody, o.Events = 1<<10, events.tell })
			want := []spool.ID{put(t, s, simple("a"), make([]byte, 100)), put(t, s, simple("a"), make([]byte, 3000))}
			faults := 0
			sim.SetFault(func(o simdisk.Op, _ string) error {
				if o != op {
					return nil
				}
				faults++
				return syscall.EIO
			})
			read := func() (whole int) {
				for _, id := range want {
					c, err := s.Content(bg, id)
					if errors.Is(err, spool.ErrDamaged) {
						t.Error(err)
					}
					if err != nil {
						continue
					}
					if n, err := c.ReadAt(make([]byte, c.Size()), 0); err == nil && int64(n) == c.Size() {
						whole++
					}
					c.Close()
				}
				return whole
			}
			ds, err := s.Claim(bg, leased(s, "a"), time.Now(), 10, later)
			if whole := read(); whole == len(want) || faults == 0 || op == simdisk.OpRead && (len(ds) > 0 || events.count("unread") != 1) {
				t.Errorf("%s: %d faults, %d claimed, %d whole, %v", op, faults, len(ds), whole, err)
			}
			for _, d := range ds {
				s.Settle(bg, d, spool.Settlement{Due: time.Now()})
			}
			d, err := s.Take(bg, want[0], 0)
			if op == simdisk.OpRead && (err == nil || errors.Is(err, spool.ErrDamaged)) {
				t.Errorf("taken: %v", err)
			}
			if err == nil {
				s.Settle(bg, d, spool.Settlement{Due: time.Now()})
			}
			sim.SetFault(nil)
			time.Sleep(2 * time.Minute)
			if whole := read(); whole != len(want) || len(events.aside) > 0 {
				t.Errorf("%s: %d are whole afterwards, set aside %q", op, whole, events.aside)
			}
			if ds, err := s.Claim(bg, leased(s, "a"), time.Now(), 10, later); err != nil || len(ds) != len(want) {
				t.Errorf("%s: %d can be claimed afterwards, %v", op, len(ds), err)
			}
		})
	}
}

// TestUnreadableBlocksNobody: a message that the disk cannot read is in
// nobody's way, also where one is claimed at a time.
func TestUnreadableBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := &recorder{}
		s, sim := simulated(t, func(o *journal.Options) { o.Events = events.tell })
		put(t, s, simple("a"), nil)
		time.Sleep(time.Second)
		second := put(t, s, simple("a"), nil)
		bad := true // the first place that is read: the first message
		sim.SetFault(func(o simdisk.Op, _ string) error {
			if o != simdisk.OpRead || !bad {
				return nil
			}
			bad = false
			return syscall.EIO
		})
		if ds, err := s.Claim(bg, leased(s, "a"), time.Now(), 1, later); len(ds) > 0 || err != nil {
			t.Fatalf("%d claimed, %v", len(ds), err)
		}
		if next, known, err := s.NextDue(bg, "a"); err != nil || !known || next.After(time.Now()) {
			t.Errorf("the second is due at %v, %t", next, known)
		}
		if got, want := tally(s, time.Now()), (spool.Tally{Due: 1, Deferred: 1}); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
		if err := tallied(s, time.Now()); err != nil {
			t.Error(err)
		}
		if ds := claim(t, s, "a", 1); len(ds) != 1 || ds[0].ID != second {
			t.Errorf("claimed %+v", ds)
		}
		if next, known, err := s.NextDue(bg, "a"); err != nil || !known || time.Until(next) > time.Minute || !next.After(time.Now()) {
			t.Errorf("the first is due at %v, %t", next, known)
		}
		if events.count("unread") != 1 {
			t.Errorf("told %d times", events.count("unread"))
		}
	})
}
