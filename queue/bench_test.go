package queue

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/spool"
	"postern/spool/journal"
)

// sponge accepts everything at once, chained as a pipelined session does it.
type sponge struct{ ok []spool.Outcome }

func (s sponge) Deliver(ctx context.Context, _ *config.Upstream, feed *Feed) error {
	for {
		d, err := feed.Next(ctx)
		if err != nil {
			return nil
		}
		for d != nil {
			if feed.DotSent(d) != nil {
				feed.Release(d)
				return nil
			}
			next := feed.TryNext()
			feed.Settle(d, s.ok[:len(d.Pending)])
			d = next
		}
	}
}

func openBench(b *testing.B, n int) (*journal.Store, *Queue, *sync.WaitGroup) {
	s, err := journal.Open(journal.Options{Dir: b.TempDir() + "/spool", Create: true})
	if err != nil {
		b.Fatal(err)
	}
	var left sync.WaitGroup
	left.Add(n)
	cfg := newConfig("office")
	cfg.Upstreams["office"].MaxConnections = 8
	q := New(Options{Store: s, Config: cfg, Events: func(e Event) {
		if _, ended := e.(*Finished); ended {
			left.Done()
		}
	},
		Deliverer: sponge{[]spool.Outcome{{Stage: spool.StageDot, Code: 250, Enhanced: "2.0.0", Text: "queued", Remote: "office.example:587"}}}})
	return s, q, &left
}

func putBench(b *testing.B, q *Queue, n, writers int) {
	body := make([]byte, 1024)
	for i := range body {
		body[i] = 'x'
	}
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := w; i < n; i += writers {
				d, err := q.Create(context.Background())
				if err != nil {
					b.Error(err)
					return
				}
				d.Write(body)
				err = d.Commit(bg, &spool.Envelope{From: "a@app.example", Accepted: time.Now(),
					Recipients: []spool.Recipient{{Address: fmt.Sprintf("b%d@example.com", i), Upstreams: []string{"office"}}}})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkDrain is claim to settlement of what is queued, on a spool on disk,
// with an upstream that costs nothing.
func BenchmarkDrain(b *testing.B) {
	s, q, left := openBench(b, b.N)
	defer s.Close()
	putBench(b, q, b.N, 64)
	b.ReportAllocs()
	b.ResetTimer()
	q.Start()
	left.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	q.Stop(context.Background())
}

// BenchmarkThrough is acceptance and delivery at the same time, 10 writers.
func BenchmarkThrough(b *testing.B) {
	s, q, left := openBench(b, b.N)
	defer s.Close()
	q.Start()
	b.ReportAllocs()
	b.ResetTimer()
	putBench(b, q, b.N, 10)
	left.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	q.Stop(context.Background())
}
