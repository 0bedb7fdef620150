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
		if uid, err := loopback(nc); err != nil || int(uid) != os.Getuid() {
			t.Errorf("%s from %s: %d, %v", at, nc.RemoteAddr(), uid, err)
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

// TestOriginOfTheGone: who has closed the socket is unclear, whether the kernel
// still has it or not, and nobody who was seen before.
func TestOriginOfTheGone(t *testing.T) {
	for name, linger := range map[string]int{"closed": -1, "reset": 0} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		before := Origin(server)
		client.(*net.TCPConn).SetLinger(linger)
		client.Close()
		server.Read(make([]byte, 1)) // until it has been heard
		if after := Origin(server); before.Unclear() || !after.Unclear() || after == before {
			t.Errorf("%s: %v, then %v", name, before, after)
		}
	}
}

func BenchmarkLoopback(b *testing.B) {
	nc := pair(b, "tcp", "127.0.0.1:0")
	for b.Loop() {
		loopback(nc)
	}
}
