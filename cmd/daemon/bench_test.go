package daemon

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/relay/upstream/upstreamtest"
	"postern/spool/journal"
)

// BenchmarkPipeline is whole messages: over loopback into the daemon, through
// a spool on disk, over loopback to a sink that counts. Clients and sink run
// in this process and take their share of the time, in functions of their own
// in a profile. The clients are simple ones that wait for each reply.
//
// The spool is below TMPDIR: point that at the disk that is to be measured.
func BenchmarkPipeline(b *testing.B) {
	ca := upstreamtest.NewAuthority(b)
	for _, c := range []struct {
		name    string
		size    int
		clients int
		rtt     time.Duration
		tls     bool
		down    bool // nothing listens upstream: acceptance alone
	}{
		{name: "accept/1KB/10", size: 1 << 10, clients: 10, down: true},
		{name: "accept/1KB/100", size: 1 << 10, clients: 100, down: true},
		{name: "1KB/1", size: 1 << 10, clients: 1},
		{name: "1KB/10", size: 1 << 10, clients: 10},
		{name: "1KB/50", size: 1 << 10, clients: 50},
		{name: "10KB/10", size: 10 << 10, clients: 10},
		{name: "100KB/10", size: 100 << 10, clients: 10},
		{name: "1KB-30ms/50", size: 1 << 10, clients: 50, rtt: 30 * time.Millisecond},
		{name: "1KB-TLS/10", size: 1 << 10, clients: 10, tls: true},
	} {
		b.Run(c.name, func(b *testing.B) {
			sink := &upstreamtest.Sink{RTT: c.rtt, Extensions: []string{"PIPELINING", "SIZE 100000000"}}
			mode := `tls = "off"`
			if c.tls {
				sink.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(b, "127.0.0.1")}}
				mode = fmt.Sprintf("tls = \"verify\"\nca_file = %q", ca.File(b, b.TempDir()))
			}
			host, port := sink.Start(b)
			if c.down {
				host, port = "127.0.0.1", closedPort(b)
			}
			address, _ := start(b, fmt.Sprintf("host = %q\nport = %d\n%s", host, port, mode), nil)
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			b.ResetTimer()
			sendBench(b, address, c.clients, c.size)
			for !c.down && !b.Failed() && sink.Messages.Load() < int64(b.N) {
				time.Sleep(time.Millisecond)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkStatus is one look at a relay with 100,000 messages queued, over the
// control socket.
func BenchmarkStatus(b *testing.B) {
	_, socket := start(b, fmt.Sprintf("host = \"127.0.0.1\"\nport = %d\ntls = \"off\"", closedPort(b)), fillBench(b, 100_000))
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	for _, path := range []string{"/v1/status", "/metrics"} {
		b.Run(path[1:], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := client.Get("http://postern" + path)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != http.StatusOK {
					b.Fatal(r.Status, err)
				}
				r.Body.Close()
			}
		})
	}
}

// fillBench queues so many messages.
func fillBench(b *testing.B, messages int) func(*journal.Store) {
	return func(s *journal.Store) {
		var left atomic.Int64
		left.Store(int64(messages))
		var all sync.WaitGroup
		for range 256 {
			all.Go(func() {
				for left.Add(-1) >= 0 {
					queueOne(b, s, "sink", false)
				}
			})
		}
		all.Wait()
	}
}

// sendBench hands in b.N messages over persistent connections.
func sendBench(b *testing.B, address string, clients, size int) {
	hello, mail, rcpt, data := []byte("HELO client.example\r\n"), []byte("MAIL FROM:<from@a.example>\r\n"), []byte("RCPT TO:<to@b.example>\r\n"), []byte("DATA\r\n")
	body := []byte("Subject: benchmark\r\n\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", size/78) + ".\r\n")
	var sent atomic.Int64
	var all sync.WaitGroup
	for range min(clients, b.N) {
		all.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			if !talk(b, conn, in, nil, "220 ") || !talk(b, conn, in, hello, "250 ") {
				return
			}
			for sent.Add(1) <= int64(b.N) {
				if !talk(b, conn, in, mail, "250 ") || !talk(b, conn, in, rcpt, "250 ") ||
					!talk(b, conn, in, data, "354 ") || !talk(b, conn, in, body, "250 ") {
					return
				}
			}
		})
	}
	all.Wait()
}

// talk sends what is to be said and expects one reply line.
func talk(b *testing.B, conn net.Conn, in *bufio.Reader, say []byte, want string) bool {
	if _, err := conn.Write(say); err != nil {
		b.Error(err)
		return false
	}
	line, err := in.ReadSlice('\n')
	if err != nil || !bytes.HasPrefix(line, []byte(want)) {
		b.Errorf("%q, %v; want %s", line, err, want)
		return false
	}
	return true
}
