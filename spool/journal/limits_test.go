package journal_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/spool"
	"postern/spool/journal"
	"postern/spool/simdisk"
)

func TestFullSpoolStillDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := &recorder{}
		s, _ := simulated(t, func(o *journal.Options) { o.MaxSize, o.ZeroAhead, o.Events = 1<<20, -1, ev.tell })
		body := bytes.Repeat([]byte("x"), 20<<10)
		var err error
		n := 0
		for ; err == nil && n < 100; n++ {
			var d spool.Draft
			if d, err = s.Create(bg); err == nil {
				d.Write(body)
				err = d.Commit(bg, simple("a"))
			}
		}
		if !errors.Is(err, spool.ErrFull) || n < 40 || ev.count("full") != 1 || !usage(s).Full {
			t.Fatal(n, err, usage(s))
		}
		for ds := claim(t, s, "a", 10); len(ds) > 0; ds = claim(t, s, "a", 10) {
			for _, d := range ds {
				if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		synctest.Wait()
		put(t, s, simple("a"), body)
		if ev.count("room") != 1 {
			t.Error("nobody heard that there is room again")
		}
	})
}

func TestMinimumOfFreeSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := simulated(t, func(o *journal.Options) { o.MinFree = 1000 })
		put(t, s, simple("a"), nil)
		sim.SetFree(999)
		time.Sleep(time.Second)
		if _, err := s.Create(bg); !errors.Is(err, spool.ErrFull) {
			t.Error(err)
		}
		sim.SetFree(1000)
		time.Sleep(time.Second)
		synctest.Wait() // the keeper looks at the same moment
		put(t, s, simple("a"), nil)
	})
}

// TestReserveHoldsBetweenTwoLooks: the clock stands still, so the disk is
// asked once.
func TestReserveHoldsBetweenTwoLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const free, reserve = 4 << 20, 2 << 20
		s, sim := simulated(t, func(o *journal.Options) { o.MinFree, o.ZeroAhead = reserve, -1 })
		sim.SetFree(free)
		time.Sleep(time.Second)
		before := usage(s).Disk
		body := bytes.Repeat([]byte("x"), 20<<10)
		for i := range 300 {
			d, err := s.Create(bg)
			if err == nil {
				d.Write(body)
				err = d.Commit(bg, simple("a"))
			}
			if errors.Is(err, spool.ErrFull) {
				if grown := usage(s).Disk - before; grown < free-reserve || grown > free-reserve+1<<20 {
					t.Errorf("full after %d messages and %d bytes", i, grown)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		t.Error("the reserve was used up")
	})
}

// TestRecordsAboutSharesAreSyncedSoon cuts the power a while after a settlement.
func TestRecordsAboutSharesAreSyncedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := simulated(t, nil)
		put(t, s, simple("a"), nil)
		if _, err := s.Settle(bg, claim(t, s, "a", 1)[0], spool.Settlement{Outcomes: delivered(1)}); err != nil {
			t.Fatal(err)
		}
		count := func() int {
			again := open(t, journal.Options{Dir: "sim", FS: sim.Cut(simdisk.Nothing, nil).FS()})
			defer again.Close()
			return again.Recovery().Messages
		}
		if n := count(); n != 1 {
			t.Errorf("%d messages after a cut at once: the settlement cost a sync of its own", n)
		}
		time.Sleep(21 * time.Millisecond)
		if n := count(); n != 0 {
			t.Errorf("%d messages after a cut 21 ms later", n)
		}
	})
}

// TestFailedSync wants the client to hear of it, and the journal to go on
// elsewhere without what was refused.
func TestFailedSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := &recorder{}
		s, sim := simulated(t, func(o *journal.Options) { o.Events = ev.tell })
		first := put(t, s, simple("a"), []byte("first"))
		held := claim(t, s, "a", 1)[0]
		failing := true
		sim.SetFault(func(op simdisk.Op, name string) error {
			if op == simdisk.OpSync && failing {
				failing = false
				return syscall.EIO
			}
			return nil
		})
		if _, err := s.Settle(bg, held, spool.Settlement{Due: time.Now().Add(time.Hour), Outcomes: []spool.Outcome{{Code: 450, Text: "busy"}}}); err != nil {
			t.Fatal(err)
		}
		d, _ := s.Create(bg)
		if err := d.Commit(bg, simple("a")); err == nil || !errors.Is(err, syscall.EIO) {
			t.Fatalf("a failed sync was answered with %v", err)
		}
		put(t, s, simple("a"), []byte("third"))
		if ev.count("begun") != 2 || ev.count("failed") != 1 {
			t.Error(ev.counts, ev.failures)
		}
		synctest.Wait()
		again := open(t, journal.Options{Dir: "sim", FS: sim.Cut(simdisk.Everything, nil).FS()})
		defer again.Close()
		if r := again.Recovery(); r.Messages != 2 {
			t.Errorf("%+v", r)
		}
		detail, err := again.Detail(bg, first)
		if err != nil || detail.Recipients[0].Last == nil || detail.Recipients[0].Last.Text != "busy" {
			t.Errorf("%+v %v", detail, err)
		}
	})
}

