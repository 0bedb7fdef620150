package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkWaysIn hands messages of 1 KB in to one daemon by every way, over
// eight connections that stay: acceptance alone, since nothing listens
// upstream. An operation is a message.
func BenchmarkWaysIn(b *testing.B) {
	text := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 1<<10/78)
	one, err := json.Marshal(map[string]any{"from": "from@a.example", "to": "to@b.example", "subject": "benchmark", "text": text})
	if err != nil {
		b.Fatal(err)
	}
	batch := "[" + strings.TrimSuffix(strings.Repeat(string(one)+",", 100), ",") + "]"
	const clients = 8
	b.Run("smtp", func(b *testing.B) {
		address, _ := startDown(b)
		b.ResetTimer()
		sendBench(b, address, clients, 1<<10)
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	})
	for _, c := range []struct {
		name, path, kind, body string
		each                   int // messages of a request
	}{
		{"http-raw", "/v1/messages?from=from%40a.example&to=to%40b.example", "message/rfc822", "Subject: benchmark\r\n\r\n" + text, 1},
		{"http-json", "/emails", "application/json", string(one), 1},
		{"http-batch-100", "/emails/batch", "application/json", batch, 100},
	} {
		b.Run(c.name, func(b *testing.B) {
			_, control := startDown(b)
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(filepath.Dir(control), "submit.sock"))
			}}}
			defer client.CloseIdleConnections()
			b.ResetTimer()
			var sent atomic.Int64
			var all sync.WaitGroup
			for range clients {
				all.Go(func() {
					for sent.Add(int64(c.each)) <= int64(max(b.N, c.each)) {
						r, err := client.Post("http://localhost"+c.path, c.kind, strings.NewReader(c.body))
						if err != nil {
							b.Error(err)
							return
						}
						_, _ = io.Copy(io.Discard, r.Body)
						if r.Body.Close(); r.StatusCode != http.StatusOK {
							b.Error(r.Status)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(sent.Load()-int64(clients*c.each))/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// startDown is a daemon whose upstream is away.
func startDown(b *testing.B) (address, control string) {
	return start(b, fmt.Sprintf("host = \"127.0.0.1\"\nport = %d\ntls = \"off\"", closedPort(b)), nil)
}
