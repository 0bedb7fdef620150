package journal_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"postern/spool"
	"postern/spool/journal"
	"postern/spool/simdisk"
)

func simulated(t testing.TB, change func(*journal.Options)) (*journal.Store, *simdisk.Disk) {
	t.Helper()
	sim := simdisk.New()
	opts := journal.Options{Dir: "sim", FS: sim.FS(), ZeroAhead: 4 << 10, Reserve: 4 << 10}
	if change != nil {
		change(&opts)
	}
	s := open(t, opts)
	t.Cleanup(func() { s.Close() })
	return s, sim
}

// TestClaimOrder compares what Claim hands out with a sorted list.
func TestClaimOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sim := simdisk.New()
		s := open(t, journal.Options{Dir: "sim", FS: sim.FS(), ZeroAhead: -1})
		defer s.Close()
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		type waiting struct {
			id       spool.ID
			priority int
			due      time.Time
		}
		var model []waiting
		for range rapid.IntRange(1, 20).Draw(rt, "messages") {
			w := waiting{priority: rapid.IntRange(-2, 2).Draw(rt, "priority"),
				due: start.Add(time.Duration(rapid.IntRange(0, 5).Draw(rt, "minutes")) * time.Minute)}
			env := simple("up")
			env.Accepted, env.Priority = w.due, w.priority
			w.id = put(t, s, env, nil)
			model = append(model, w)
		}
		if due, ok, err := s.NextDue(bg, "up"); err != nil || !ok || !due.Equal(slices.MinFunc(model, func(a, b waiting) int { return a.due.Compare(b.due) }).due) {
			rt.Fatalf("next due %v %v", due, ok)
		}
		for now := start; len(model) > 0; now = now.Add(time.Minute) {
			limit := rapid.IntRange(1, 4).Draw(rt, "limit")
			var want []spool.ID
			slices.SortStableFunc(model, func(a, b waiting) int {
				if a.priority != b.priority {
					return b.priority - a.priority
				}
				return a.due.Compare(b.due)
			})
			model = slices.DeleteFunc(model, func(w waiting) bool {
				if w.due.After(now) || len(want) == limit {
					return false
				}
				want = append(want, w.id)
				return true
			})
			ds, err := s.Claim(bg, leased(s, "up"), now, limit, later)
			if err != nil {
				rt.Fatal(err)
			}
			var got []spool.ID
			for _, d := range ds {
				got = append(got, d.ID)
			}
			if !slices.Equal(got, want) {
				rt.Fatalf("at %v got %v, want %v", now, got, want)
			}
		}
		if _, ok, err := s.NextDue(bg, "up"); ok || err != nil {
			rt.Fatal("claimed shares are due")
		}
	})
}

func TestOnWorkTellsWhatIsEarlier(t *testing.T) { synctest.Test(t, onWorkTellsWhatIsEarlier) }

func onWorkTellsWhatIsEarlier(t *testing.T) {
	s, sim := simulated(t, nil)
	var mu sync.Mutex
	var told []string
	wake := func(upstream string, due time.Time) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, upstream+" "+due.UTC().Format("15:04"))
	}
	expect := func(want ...string) {
		t.Helper()
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(told)
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		told = nil
	}
	s.OnWork(wake)
	at := time.Date(1999, 1, 1, 10, 0, 0, 0, time.UTC) // the bubble's clock begins in 2000
	env := func(at time.Time, up ...string) *spool.Envelope {
		e := simple(up...)
		e.Accepted = at
		return e
	}
	put(t, s, env(at, "a"), nil)
	expect("a 10:00")
	put(t, s, env(at.Add(time.Minute), "a"), nil)
	expect()
	put(t, s, env(at.Add(-time.Minute), "a"), nil)
	expect("a 09:59")
	held := env(at, "b")
	held.Hold = true
	id := put(t, s, held, nil)
	expect()
	d, err := s.Take(bg, id, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Settle(bg, d, spool.Settlement{Due: at}); err != nil {
		t.Fatal(err)
	}
	expect("b 10:00")
	// A failed attempt whose next one is with another upstream.
	id = put(t, s, env(at, "c", "d"), nil)
	expect("c 10:00")
	if d, err = s.Take(bg, id, 0); err != nil {
		t.Fatal(err)
	}
	_, err = s.Settle(bg, d, spool.Settlement{Due: at, Failover: 1, Outcomes: []spool.Outcome{{Code: 451}}})
	if err != nil {
		t.Fatal(err)
	}
	expect("d 10:00")
	s.Close()
	again := open(t, journal.Options{Dir: "sim", FS: sim.FS()})
	defer again.Close()
	again.OnWork(wake)
	expect("a 09:59", "b 10:00", "d 10:00")
}

