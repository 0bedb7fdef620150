package control

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dialAs connects to a unix socket as another user, whom the kernel sees.
func dialAs(t *testing.T, uid int, socket string) net.Conn {
	t.Helper()
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // the thread is another user's now, and ends with this goroutine
		keep := ^uintptr(0)
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(uid), keep); errno != 0 {
			done <- result{nil, errno}
			return
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
		}
		if err != nil {
			done <- result{nil, err}
			return
		}
		file := os.NewFile(uintptr(fd), socket)
		defer file.Close()
		conn, err := net.FileConn(file)
		done <- result{conn, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { r.conn.Close() })
	return r.conn
}

// A user who takes all places of the control socket, again and again, keeps
// root neither out nor from reading to the end.
func TestOneUserCannotKeepRootOut(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to be two users")
	}
	f, gets := long()
	const places = 8
	_, socket := serveAs(t, f, places, f.server())
	if err := os.Chmod(filepath.Dir(socket), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	var others []net.Conn
	flood := func() {
		for range 2 * places {
			others = append(others, dialAs(t, 65534, socket))
		}
	}
	flood()
	list := dial(t, "unix", socket, gets["list"])
	flood()
	if _, err := Dial(socket).Status(t.Context()); err != nil {
		t.Errorf("root asks for the status: %v", err)
	}
	flood()
	n := 0
	for b := make([]byte, 64<<10); ; {
		k, err := list.Read(b)
		if n += k; err != nil {
			if n < 3<<20 {
				t.Errorf("root read %d bytes of its list: %v", n, err)
			}
			break
		}
	}
	open := 0
	for _, c := range others {
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); os.IsTimeout(err) {
			open++
		}
	}
	if open > places {
		t.Errorf("%d connections are open in %d places", open, places)
	}
}
