package journal_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/spool"
	"postern/spool/journal"
)

// benchFolder lies under POSTERN_BENCH_DIR, where one wants another file
// system measured.
func benchFolder(b *testing.B) string {
	b.Helper()
	base := os.Getenv("POSTERN_BENCH_DIR")
	if base == "" {
		return folder(b)
	}
	dir, err := os.MkdirTemp(base, "spool")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func putBench(b *testing.B, s *journal.Store, env *spool.Envelope, body []byte) {
	d, err := s.Create(bg)
	if err == nil {
		if _, err = d.Write(body); err == nil {
			err = d.Commit(bg, env)
		}
	}
	if err != nil {
		b.Error(err)
	}
}

// BenchmarkPut measures durable messages by number of writers and by size.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1 << 10, 10 << 10, 100 << 10} {
		for _, writers := range []int{1, 16, 64, 128} {
			b.Run(fmt.Sprintf("%dK/%d", size>>10, writers), func(b *testing.B) {
				s := open(b, journal.Options{Dir: benchFolder(b)})
				defer s.Close()
				env := simple("office")
				body := bytes.Repeat([]byte("x"), size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				for range writers {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							putBench(b, s, env, body)
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			})
		}
	}
}

// BenchmarkPutBesideLarge measures how long small mail waits while two
// clients hand in messages of 5 MiB without a pause.
func BenchmarkPutBesideLarge(b *testing.B) {
	s := open(b, journal.Options{Dir: benchFolder(b)})
	defer s.Close()
	large, small := make([]byte, 5<<20), make([]byte, 1<<10)
	var over atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !over.Load() {
				putBench(b, s, simple("office"), large)
				for _, d := range claim(b, s, "office", 10) {
					s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)})
				}
			}
		})
	}
	waits := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for range b.N {
		began := time.Now()
		putBench(b, s, simple("other"), small)
		waits = append(waits, time.Since(began))
	}
	b.StopTimer()
	over.Store(true)
	wg.Wait()
	slices.Sort(waits)
	b.ReportMetric(waits[len(waits)/2].Seconds()*1000, "ms-p50")
	b.ReportMetric(waits[len(waits)*99/100].Seconds()*1000, "ms-p99")
}

// BenchmarkDeliver measures claim, content, dot and settlement of a message.
func BenchmarkDeliver(b *testing.B) {
	s := open(b, journal.Options{Dir: benchFolder(b)})
	defer s.Close()
	fill(b, s, b.N, 1<<10)
	buf := make([]byte, 32<<10)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		ds, err := s.Claim(bg, leased(s, "office"), time.Now(), 1, later)
		if err != nil || len(ds) == 0 {
			b.Fatal(n, err)
		}
		for _, d := range ds {
			c, err := s.Content(bg, d.ID)
			if err != nil {
				b.Fatal(err)
			}
			c.ReadAt(buf, 0)
			c.Close()
			if err := s.DotSent(bg, d); err != nil {
				b.Fatal(err)
			}
			if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)}); err != nil {
				b.Fatal(err)
			}
			n++
		}
	}
}

// fill puts n messages, many at once.
func fill(b *testing.B, s *journal.Store, n, size int) {
	b.Helper()
	body := bytes.Repeat([]byte("x"), size)
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range 256 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				putBench(b, s, simple("office"), body)
			}
		})
	}
	wg.Wait()
}

// resident is the resident memory of the process in bytes; Linux only.
func resident(b *testing.B) (n int64) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip(err)
	}
	fmt.Sscan(string(text), new(int64), &n)
	return n * int64(os.Getpagesize())
}

// benchMessages is 100,000, or what POSTERN_BENCH_MESSAGES says.
func benchMessages() int {
	n := 100_000
	if v := os.Getenv("POSTERN_BENCH_MESSAGES"); v != "" {
		fmt.Sscan(v, &n)
	}
	return n
}

// BenchmarkDeepQueue measures the resident memory that each queued message of
// 1 KiB takes, with what the garbage collector lets lie.
func BenchmarkDeepQueue(b *testing.B) {
	n := benchMessages()
	for range b.N {
		s := open(b, journal.Options{Dir: benchFolder(b)})
		fill(b, s, 1000, 1<<10)
		before := resident(b)
		fill(b, s, n, 1<<10)
		b.ReportMetric(float64(resident(b)-before)/float64(n), "B-resident/msg")
		b.ReportMetric(float64(resident(b))/(1<<20), "MB-resident")
		s.Close()
	}
}