// TestFullDisk: a message doesn't fit, what becomes of the others is still
// recorded, and nothing is left of the refused one.
func TestFullDisk(t *testing.T) {
	s, sim := simulated(t, nil)
	put(t, s, simple("a"), []byte("first"))
	sim.SetFree(0)
	sim.SetFault(func(op simdisk.Op, name string) error {
		if op == simdisk.OpWrite && strings.HasSuffix(name, ".seg") {
			sim.SetFaultLocked(nil)
			return syscall.ENOSPC
		}
		return nil
	})
	d, _ := s.Create(bg)
	d.Write(bytes.Repeat([]byte("x"), 3000))
	if err := d.Commit(bg, simple("a")); !errors.Is(err, spool.ErrFull) {
		t.Fatal(err)
	}
	if !usage(s).Full { // whatever the limits say
		t.Error("nobody is told that the disk is full")
	}
	for _, d := range claim(t, s, "a", 5) {
		if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)}); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	again := open(t, journal.Options{Dir: "sim", FS: sim.Copy().FS()})
	defer again.Close()
	if r := again.Recovery(); r.Messages != 0 || r.SetAside != 0 || r.TornBytes != 0 {
		t.Errorf("%+v", r)
	}
}

// deliverAll settles everything, whoever is claimed at a time.
func deliverAll(t *testing.T, s *journal.Store) (n int) {
	t.Helper()
	for ds := claim(t, s, "a", 10); len(ds) > 0; ds = claim(t, s, "a", 10) {
		for _, d := range ds {
			if err := s.DotSent(bg, d); err != nil {
				t.Fatal(n, err)
			}
			if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)}); err != nil {
				t.Fatal(n, err)
			}
			n++
		}
	}
	return n
}

// fillUp hands in messages until the spool takes no more.
func fillUp(t *testing.T, s *journal.Store, size int) (n int) {
	t.Helper()
	for ; n < 1e6; n++ {
		d, err := s.Create(bg)
		if err == nil {
			d.Write(make([]byte, size))
			err = d.Commit(bg, simple("a"))
		}
		if errors.Is(err, spool.ErrFull) {
			return n
		}
		if err != nil {
			t.Fatal(n, err)
		}
	}
	t.Fatal("it is never full")
	return n
}

// TestFullToTheLastByte: without any limit the spool fills the disk all by
// itself, delivers everything nevertheless, and takes messages again; also if
// it is restarted on the full disk.
func TestFullToTheLastByte(t *testing.T) {
	for name, restart := range map[string]bool{"running": false, "restarted": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := simdisk.New()
				sim.SetRoom(1 << 20)
				opts := journal.Options{Dir: "sim", FS: sim.FS(), ZeroAhead: 4 << 10, Reserve: 256 << 10}
				s := open(t, opts)
				defer func() { s.Close() }()
				synctest.Wait()
				for round := range 3 {
					n := fillUp(t, s, 1000)
					if n < 500 || !usage(s).Full {
						t.Fatalf("round %d: full after %d, %+v", round, n, usage(s))
					}
					if restart {
						s.Close()
						opts.FS = sim.FS()
						s = open(t, opts)
					}
					if got := deliverAll(t, s); got != n {
						t.Fatalf("round %d: delivered %d of %d", round, got, n)
					}
					time.Sleep(time.Second)
					if _, err := s.Create(bg); err != nil {
						synctest.Wait() // the keeper was told by that
					}
				}
				put(t, s, simple("a"), nil)
			})
		})
	}
}

// TestNoRoomToCopy: where copying forward finds no room, it is tried again each
// second and not at once, however worth while it is; and it goes on with the
// next segment once there is room.
func TestNoRoomToCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, ev := simdisk.New(), &recorder{}
		opts := journal.Options{Dir: "sim", FS: sim.FS(), SegmentSize: 6 << 10, ZeroAhead: -1, Reserve: 1 << 10, Slack: 1 << 30}
		s := open(t, opts)
		for range 40 {
			put(t, s, simple("kept"), make([]byte, 100))
			put(t, s, simple("gone"), make([]byte, 1400))
		}
		for _, d := range claim(t, s, "gone", 40) {
			if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)}); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()

		var failing atomic.Bool
		var failed atomic.Int64
		failing.Store(true)
		var last string // only the store's goroutines ask, one at a time
		sim.SetFault(func(op simdisk.Op, name string) error {
			if op != simdisk.OpWrite || !strings.HasSuffix(name, ".seg") || !failing.Load() {
				return nil
			}
			if name > last { // its header has room
				last = name
				return nil
			}
			if failed.Add(1) > 1000 {
				failing.Store(false) // an endless loop ends, for the test to tell of it
			}
			return syscall.ENOSPC
		})
		opts.FS, opts.Slack, opts.Events = sim.FS(), 1<<10, ev.tell
		s = open(t, opts)
		defer s.Close()
		synctest.Wait()
		if failed.Load() == 0 {
			t.Fatal("nothing was to be copied")
		}
		time.Sleep(20 * time.Second)
		if n := failed.Load(); n > 100 {
			t.Errorf("%d writes failed within 20 s", n)
		}
		failing.Store(false)
		before := ev.count("moved")
		for range 10 { // a segment begins, which wakes the keeper
			put(t, s, simple("gone"), make([]byte, 1400))
		}
		synctest.Wait()
		if ev.count("moved") == before {
			t.Error("it does not go on")
		}
	})
}

