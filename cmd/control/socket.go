package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"postern/relay/peer"
)

// ErrTaken means that a daemon already answers at the control socket.
var ErrTaken = errors.New("another daemon answers there")

// maxSocketPath is the longest path of a unix socket in bytes that all
// systems take (macOS has room for 104 with the final zero).
const maxSocketPath = 103

// Listen opens the control socket at path. The socket appears there with its
// mode and group (empty: unchanged) already set, and replaces the one that a
// dead daemon left. It is removed when the listener closes.
func Listen(path string, mode fs.FileMode, group string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path %s is longer than the %d bytes that a unix socket can have", path, maxSocketPath)
	}
	if err := vacate(path); err != nil {
		return nil, err
	}
	l, info, err := peer.Listen(path, mode, group)
	if err != nil {
		return nil, err
	}
	return &socket{UnixListener: l, path: path, info: info}, nil
}

// vacate finds out whether path is free: it is not where somebody answers, or
// where something else than a socket lies.
func vacate(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket && info.Mode().Type() != fs.ModeIrregular {
		return peer.Obstructed(path, "another control.socket")
	}
	c, err := net.DialTimeout("unix", path, 2*time.Second)
	switch {
	case err == nil:
		c.Close()
		return ErrTaken
	case errors.Is(err, fs.ErrPermission), errors.Is(err, os.ErrDeadlineExceeded):
		// Somebody may well be alive there: only a refusal means dead.
		return fmt.Errorf("cannot tell whether another daemon uses %s: %w", path, err)
	}
	return nil
}

// socket removes itself from the directory when it closes, unless another
// daemon has taken its place.
type socket struct {
	*net.UnixListener
	path string
	info fs.FileInfo
	once sync.Once
}

func (s *socket) Close() error {
	s.once.Do(func() {
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.info) {
			_ = os.Remove(s.path)
		}
	})
	return s.UnixListener.Close()
}
