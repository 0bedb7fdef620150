package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/spool"
	"postern/spool/journal"
	"postern/spool/simdisk"
)

// keyed is an envelope with a key that ends after so long.
func keyed(name string, life time.Duration) *spool.Envelope {
	env := simple("a")
	env.Key = &spool.Key{Name: spool.NameKey("me", name), Digest: uint64(len(name)), Until: time.Now().Add(life), Share: 7}
	return env
}

// repeated wants a key to be that of a message.
func repeated(t *testing.T, s *journal.Store, k *spool.Key, id spool.ID) {
	t.Helper()
	var r *spool.Repeated
	if err := s.Known(bg, k); !errors.As(err, &r) || *r != (spool.Repeated{ID: id, Same: true}) {
		t.Errorf("%v, want a repetition of %s", err, id)
	}
}

// finish delivers everything that goes by "a".
func finish(t *testing.T, s *journal.Store) {
	t.Helper()
	for _, d := range claim(t, s, "a", 1000) {
		if err := s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKeysOutliveTheirSegments: keys are carried over when the segment of their
// message goes, again and again, and are found by a start with indexes and
// without. When they have ended, what has held them goes.
func TestKeysOutliveTheirSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := &recorder{}
		s, sim := simulated(t, smallSegments(ev))
		envs := map[spool.ID]*spool.Envelope{}
		for n := range 50 {
			env := keyed(fmt.Sprint(n), 24*time.Hour+time.Duration(n)*time.Minute)
			envs[put(t, s, env, make([]byte, 100*n))] = env
		}
		short := keyed("short", time.Hour)
		put(t, s, short, nil)
		look := func(when string) {
			t.Helper()
			for id, env := range envs {
				repeated(t, s, env.Key, id)
			}
			if t.Failed() {
				t.Fatal(when)
			}
		}
		look("at once")
		finish(t, s)
		for round := range 3 {
			copyAllForward(t, s)
			if ev.count("carried") <= round {
				t.Errorf("carried over %d times", ev.count("carried"))
			}
			look("carried over")
			if s = reopen(t, s, sim, smallSegments(ev)); s.Recovery().Keys != len(envs)+1 || s.Recovery().Scanned > 0 {
				t.Errorf("%+v", s.Recovery())
			}
			look("after a restart")
		}
		s.Close()
		for _, name := range sim.Files() {
			if strings.HasSuffix(name, ".idx") {
				sim.FS().Remove(name)
			}
		}
		if s = reopen(t, s, sim, smallSegments(ev)); s.Recovery().Scanned == 0 {
			t.Errorf("%+v", s.Recovery())
		}
		look("without indexes")
		time.Sleep(2 * time.Hour)
		if err := s.Known(bg, short.Key); err != nil {
			t.Errorf("after its end: %v", err)
		}
		if id := put(t, s, keyed("short", time.Hour), nil); id != 0 {
			repeated(t, s, short.Key, id)
		}
		finish(t, s)
		look("after the end of another")
		time.Sleep(48 * time.Hour)
		copyAllForward(t, s)
		if u := usage(s); u.Messages != 0 || u.Live != 0 {
			t.Errorf("%+v", u)
		}
		for _, env := range envs {
			if err := s.Known(bg, env.Key); err != nil {
				t.Fatalf("after its end: %v", err)
			}
		}
		if s = reopen(t, s, sim, nil); s.Recovery().Keys != 0 {
			t.Errorf("%+v", s.Recovery())
		}
	})
}

// TestKeyIsUsedAgain: after its end a key is that of another message, also
// where the record of the first is found beside that of the second, or was
// carried over behind it.
func TestKeyIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := &recorder{}
		s, sim := simulated(t, smallSegments(ev))
		env := keyed("one", time.Minute)
		put(t, s, env, nil)
		time.Sleep(time.Minute)
		again := keyed("one", time.Hour)
		id := put(t, s, again, nil)
		repeated(t, s, again.Key, id)
		s = reopen(t, s, sim, smallSegments(ev))
		repeated(t, s, again.Key, id)
		finish(t, s)
		copyAllForward(t, s)
		repeated(t, s, again.Key, id)
		s = reopen(t, s, sim, smallSegments(ev))
		repeated(t, s, again.Key, id)
	})
}

