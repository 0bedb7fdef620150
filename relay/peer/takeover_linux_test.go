package peer

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// stranger runs do without the rights of root, where we are root.
func stranger(t *testing.T, do func()) {
	t.Helper()
	if os.Getuid() == 0 {
		runtime.LockOSThread() // only this thread is somebody else
		defer runtime.UnlockOSThread()
		unix.Setfsuid(65534)
		defer unix.Setfsuid(0)
	}
	do()
}

// full is a socket that listens, accepts nobody and has no room left.
func full(t *testing.T, path string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		c, err := net.Dial("unix", path)
		if err != nil {
			return
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the backlog takes everybody")
}

// Only a socket where a connection is refused is dead and may be replaced.
// Whatever else lies there stays as it is.
func TestOnlyDeadSocketsAreReplaced(t *testing.T) {
	listen := func(t *testing.T, path string) *net.UnixListener {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		t.Cleanup(func() { l.Close() })
		return l
	}
	for _, c := range []struct {
		name  string
		put   func(t *testing.T, path string)
		cause error  // what errors.Is has to find; nil: a sentence alone
		says  string // empty: it is replaced
	}{
		{"nothing", func(*testing.T, string) {}, nil, ""},
		{"dead", func(t *testing.T, path string) { listen(t, path).Close() }, nil, ""},
		{"live", func(t *testing.T, path string) { listen(t, path) }, ErrTaken, "another process answers there"},
		{"live, and not for us", func(t *testing.T, path string) {
			listen(t, path)
			os.Chmod(path, 0)
		}, syscall.EACCES, "cannot tell whether another process uses"},
		{"full backlog", full, syscall.EAGAIN, "cannot tell whether another process uses"},
		{"of another type", func(t *testing.T, path string) {
			l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, syscall.EPROTOTYPE, "cannot tell"},
		{"file", func(_ *testing.T, path string) { os.WriteFile(path, nil, 0o600) }, nil, "not a socket; remove it"},
		{"folder", func(_ *testing.T, path string) { os.Mkdir(path, 0o700) }, nil, "not a socket"},
		{"link to a dead socket", func(t *testing.T, path string) {
			listen(t, path+"2").Close()
			os.Symlink(path+"2", path)
		}, nil, "not a socket"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			os.Chmod(dir, 0o755)
			path := filepath.Join(dir, "s")
			c.put(t, path)
			before, _ := os.Lstat(path)
			var s *Socket
			open := func() { s, err = ListenUnix(path, 0o600, "", "another path") }
			if c.cause == syscall.EACCES {
				stranger(t, open)
			} else {
				open()
			}
			if c.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				if info, err := os.Lstat(path); err != nil || info.Mode() != fs.ModeSocket|0o600 || s.Addr().String() != path {
					t.Errorf("%v %v, address %s", info, err, s.Addr())
				}
				if conn, err := net.Dial("unix", path); err != nil {
					t.Error(err)
				} else {
					conn.Close()
				}
				s.Close()
				if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("it stays: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || c.cause != nil && (!errors.Is(err, c.cause) || !errors.Is(err, ErrTaken)) {
				t.Fatalf("%v; want %q", err, c.says)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("it was replaced: %v", err)
			}
		})
	}
}

// A socket that has taken the place of ours is not removed with it.
func TestSocketLeavesAnothersPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := ListenUnix(path, 0o600, "", "another path")
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	second, err := ListenUnix(path, 0o600, "", "another path")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Permit(0o666, ""); err == nil {
		t.Error("another's socket was given another mode")
	}
	first.Close()
	first.Close()
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := second.Permit(0o666, ""); err != nil {
		t.Error(err)
	}
	second.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it stays: %v", err)
	}
	if _, err := ListenUnix("/tmp/"+strings.Repeat("x", 120), 0o600, "", "another path"); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("a long path: %v", err)
	}
}
