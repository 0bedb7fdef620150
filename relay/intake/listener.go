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

// listenerKey is what makes a listener the same one over a reload.
type listenerKey struct {
	network string // "tcp", "unix" or "systemd"
	target  string
	index   int // of several systemd sockets of one name
}

// listener is one listening socket with its connections.
type listener struct {
	key      listenerKey
	ln       net.Listener
	settings atomic.Pointer[settings]
	shut     atomic.Bool

	mu      sync.Mutex // guards what follows
	conns   map[*conn]struct{}
	places  *origin.Counts     // how many of conns each origin has; nil: not counted
	leaving map[*conn]struct{} // evicted, not closed yet
}

func newListener(k listenerKey) *listener {
	return &listener{key: k, conns: map[*conn]struct{}{}, leaving: map[*conn]struct{}{}}
}

// keys are the sockets that a listener stands for.
func (s *Server) keys(conf *config.Listener) ([]listenerKey, error) {
	if conf.Network != "systemd" {
		return []listenerKey{{network: conf.Network, target: conf.Target}}, nil
	}
	n, err := s.handed.Count(conf.Target)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", conf.Name, err)
	}
	keys := make([]listenerKey, n)
	for i := range keys {
		keys[i] = listenerKey{"systemd", conf.Target, i}
	}
	return keys, nil
}

// open listens.
func (s *Server) open(k listenerKey, conf *config.Listener) (*listener, error) {
	l := newListener(k)
	var err error
	switch k.network {
	case "unix":
		l.ln, err = listenUnix(k.target, conf.Mode, conf.Group)
	case "systemd":
		l.ln, err = s.handed.Listen(k.target, k.index)
	default:
		l.ln, err = peer.ListenTCP(k.target)
	}
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", conf.Name, err)
	}
	return l, nil
}

// adjust gives a unix socket that stays the mode and group that it is to have.
func (l *listener) adjust(conf *config.Listener) error {
	socket, ok := l.ln.(*peer.Socket)
	if !ok {
		return nil
	}
	if err := socket.Permit(socketMode(conf.Mode), conf.Group); err != nil {
		return fmt.Errorf("listener %s: %w", conf.Name, err)
	}
	return nil
}

// close stops listening; connections go on. The path of a unix socket is
// removed if it is still ours.
func (l *listener) close() {
	if !l.shut.Swap(true) {
		l.ln.Close()
	}
}

func (l *listener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// wake interrupts every connection that waits for its client.
func (l *listener) wake(why uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.interrupt(why)
	}
}

func (l *listener) closeConns() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.raw.Close()
	}
	for c := range l.leaving {
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