// TestKeysOfAFailedSync are copied forward with their messages, and those of
// messages that were refused are free.
func TestKeysOfAFailedSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := simulated(t, nil)
		env := keyed("durable", time.Hour)
		id := put(t, s, env, nil)
		finish(t, s)
		failing(sim, syscall.EIO, "sync .seg")
		refused := keyed("refused", time.Hour)
		d, err := s.Create(bg)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Commit(bg, refused); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		if err := s.Known(bg, refused.Key); err != nil {
			t.Error(err)
		}
		second := put(t, s, refused, nil)
		time.Sleep(time.Minute) // for what is copied forward
		rng := rand.New(rand.NewPCG(1, 1))
		for range 20 {
			again := open(t, journal.Options{Dir: "sim", FS: sim.Cut(simdisk.Mixed, rng).FS()})
			repeated(t, again, env.Key, id)
			repeated(t, again, refused.Key, second)
			again.Close()
		}
	})
}

// TestKeysLeaveRoom: a small spool remembers few keys.
func TestKeysLeaveRoom(t *testing.T) {
	s, _ := simulated(t, func(o *journal.Options) { o.MaxSize = 1 << 20 })
	n := 0
	for ; n < 2000; n++ {
		env := keyed(fmt.Sprint(n), time.Hour)
		d, err := s.Create(bg)
		if err == nil {
			err = d.Commit(bg, env)
		}
		if errors.Is(err, spool.ErrManyKeys) {
			break
		}
		if err != nil {
			t.Fatal(n, err)
		}
		finish(t, s)
	}
	if limit := 1 << 20 / 16 / 40; n < limit/2-1 || n > limit/2+1 {
		t.Errorf("%d keys", n)
	}
	put(t, s, simple("a"), nil)
}

// deliverSome delivers what is due, up to a number, and tells whether it was any.
func deliverSome(s *journal.Store) bool {
	ds, _ := s.Claim(bg, leased(s, "a"), time.Now(), 1000, later)
	for _, d := range ds {
		s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)})
	}
	return len(ds) > 0
}

// BenchmarkRecoverKeys opens a spool that remembers many keys, with indexes and
// without: the messages are gone. POSTERN_BENCH_MESSAGES says how many.
func BenchmarkRecoverKeys(b *testing.B) {
	dir := benchFolder(b)
	n := benchMessages()
	opts := journal.Options{Dir: dir, MaxKeys: 4 * n, SegmentSize: 16 << 20, Slack: 16 << 20} // messages go, keys are carried over
	s := open(b, opts)
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := w; i < n; i += 64 {
				if w == 0 {
					deliverSome(s)
				}
				env := simple("a")
				env.Key = &spool.Key{Name: spool.NameKey("me", fmt.Sprint(i)), Until: time.Now().Add(24 * time.Hour)}
				putBench(b, s, env, make([]byte, 100))
			}
		})
	}
	wg.Wait()
	for deliverSome(s) {
	}
	s.Close()
	for _, way := range []string{"indexes", "segments"} {
		b.Run(way, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				if way == "segments" {
					list, _ := filepath.Glob(filepath.Join(dir, "*.idx"))
					for _, name := range list {
						os.Remove(name)
					}
				}
				runtime.GC()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				b.StartTimer()
				s := open(b, opts)
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&after)
				if k := s.Recovery().Keys; k != n {
					b.Fatalf("%d keys of %d", k, n)
				}
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/key")
				s.Close()
				b.StartTimer()
			}
		})
	}
}
