package peer

import (
	"errors"
	"net"
	"os/user"
	"testing"
	"time"
)

// connected is a TCP connection of this process with itself, seen from both ends.
func connected(t *testing.T, address string) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Skip(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestLocalUserOfATCPClient(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0", "127.0.0.9:0"} {
		t.Run(address, func(t *testing.T) {
			_, server := connected(t, address)
			if name, err := LocalUser(server); err != nil || name != me.Username {
				t.Errorf("%q, %v, want %q", name, err, me.Username)
			}
		})
	}
}

// The kernel gives the user of a socket without a process as 0, which is root.
func TestClosedClientIsNotRoot(t *testing.T) {
	client, server := connected(t, "127.0.0.1:0")
	client.Close()
	if name, err := LocalUser(server); !errors.Is(err, ErrClosed) {
		t.Errorf("%q, %v", name, err)
	}
}

func TestHalfClosedClientIsKnown(t *testing.T) {
	client, server := connected(t, "127.0.0.1:0")
	client.(*net.TCPConn).CloseWrite()
	if name, err := LocalUser(server); err != nil || name == "" {
		t.Errorf("%q, %v", name, err)
	}
}

func TestAnswersOfAnotherFormAreErrors(t *testing.T) {
	_, server := connected(t, "127.0.0.1:0")
	here, there := server.LocalAddr().(*net.TCPAddr).AddrPort(), server.RemoteAddr().(*net.TCPAddr).AddrPort()
	request := diagRequest(there, here)
	for _, answer := range [][]byte{nil, make([]byte, 4), make([]byte, diagAnswerSize), request} {
		if uid, err := diagOwner(request, answer); err == nil {
			t.Errorf("%x: user %d", answer, uid)
		}
	}
}

func TestPendingWaitsForNothing(t *testing.T) {
	client, server := connected(t, "127.0.0.1:0")
	if _, any := Pending(server); any {
		t.Error("something is pending")
	}
	client.Write([]byte("EHLO"))
	deadline := time.Now().Add(5 * time.Second)
	for {
		if first, any := Pending(server); any {
			if first != 'E' {
				t.Errorf("%q", first)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is pending")
		}
		time.Sleep(time.Millisecond)
	}
	b := make([]byte, 4)
	if n, err := server.Read(b); n != 4 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
