package peer

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postern/relay/origin"
)

// line is a bounded listener whose clients say of what origin they are.
type line struct {
	*Bounded
	t    *testing.T
	from sync.Map // origins by the client's address
}

func newLine(t *testing.T, b Bounds) *line {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{t: t}
	b.By = func(c net.Conn) origin.Key {
		from, _ := l.from.Load(c.RemoteAddr().String())
		return origin.User(from.(string))
	}
	l.Bounded = Bound(ln, b)
	t.Cleanup(func() { l.Close() })
	return l
}

// come connects somebody of an origin.
func (l *line) come(from string) (client, server net.Conn) {
	l.t.Helper()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { client.Close() })
	l.from.Store(client.LocalAddr().String(), from)
	if server, err = l.Accept(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { server.Close() })
	return client, server
}

func gone(c net.Conn) bool {
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	var timeout net.Error
	return err == io.EOF || !errors.As(err, &timeout) || !timeout.Timeout()
}

// Whoever has most makes room, by what has been quiet longest; who has left
// takes no place.
func TestBoundIsSharedByOrigin(t *testing.T) {
	l := newLine(t, Bounds{Places: 3})
	_, left := l.come("a")
	left.Close()
	a1, a1s := l.come("a")
	a2, _ := l.come("a")
	a3, _ := l.come("a")
	a1.Write([]byte("x"))
	if _, err := io.ReadFull(a1s, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	b1, _ := l.come("b")
	if gone(a1) || !gone(a2) || gone(a3) {
		t.Error("not the quietest of the origin with most had to go")
	}
	a4, _ := l.come("a")
	if gone(b1) || !gone(a3) || gone(a1) || gone(a4) {
		t.Error("the origin with most took more")
	}
	b2, _ := l.come("b")
	if !gone(b1) || gone(a1) || gone(a4) {
		t.Error("two origins took each other's turns")
	}
	c1, _ := l.come("c")
	if gone(b2) || !gone(a1) || gone(a4) || gone(c1) {
		t.Error("a newcomer did not get the place of the origin with most")
	}
	d1, _ := l.come("d")
	if !gone(a4) || gone(b2) || gone(c1) || gone(d1) {
		t.Error("among equals not the quietest had to go")
	}
}

// A client that takes little, but takes it, is served; one that takes nothing
// is not waited for.
func TestBoundStall(t *testing.T) {
	const stall = 500 * time.Millisecond
	l := newLine(t, Bounds{Places: 2, Stall: stall})
	text := bytes.Repeat([]byte("x"), 8<<20)
	for _, c := range []struct {
		name string
		step int // bytes that the client takes ten times in each stall
		want bool
	}{{"slow", 400 << 10, true}, {"dead", 0, false}} {
		client, server := l.come(c.name)
		client.(*net.TCPConn).SetReadBuffer(64 << 10)
		server.(*held).NetConn().(*net.TCPConn).SetWriteBuffer(64 << 10)
		done := make(chan error, 1)
		began := time.Now()
		go func() {
			_, err := server.Write(text)
			done <- err
		}()
		go func() {
			for c.step > 0 {
				if _, err := io.CopyN(io.Discard, client, int64(c.step)); err != nil {
					return
				}
				time.Sleep(stall / 10)
			}
		}()
		select {
		case err := <-done:
			if (err == nil) != c.want || !c.want && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v", c.name, err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: still written to", c.name)
		}
		if took := time.Since(began); c.want && took < stall {
			t.Errorf("%s took %s, which shows nothing", c.name, took)
		}
		client.Close()
		server.Close()
	}
}

// failing is a listener that fails as one does without descriptors.
type failing struct {
	net.Listener
	left atomic.Int32
}

func (f *failing) Accept() (net.Conn, error) {
	if f.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.ENOBUFS)}
	}
	return f.Listener.Accept()
}

// What passes is waited for, and not in a busy loop; a closed listener ends at
// once.
func TestBoundOutlivesALackOfDescriptors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &failing{Listener: ln}
	f.left.Store(4)
	b := Bound(f, Bounds{Places: 1})
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	began := time.Now()
	server, err := b.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if took := time.Since(began); took < 70*time.Millisecond {
		t.Errorf("four failures took %s", took)
	}
	f.left.Store(1000)
	ended := make(chan error, 1)
	go func() {
		_, err := b.Accept()
		ended <- err
	}()
	time.Sleep(50 * time.Millisecond)
	b.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("still accepting")
	}
}
