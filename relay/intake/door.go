package intake

import (
	"fmt"
	"io/fs"
	"net"
	"sync"
	"sync/atomic"

	"postern/config"
	"postern/relay/origin"
	"postern/relay/peer"
)

// doorKey is what makes a listener the same one over a reload.
type doorKey struct {
	network string // "tcp", "unix" or "systemd"
	target  string
	index   int // of several systemd sockets of one name
}

// door is one listening socket with its connections.
type door struct {
	key      doorKey
	ln       net.Listener
	settings atomic.Pointer[settings]
	shut     atomic.Bool

	mu      sync.Mutex // guards what follows
	conns   map[*conn]struct{}
	places  *origin.Counts     // how many of conns each origin has; nil: not counted
	leaving map[*conn]struct{} // evicted, not closed yet
}

func newDoor(k doorKey) *door {
	return &door{key: k, conns: map[*conn]struct{}{}, leaving: map[*conn]struct{}{}}
}

// keys are the sockets that a listener stands for.
func (s *Server) keys(l *config.Listener) ([]doorKey, error) {
	if l.Network != "systemd" {
		return []doorKey{{network: l.Network, target: l.Target}}, nil
	}
	n, err := s.handed.Count(l.Target)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", l.Name, err)
	}
	keys := make([]doorKey, n)
	for i := range keys {
		keys[i] = doorKey{"systemd", l.Target, i}
	}
	return keys, nil
}

// open listens.
func (s *Server) open(k doorKey, l *config.Listener) (*door, error) {
	d := newDoor(k)
	var err error
	switch k.network {
	case "unix":
		d.ln, err = listenUnix(k.target, l.Mode, l.Group)
	case "systemd":
		d.ln, err = s.handed.Listen(k.target, k.index)
	default:
		d.ln, err = peer.ListenTCP(k.target)
	}
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", l.Name, err)
	}
	return d, nil
}

// adjust gives a unix socket that stays the mode and group that it is to have.
func (d *door) adjust(l *config.Listener) error {
	socket, ok := d.ln.(*peer.Socket)
	if !ok {
		return nil
	}
	if err := socket.Permit(socketMode(l.Mode), l.Group); err != nil {
		return fmt.Errorf("listener %s: %w", l.Name, err)
	}
	return nil
}

// close stops listening; connections go on. The path of a unix socket is
// removed if it is still ours.
func (d *door) close() {
	if !d.shut.Swap(true) {
		d.ln.Close()
	}
}

func (d *door) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.conns)
}

// wake interrupts every connection that waits for its client.
func (d *door) wake(why uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		c.interrupt(why)
	}
}

func (d *door) closeConns() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		c.raw.Close()
	}
	for c := range d.leaving {
		c.raw.Close()
	}
}

// listenUnix makes a socket in the place of one that nobody serves.
func listenUnix(path string, mode fs.FileMode, group string) (net.Listener, error) {
	s, err := peer.ListenUnix(path, socketMode(mode), group, "another address")
	if err != nil {
		return nil, err // no typed nil
	}
	return s, nil
}

// socketMode is the mode of a socket; 0660 where none is given.
func socketMode(mode fs.FileMode) fs.FileMode {
	if mode == 0 {
		return 0o660
	}
	return mode
}