// BenchmarkRecover measures a start with that many messages of 1 KiB queued,
// after a clean end and after a kill.
func BenchmarkRecover(b *testing.B) {
	n := benchMessages()
	dir := benchFolder(b)
	s := open(b, journal.Options{Dir: dir})
	fill(b, s, n, 1<<10)
	s.Close()
	for _, scan := range []bool{false, true} {
		b.Run(map[bool]string{false: "indexed", true: "scanned"}[scan], func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				if scan {
					names, _ := filepath.Glob(filepath.Join(dir, "*.idx"))
					for _, name := range names {
						os.Remove(name)
					}
				}
				b.StartTimer()
				s := open(b, journal.Options{Dir: dir})
				b.StopTimer()
				if r := s.Recovery(); r.Messages != n {
					b.Fatalf("%+v", r)
				}
				s.Close()
				b.StartTimer()
			}
		})
	}
}

// BenchmarkSettleBesideCommits measures how long Settle takes for 16
// deliverers whose upstream answers after up to 3 ms, while 32 clients hand in
// messages of 1 KiB, and 4 messages of 100 KiB, without a pause. It is the time
// between an answer and our record of it, in which the end of the process
// makes a duplicate.
func BenchmarkSettleBesideCommits(b *testing.B) {
	s := open(b, journal.Options{Dir: benchFolder(b)})
	defer s.Close()
	small, large := make([]byte, 1<<10), make([]byte, 100<<10)
	var over atomic.Bool
	var clients, deliverers sync.WaitGroup
	for n := range 36 {
		clients.Go(func() {
			for !over.Load() {
				if n < 32 {
					putBench(b, s, simple("office"), small)
				} else {
					putBench(b, s, simple("office"), large)
				}
			}
		})
	}
	var mu sync.Mutex
	var waits []time.Duration
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	for range 16 {
		deliverers.Go(func() {
			for left.Load() > 0 {
				for _, d := range claim(b, s, "office", 1) {
					if err := s.DotSent(bg, d); err != nil {
						b.Error(err)
					}
					time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
					began := time.Now()
					if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)}); err != nil {
						b.Error(err)
					}
					took := time.Since(began)
					mu.Lock()
					waits = append(waits, took)
					mu.Unlock()
					left.Add(-1)
				}
			}
		})
	}
	deliverers.Wait()
	b.StopTimer()
	over.Store(true)
	clients.Wait()
	slices.Sort(waits)
	at := func(f float64) float64 { return waits[int(f*float64(len(waits)-1))].Seconds() * 1000 }
	var sum time.Duration
	for _, w := range waits {
		sum += w
	}
	b.ReportMetric(sum.Seconds()*1000/float64(len(waits)), "ms-mean")
	b.ReportMetric(at(0.5), "ms-p50")
	b.ReportMetric(at(0.99), "ms-p99")
	b.ReportMetric(at(0.999), "ms-p999")
	b.ReportMetric(at(1), "ms-max")
}

// BenchmarkWritten measures how many bytes one message of 1 KiB makes the
// process write, from acceptance to its end, with 10 clients: as the system
// accounts them to the process. Linux only. What the device gets is in
// /sys/block/DEVICE/stat.
func BenchmarkWritten(b *testing.B) {
	written := func() (n int64) {
		text, err := os.ReadFile("/proc/self/io")
		if err != nil {
			b.Skip(err)
		}
		_, rest, _ := bytes.Cut(text, []byte("\nwrite_bytes: "))
		fmt.Sscan(string(rest), &n)
		return n
	}
	s := open(b, journal.Options{Dir: benchFolder(b)})
	defer s.Close()
	body := make([]byte, 1<<10)
	for i := range body {
		body[i] = byte(i)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	before := written()
	b.ResetTimer()
	for range 10 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				putBench(b, s, simple("office"), body)
				for _, d := range claim(b, s, "office", 1) {
					if err := s.DotSent(bg, d); err != nil {
						b.Error(err)
					}
					if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)}); err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(written()-before)/float64(b.N), "B-written/msg")
}

// BenchmarkLook measures what a status asks of a spool with that many
// messages queued, and a walk through all of them.
func BenchmarkLook(b *testing.B) {
	s := open(b, journal.Options{Dir: benchFolder(b)})
	defer s.Close()
	fill(b, s, benchMessages(), 1<<10)
	b.Run("status", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			tally(s, time.Now())
			usage(s)
			s.Lanes(bg)
		}
	})
	b.Run("walk", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Find(bg, spool.Query{}, func(spool.Summary) bool { return true })
		}
	})
	b.Run("aged", func(b *testing.B) {
		q := spool.Query{Age: &spool.Age{Begun: time.Now().Add(-time.Hour), DueAfter: time.Now().Add(time.Hour), Kept: true}}
		for b.Loop() {
			s.Find(bg, q, func(spool.Summary) bool { return true })
		}
	})
	b.Run("one", func(b *testing.B) {
		var id spool.ID
		s.Find(bg, spool.Query{}, func(sum spool.Summary) bool { id = sum.ID; return false })
		for b.Loop() {
			s.Shares(bg, id)
		}
	})
}
