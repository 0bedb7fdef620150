// Package peer faces the kernel at both ends of a connection: it asks who is
// there (a unix socket, or TCP within this machine) and what it holds unread,
// makes the sockets that others may connect to, and bounds what those who do
// can hold. It decides nothing about mail.
package peer

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"postern/spool/disk"
)

// ErrTaken: somebody answers at a socket, or may do so.
var ErrTaken = errors.New("another process answers there")

// Advised is an error that knows what to do about it. Its text ends in that.
type Advised struct {
	Err    error
	Remedy string // a clause: "remove it or choose another path"
}

func (e *Advised) Error() string { return e.Err.Error() + "; " + e.Remedy }

func (e *Advised) Unwrap() error { return e.Err }

// Obstructed says that something other than a socket lies at path, and names
// what can be chosen in its place: "another path".
func Obstructed(path, choice string) error {
	return &Advised{fmt.Errorf("%s exists and is not a socket", path), "remove it or choose " + choice}
}

// taken is ErrTaken with what is known. err is why that cannot be told; nil:
// somebody answers.
type taken struct {
	path string
	err  error
}

func (e *taken) Error() string {
	if e.err == nil {
		return e.path + ": " + ErrTaken.Error()
	}
	return "cannot tell whether another process uses " + e.path + ": " + e.err.Error()
}

func (e *taken) Is(target error) bool { return target == ErrTaken }

func (e *taken) Unwrap() error { return e.err }

// Socket is a unix socket that listens. Its methods may be called concurrently.
type Socket struct {
	*net.UnixListener
	path string
	info fs.FileInfo
	once sync.Once
}

// ListenUnix opens the socket at path with its mode and group (empty:
// unchanged) in the place of one that is dead: one where a connection is
// refused. Where somebody answers, or may do so (we may not connect, or their
// backlog is full), it is ErrTaken; anything but a socket is left alone, too, and
// the error says to take choice in its place, such as "another path".
//
// macOS refuses where a backlog is full, as if the socket were dead.
func ListenUnix(path string, mode fs.FileMode, group, choice string) (*Socket, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("the path %s is longer than the %d bytes that a unix socket can have", path, maxPath)
	}
	if err := vacant(path, choice); err != nil {
		return nil, err
	}
	l, info, err := listen(path, mode, group)
	if err != nil {
		return nil, err
	}
	return &Socket{UnixListener: l, path: path, info: info}, nil
}

// connectTimeout bounds the question whether somebody answers. Linux answers it
// at once.
const connectTimeout = 2 * time.Second