// TestReclaim: settled messages make room, live ones are copied forward with
// all that is known of them.
func TestReclaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := &recorder{}
		s, sim := simulated(t, func(o *journal.Options) {
			o.SegmentSize, o.Slack, o.ZeroAhead, o.Events = 32<<10, 64<<10, -1, ev.tell
		})
		env := full()
		env.Accepted = time.Now()
		keep := put(t, s, env, []byte("keep me"))
		d, err := s.Take(bg, keep, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Settle(bg, d, spool.Settlement{Due: time.Now().Add(100 * time.Hour), Failover: 1, Outcomes: []spool.Outcome{
			{Code: 550, Text: "no such user", Verdict: spool.Bounced}, {Code: 450, Text: "busy"}}})
		if err != nil {
			t.Fatal(err)
		}
		before, err := s.Detail(bg, keep)
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			put(t, s, simple("x"), make([]byte, 1000))
			for _, d := range claim(t, s, "x", 1) {
				s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)})
			}
		}
		synctest.Wait()
		if u := usage(s); u.Disk > 150<<10 || ev.count("reclaimed") < 5 {
			t.Errorf("%+v %v", u, ev.counts)
		}
		for range 2 {
			after, err := s.Detail(bg, keep)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range after.Recipients {
				b := before.Recipients[i]
				if r.Status != b.Status || r.Upstream != b.Upstream || !r.Due.Equal(b.Due) || (r.Last == nil) != (b.Last == nil) || r.Last != nil && *r.Last != *b.Last {
					t.Errorf("recipient %d is %+v, was %+v", i, r, b)
				}
			}
			if string(read(t, s, keep)) != "keep me" {
				t.Error("content differs")
			}
			s.Close()
			s = open(t, journal.Options{Dir: "sim", FS: sim.FS()})
			defer s.Close()
		}
	})
}

// TestUnreadableSegmentStays: a segment that the disk cannot read keeps its
// messages and its room, and that is told; once it can be read again, it goes.
func TestUnreadableSegmentStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := &recorder{}
		s, sim := simulated(t, func(o *journal.Options) {
			o.SegmentSize, o.Slack, o.ZeroAhead, o.Events = 32<<10, 64<<10, -1, ev.tell
		})
		keep := put(t, s, simple("a"), []byte("keep me"))
		first := sim.Files()
		sim.SetFault(func(op simdisk.Op, name string) error {
			if op == simdisk.OpRead && slices.Contains(first, name) {
				return syscall.EIO
			}
			return nil
		})
		fill := func(n int) {
			for range n {
				put(t, s, simple("x"), make([]byte, 1000))
				for _, d := range claim(t, s, "x", 1) {
					s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)})
				}
			}
			synctest.Wait()
		}
		fill(300)
		if ev.count("reclaimed") > 0 || ev.count("unread") != 1 {
			t.Errorf("%v", ev.counts)
		}
		sim.SetFault(nil)
		fill(50)
		if ev.count("reclaimed") < 5 || string(read(t, s, keep)) != "keep me" || len(ev.aside) > 0 {
			t.Errorf("%v, set aside %q", ev.counts, ev.aside)
		}
	})
}

// However small messages are, there is a number beyond which no more are taken.
func TestMaxMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := &recorder{}
		s, _ := simulated(t, func(o *journal.Options) { o.MaxMessages, o.Events = 3, ev.tell })
		for range 3 {
			put(t, s, simple("a"), nil)
		}
		if _, err := s.Create(bg); !errors.Is(err, spool.ErrFull) || ev.count("full") != 1 {
			t.Fatal(err)
		}
		if u := usage(s); !u.Full || u.MaxMessages != 3 {
			t.Error(u)
		}
		if _, err := s.Settle(bg, claim(t, s, "a", 1)[0], spool.Settlement{Outcomes: delivered(1)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		put(t, s, simple("a"), nil)
		if ev.count("room") != 1 {
			t.Error("nobody heard that there is room again")
		}
	})
}
