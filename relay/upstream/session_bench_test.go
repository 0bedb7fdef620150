package upstream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// benchFeed hands out the same message n times.
type benchFeed struct {
	left, delivered int
	d               spool.Delivery
	body            *bytes.Reader
}

func newBenchFeed(n, size, rcpts int) *benchFeed {
	body := "Subject: benchmark\r\n\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", size/78)
	f := &benchFeed{left: n, body: bytes.NewReader([]byte(body))}
	f.d = spool.Delivery{ID: 1, Envelope: &spool.Envelope{From: "from@a.example"}, Size: int64(len(body))}
	for i := range rcpts {
		f.d.Envelope.Recipients = append(f.d.Envelope.Recipients, spool.Recipient{Address: fmt.Sprintf("r%d@b.example", i)})
		f.d.Pending = append(f.d.Pending, i)
	}
	return f
}

func (f *benchFeed) TryNext() *spool.Delivery {
	if f.left == 0 {
		return nil
	}
	f.left--
	return &f.d
}

func (f *benchFeed) Next(context.Context) (*spool.Delivery, error) {
	if d := f.TryNext(); d != nil {
		return d, nil
	}
	return nil, io.EOF
}

type benchContent struct{ *bytes.Reader }

func (benchContent) Close() error                                   { return nil }
func (f *benchFeed) Content(*spool.Delivery) (spool.Content, error) { return benchContent{f.body}, nil }
func (f *benchFeed) DotSent(*spool.Delivery) error                  { return nil }
func (f *benchFeed) Again(*spool.Delivery) bool                     { return true }
func (f *benchFeed) Release(*spool.Delivery)                        {}
func (f *benchFeed) Leave()                                         {}
func (f *benchFeed) Settle(_ *spool.Delivery, outcomes []spool.Outcome) {
	for i := range outcomes {
		if outcomes[i].Code == 250 && outcomes[i].Stage == spool.StageDot {
			f.delivered++
		}
	}
}

// BenchmarkSession is messages through one session to a sink in this process,
// which takes its share of the time.
func BenchmarkSession(b *testing.B) {
	ca := upstreamtest.NewAuthority(b)
	conf := &tls.Config{Certificates: []tls.Certificate{ca.Issue(b, "127.0.0.1")}}
	for _, c := range []struct {
		name        string
		size, rcpts int
		rtt         time.Duration
		tls, plain  bool
	}{
		{name: "1KB", size: 1 << 10, rcpts: 1},
		{name: "1KB/TLS", size: 1 << 10, rcpts: 1, tls: true},
		{name: "1KB/not pipelined", size: 1 << 10, rcpts: 1, plain: true},
		{name: "1KB/100 recipients", size: 1 << 10, rcpts: 100},
		{name: "10KB", size: 10 << 10, rcpts: 1},
		{name: "100KB", size: 100 << 10, rcpts: 1},
		{name: "1MB", size: 1 << 20, rcpts: 1},
		{name: "1KB/20ms", size: 1 << 10, rcpts: 1, rtt: 20 * time.Millisecond},
		{name: "1KB/20ms/not pipelined", size: 1 << 10, rcpts: 1, rtt: 20 * time.Millisecond, plain: true},
	} {
		b.Run(c.name, func(b *testing.B) {
			sink := &upstreamtest.Sink{RTT: c.rtt, Extensions: []string{"PIPELINING", "SIZE 100000000"}}
			up := &config.Upstream{TLS: config.TLSOff, Account: config.Account{Name: "bench", Auth: "none"}}
			if c.plain {
				sink.Extensions = sink.Extensions[1:]
			}
			if c.tls {
				sink.TLS, up.TLS, up.CAFile = conf, config.TLSVerify, ca.File(b, b.TempDir())
			}
			up.Host, up.Port = sink.Start(b)
			feed := newBenchFeed(b.N, c.size, c.rcpts)
			b.SetBytes(feed.d.Size)
			b.ReportAllocs()
			b.ResetTimer()
			if err := (&upstream.Dialer{}).Deliver(b.Context(), up, feed); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if feed.delivered != b.N*c.rcpts {
				b.Fatalf("%d of %d delivered", feed.delivered, b.N*c.rcpts)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
