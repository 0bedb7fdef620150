package peer

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// Beyond the bound the oldest connection makes room, and those that have left
// take no place.
func TestBound(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := Bound(l, 2)
	defer b.Close()
	come := func() (client, server net.Conn) {
		t.Helper()
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		if server, err = b.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		return client, server
	}
	gone := func(c net.Conn) bool {
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		var timeout net.Error
		return err == io.EOF || !errors.As(err, &timeout) || !timeout.Timeout()
	}
	first, _ := come()
	second, served := come()
	served.Close()
	third, _ := come()
	if gone(first) || !gone(second) || gone(third) {
		t.Error("the place of one that has left was not free")
	}
	fourth, _ := come()
	if !gone(first) || gone(third) || gone(fourth) {
		t.Error("the oldest did not make room")
	}
}