// TestAttemptsAndDoubt follows attempts, releases, dots and process ends.
func TestAttemptsAndDoubt(t *testing.T) {
	s, sim := simulated(t, nil)
	id := put(t, s, simple("up"), []byte("x"))
	one := func() *spool.Delivery {
		t.Helper()
		ds, err := s.Claim(bg, leased(s, "up"), time.Now().Add(48*time.Hour), 1, later)
		if err != nil || len(ds) != 1 {
			t.Fatal(ds, err)
		}
		return ds[0]
	}
	settle := func(d *spool.Delivery, o ...spool.Outcome) {
		t.Helper()
		if _, err := s.Settle(bg, d, spool.Settlement{Due: time.Now(), Outcomes: o}); err != nil {
			t.Fatal(err)
		}
	}
	d := one()
	settle(d) // a release is no attempt
	before, err := s.Detail(bg, id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)}); err != nil {
		t.Errorf("settled twice: %v", err)
	}
	if after, err := s.Detail(bg, id); err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("settled twice: %+v, %v, was %+v", after, err, before)
	}
	if err := s.DotSent(bg, d); !errors.Is(err, spool.ErrLost) {
		t.Errorf("a dot after the claim: %v", err)
	}
	if d = one(); d.Attempt != 1 || d.InDoubt {
		t.Errorf("%+v", d)
	}
	if err := s.DotSent(bg, d); err != nil {
		t.Fatal(err)
	}
	settle(d, spool.Outcome{Stage: spool.StageDot, Code: 451})
	if d = one(); d.Attempt != 2 || d.InDoubt {
		t.Errorf("the dot was answered: %+v", d)
	}
	if err := s.DotSent(bg, d); err != nil {
		t.Fatal(err)
	}
	// The process ends now.
	again := open(t, journal.Options{Dir: "sim", FS: sim.Copy().FS()})
	defer again.Close()
	if r := again.Recovery(); r.InDoubt != 1 || r.Messages != 1 {
		t.Errorf("%+v", r)
	}
	for _, err := range []error{journal.Settle(again, d, spool.Settlement{Outcomes: delivered(1)}), again.DotSent(bg, d)} {
		if !errors.Is(err, spool.ErrLost) {
			t.Errorf("a claim of another process: %v", err)
		}
	}
	ds, err := again.Claim(bg, leased(again, "up"), time.Now(), 1, later)
	if err != nil || len(ds) != 0 {
		t.Errorf("due before the time that was recorded: %v %v", ds, err)
	}
	if ds, err = again.Claim(bg, leased(again, "up"), time.Now().Add(50*time.Hour), 1, later); err != nil || len(ds) != 1 || ds[0].Attempt != 3 || !ds[0].InDoubt || ds[0].ID != id {
		t.Errorf("%+v %v", ds, err)
	}
	// An answer to a later attempt doesn't tell about the one in doubt.
	if _, err := again.Settle(bg, ds[0], spool.Settlement{Due: time.Now(), Outcomes: []spool.Outcome{{Stage: spool.StageConnect, Cause: "refused"}}}); err != nil {
		t.Fatal(err)
	}
	if ds, err = again.Claim(bg, leased(again, "up"), time.Now().Add(time.Second), 1, later); err != nil || len(ds) != 1 || !ds[0].InDoubt {
		t.Errorf("%+v %v", ds, err)
	}
}

func prefixed(lines string) *spool.Envelope {
	env := simple("a")
	env.Prefix = []byte(lines)
	return env
}

func TestInvalidEnvelopes(t *testing.T) {
	s, _ := simulated(t, nil)
	for _, env := range []*spool.Envelope{
		{},
		{Recipients: []spool.Recipient{{Address: "a@b"}}},
		{Recipients: []spool.Recipient{{Address: "a@b", Upstreams: slices.Repeat([]string{"u"}, 256)}}},
		prefixed(strings.Repeat("x", 64<<10-1) + "\r\n"), prefixed("A: b"), prefixed("A: b\n"), prefixed("A: b\r\n\r\n"), prefixed("\r\n"), prefixed("A\r: b\r\n"),
	} {
		d, err := s.Create(bg)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Commit(bg, env); !errors.Is(err, spool.ErrInvalid) {
			t.Errorf("%+v: %v", env, err)
		}
		if err := d.Commit(bg, simple("a")); err == nil {
			t.Error("committed twice")
		}
	}
	if u := usage(s); u.Messages != 0 {
		t.Errorf("%+v", u)
	}
}

