package daemon

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/cmd/eventlog"
	"postern/config"
	"postern/relay/upstream/upstreamtest"
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
			door := startBench(b, fmt.Sprintf("host = %q\nport = %d\n%s", host, port, mode))
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			b.ResetTimer()
			sendBench(b, door, c.clients, c.size)
			for !c.down && !b.Failed() && sink.Messages.Load() < int64(b.N) {
				time.Sleep(time.Millisecond)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// closedPort is a port on which nothing listens.
func closedPort(b *testing.B) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startBench runs a daemon until the benchmark ends, and returns its door.
func startBench(b *testing.B, upstream string) (door string) {
	dir, err := os.MkdirTemp("", "bench") // short: a socket lies in it
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	spool := filepath.Join(dir, "spool")
	if err := os.Mkdir(spool, 0o700); err != nil {
		b.Fatal(err)
	}
	door = fmt.Sprintf("127.0.0.1:%d", closedPort(b))
	path := filepath.Join(dir, "postern.toml")
	text := fmt.Sprintf("hostname = \"bench.example\"\n[spool]\ndir = %q\n[control]\nsocket = %q\n[[listener]]\naddress = %q\n"+
		"[upstream.sink]\nauth = \"none\"\nmax_connections = 50\n%s\n[[route]]\nfrom = [\"*\"]\nupstream = [\"sink\"]\n",
		spool, filepath.Join(dir, "s"), door, upstream)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		b.Fatal(err)
	}
	lines, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		b.Fatal(err)
	}
	log, err := eventlog.New(lines, eventlog.Options{Level: "info", Format: "json"})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{Config: cfg, Log: log, Ready: func() { close(ready) }})
	}()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
		lines.Close()
	})
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		b.Fatal(err)
	}
	return door
}

// sendBench hands in b.N messages over persistent connections.
func sendBench(b *testing.B, door string, clients, size int) {
	hello, mail, rcpt, data := []byte("HELO client.example\r\n"), []byte("MAIL FROM:<from@a.example>\r\n"), []byte("RCPT TO:<to@b.example>\r\n"), []byte("DATA\r\n")
	body := []byte("Subject: benchmark\r\n\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", size/78) + ".\r\n")
	var sent atomic.Int64
	var all sync.WaitGroup
	for range min(clients, b.N) {
		all.Go(func() {
			conn, err := net.Dial("tcp", door)
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
