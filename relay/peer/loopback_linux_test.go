package peer

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"postern/relay/origin"
)

func pair(t testing.TB, network, at string) net.Conn {
	t.Helper()
	ln, err := net.Listen(network, at)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { ln.Close() })
	client, err := net.Dial(network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return server
}

// The kernel tells who connects over loopback, by IPv4, IPv6, and IPv4 at a
// socket for both.
func TestLoopback(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		nc := pair(t, "tcp", at)
		if uid, ok := loopback(nc); !ok || int(uid) != os.Getuid() {
			t.Errorf("%s from %s: %d, %t", at, nc.RemoteAddr(), uid, ok)
		}
	}
}

// A user is one origin, by whatever socket and address he comes.
func TestOrigin(t *testing.T) {
	unix := Origin(pair(t, "unix", filepath.Join(t.TempDir(), "s")))
	if unix == (origin.Key{}) {
		t.Fatal("no origin")
	}
	for _, at := range []string{"127.0.0.1:0", "127.0.0.2:0", "[::1]:0"} {
		if got := Origin(pair(t, "tcp", at)); got != unix {
			t.Errorf("%s: %v, want %v", at, got, unix)
		}
	}
}

func BenchmarkLoopback(b *testing.B) {
	nc := pair(b, "tcp", "127.0.0.1:0")
	for b.Loop() {
		loopback(nc)
	}
}