func TestIDsGrow(t *testing.T) {
	s, sim := simulated(t, nil)
	var last spool.ID
	for i := range 100 {
		if i%10 == 0 {
			s.Close()
			s = open(t, journal.Options{Dir: "sim", FS: sim.FS(), ZeroAhead: -1})
			defer s.Close()
		}
		id := put(t, s, simple("a"), nil)
		if id <= last || id.String() <= last.String() {
			t.Fatalf("%s after %s", id, last)
		}
		last = id
		if back, err := spool.ParseID(id.String()); back != id || err != nil {
			t.Fatal(back, err)
		}
		for _, d := range claim(t, s, "a", 5) {
			s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)})
		}
	}
	for _, bad := range []string{"", "0", "0000000000000", "g000000000000", "000000000000u", "00000000000001"} {
		if id, err := spool.ParseID(bad); err == nil {
			t.Errorf("%q: %v", bad, id)
		}
	}
}

// TestEverybodyAtOnce has clients, deliverers and an operator at work
// together, and at the end every message settled once.
func TestEverybodyAtOnce(t *testing.T) {
	s := open(t, journal.Options{Dir: folder(t), SegmentSize: 64 << 10, Slack: 32 << 10, BigBody: 8 << 10})
	defer s.Close()
	const writers, each = 8, 30
	var mu sync.Mutex
	settled := map[spool.ID]int{}
	var wg, writing sync.WaitGroup
	for n := range writers {
		writing.Add(1)
		wg.Go(func() {
			defer writing.Done()
			for i := range each {
				put(t, s, simple(fmt.Sprint("up", i%3)), make([]byte, (n*997+i*131)%(10<<10)))
			}
		})
	}
	over := make(chan struct{})
	go func() { writing.Wait(); close(over) }()
	for n := range 3 {
		wg.Go(func() {
			for ended := false; ; {
				ds := claim(t, s, fmt.Sprint("up", n), 4)
				if len(ds) == 0 && ended {
					return
				}
				for _, d := range ds {
					c, err := s.Content(bg, d.ID)
					if err != nil || c.Size() != d.Size {
						t.Error(err)
						return
					}
					c.Close()
					if s.DotSent(bg, d) != nil || journal.Settle(s, d, spool.Settlement{Outcomes: delivered(1)}) != nil {
						t.Error("not settled")
					}
					mu.Lock()
					settled[d.ID]++
					mu.Unlock()
				}
				select {
				case <-over:
					ended = true
				default:
				}
				s.Find(bg, spool.Query{}, func(spool.Summary) bool { return true })
			}
		})
	}
	wg.Wait()
	if len(settled) != writers*each {
		t.Errorf("%d of %d messages settled", len(settled), writers*each)
	}
	for id, n := range settled {
		if n != 1 {
			t.Errorf("%s settled %d times", id, n)
		}
	}
	if u := usage(s); u.Messages != 0 || u.Live != 0 {
		t.Errorf("%+v", u)
	}
}

// A holder may settle a part of a share: what it leaves out stays owed, over a
// restart, too.
func TestPartOfAShare(t *testing.T) {
	dir := folder(t)
	s := open(t, journal.Options{Dir: dir})
	env := simple("up")
	env.Recipients = nil
	for i := range 4 {
		env.Recipients = append(env.Recipients, spool.Recipient{Address: fmt.Sprintf("r%d@example.com", i), Upstreams: []string{"up"}})
	}
	id := put(t, s, env, []byte("body\r\n"))
	for _, step := range []struct {
		names  []int // of those that are owed
		status spool.Status
		owed   []int // afterwards
	}{
		{[]int{1}, spool.Delivered, []int{0, 2, 3}},
		{[]int{3}, spool.Pending, []int{0, 2, 3}},
		{[]int{0, 3}, spool.Bounced, []int{2}},
	} {
		d := claim(t, s, "up", 1)[0]
		d.Pending = step.names
		outs := delivered(len(step.names))
		for i := range outs {
			outs[i].Verdict = step.status
		}
		if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: outs}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, journal.Options{Dir: dir})
		d = claim(t, s, "up", 1)[0]
		if !slices.Equal(d.Pending, step.owed) {
			t.Errorf("after %v: %v are owed, want %v", step.names, d.Pending, step.owed)
		}
		if _, err := s.Settle(bg, d, spool.Settlement{}); err != nil {
			t.Fatal(err)
		}
	}
	d := claim(t, s, "up", 1)[0]
	if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Detail(bg, id); !errors.Is(err, spool.ErrNotFound) {
		t.Errorf("the message is still there: %v", err)
	}
	s.Close()
}