// vacant is nil where nothing lies at path, or a dead socket.
func vacant(path, choice string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if kind := info.Mode().Type(); kind != fs.ModeSocket && kind != fs.ModeIrregular { // which it is on Windows
		return Obstructed(path, choice)
	}
	c, err := net.DialTimeout("unix", path, connectTimeout)
	switch {
	case err == nil:
		c.Close()
		return &taken{path: path}
	case errors.Is(err, errRefused), errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return &taken{path: path, err: err}
}

// Permit gives the socket another mode and group. Something else in its place
// is left alone, and an error.
func (s *Socket) Permit(mode fs.FileMode, group string) error {
	return permitSocket(s.path, s.info, mode, group)
}

// Addr is where clients find it; the socket was born under another name.
func (s *Socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// Close stops listening; connections go on. The path is removed if it is still
// that of this socket.
func (s *Socket) Close() error {
	s.once.Do(func() {
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.info) {
			_ = os.Remove(s.path)
		}
	})
	return s.UnixListener.Close()
}

// maxPath is the longest path of a unix socket in bytes that all systems take.
const maxPath = 103

// listen makes a unix socket at path that has its mode and group (empty:
// unchanged) before anybody can connect, in the place of what is there. The
// caller has made sure that it may be replaced, and removes it. The FileInfo
// is that of the socket.
//
// The socket is made in a folder that only we can enter, and what is opened is
// that folder: whoever may write to the folder around it cannot have the mode
// or group of anything else changed.
func listen(path string, mode fs.FileMode, group string) (*net.UnixListener, fs.FileInfo, error) {
	p, err := newPrivate(path)
	if err != nil {
		return nil, nil, err
	}
	defer p.close()
	l, err := p.listen(filepath.Dir(path))
	if err != nil {
		return nil, nil, named(err, path)
	}
	l.SetUnlinkOnClose(false)
	info, err := p.publish(filepath.Base(path), mode, group)
	if err != nil {
		l.Close()
		return nil, nil, named(err, path)
	}
	return l, info, nil
}

// named makes an error about the folder in between, which is gone by then, one
// about the socket at path.
func named(err error, path string) error {
	switch e := err.(type) {
	case *fs.PathError:
		return &fs.PathError{Op: "make socket", Path: path, Err: e.Err}
	case *os.LinkError:
		return &fs.PathError{Op: "make socket", Path: path, Err: e.Err}
	case *net.OpError:
		return &net.OpError{Op: e.Op, Net: e.Net, Addr: &net.UnixAddr{Name: path, Net: "unix"}, Err: e.Err}
	}
	return err
}

// permitSocket gives the socket at path, which listen has told info of, another mode
// and group. Something else in its place is left alone, and an error.
func permitSocket(path string, info fs.FileInfo, mode fs.FileMode, group string) error {
	p, err := newPrivate(path)
	if err != nil {
		return err
	}
	defer p.close()
	// Under a second name it is where nobody can exchange it.
	if err := p.above.Link(filepath.Base(path), filepath.Join(p.name, "s")); err != nil {
		return named(err, path)
	}
	if now, err := p.folder.Lstat("s"); err != nil || !os.SameFile(now, info) {
		return fmt.Errorf("%s is no longer the socket that this process has made", path)
	}
	return named(permit(p.folder, "s", mode, group), path)
}

// private is a folder that only we can enter, beside a socket.
type private struct {
	above, folder *os.Root
	name          string
}

func newPrivate(path string) (*private, error) {
	above, err := disk.OpenFolder(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	p := &private{above: above}
	if err := p.make(filepath.Dir(path)); err != nil {
		p.close()
		return nil, named(err, path)
	}
	return p, nil
}

func (p *private) make(dir string) error {
	made, err := os.MkdirTemp(dir, ".p")
	if err != nil {
		return err
	}
	p.name = filepath.Base(made)
	if p.folder, err = disk.OpenFolderIn(p.above, p.name); err != nil {
		return err
	}
	info, err := p.folder.Stat(".")
	if err != nil {
		return err
	}
	if !isPrivate(info) {
		return fmt.Errorf("something in %s was exchanged while the socket was made: others can write to that folder", dir)
	}
	return nil
}

// listen makes the socket. Its first path is longer than the one it gets; where
// that is too long for a socket, Linux knows the folder by its descriptor.
func (p *private) listen(dir string) (*net.UnixListener, error) {
	path := filepath.Join(dir, p.name, "s")
	if len(path) > maxPath && runtime.GOOS == "linux" {
		f, err := p.folder.Open(".")
		if err != nil {
			return nil, err
		}
		defer f.Close()
		path = fmt.Sprintf("/proc/self/fd/%d/s", f.Fd())
	}
	return net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
}

// publish moves the socket to where it belongs once it is fit to be seen.
func (p *private) publish(name string, mode fs.FileMode, group string) (fs.FileInfo, error) {
	made, err := p.folder.Lstat("s")
	if err != nil {
		return nil, err
	}
	if err := permit(p.folder, "s", mode, group); err != nil {
		return nil, err
	}
	if err := p.above.Rename(filepath.Join(p.name, "s"), name); err != nil {
		return nil, err
	}
	now, err := p.above.Lstat(name)
	if err == nil && !os.SameFile(made, now) {
		err = errors.New("the socket was exchanged while it was made: others can write to its folder")
	}
	return now, err
}

func (p *private) close() {
	if p.folder != nil {
		_ = p.folder.Remove("s")
		p.folder.Close()
	}
	if p.name != "" {
		_ = p.above.Remove(p.name)
	}
	p.above.Close()
}

// ErrClosed: the client closed its socket before it was asked for.
var ErrClosed = errors.New("the client's socket is closed")
