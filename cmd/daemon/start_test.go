package daemon

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/cmd/eventlog"
	"postern/config"
	"postern/spool"
	"postern/spool/journal"
)

// queueOne puts a message into a spool.
func queueOne(t testing.TB, s *journal.Store, upstream string, hold bool) {
	d, err := s.Create(context.Background())
	if err == nil {
		err = d.Commit(context.Background(), &spool.Envelope{Accepted: time.Now(), Hold: hold,
			Recipients: []spool.Recipient{{Address: "to@b.example", Upstreams: []string{upstream}}}})
	}
	if err != nil {
		t.Error(err)
	}
}

// start runs a daemon until the test ends, whose spool was filled before; nil:
// it is empty. It returns the address and its control socket.
func start(t testing.TB, upstream string, fill func(*journal.Store)) (address, socket string) {
	dir, err := os.MkdirTemp("", "daemon") // short: a socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	folder := filepath.Join(dir, "spool")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if fill != nil {
		s, err := journal.Open(journal.Options{Dir: folder})
		if err != nil {
			t.Fatal(err)
		}
		fill(s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	socket = filepath.Join(dir, "s")
	address = fmt.Sprintf("127.0.0.1:%d", closedPort(t))
	path := filepath.Join(dir, "postern.toml")
	text := fmt.Sprintf("hostname = \"bench.example\"\n[spool]\ndir = %q\n[control]\nsocket = %q\n[[listener]]\naddress = %q\n"+
		"[upstream.sink]\nauth = \"none\"\nmax_connections = 50\n%s\n[[route]]\nfrom = [\"*\"]\nupstream = [\"sink\"]\n",
		folder, socket, address, upstream)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg.StateDir = filepath.Join(dir, "state")
	lines, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	log, err := eventlog.New(lines, eventlog.Options{Level: "info", Format: "json"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{Config: cfg, Log: log, Ready: func() { close(ready) }})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		lines.Close()
	})
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return address, socket
}

// closedPort is a port on which nothing listens.
func closedPort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
