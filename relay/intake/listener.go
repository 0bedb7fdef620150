package intake

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
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
	if !s.sockets.taken {
		s.sockets.files, s.sockets.taken = systemdFiles(), true
	}
	n := len(s.sockets.files[conf.Target])
	if n == 0 {
		return nil, &peer.Advised{Err: fmt.Errorf("listener %s: systemd handed over no socket named %q", conf.Name, conf.Target),
			Remedy: "set FileDescriptorName=" + conf.Target + " in the .socket unit and start that"}
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
		l.ln, err = net.FileListener(s.sockets.files[k.target][k.index])
	default:
		l.ln, err = listenTCP(k.target)
	}
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", conf.Name, err)
	}
	return l, nil
}

// listenTCP listens at an address. Clients of this machine don't vanish without
// a word, so the system needs no keep-alive probes to find out; setting them up
// takes three calls for each connection.
func listenTCP(target string) (net.Listener, error) {
	var lc net.ListenConfig
	host, _, _ := net.SplitHostPort(target)
	if a, err := netip.ParseAddr(host); err == nil && a.IsLoopback() || host == "localhost" {
		lc.KeepAlive = -1
	}
	return lc.Listen(context.Background(), family(target), target)
}

// family keeps a listener to the addresses that its line names: left to "tcp",
// 0.0.0.0 and [::] would each mean IPv4 and IPv6. Without a host it is both.
func family(target string) string {
	switch a, err := netip.ParseAddrPort(target); {
	case err != nil:
		return "tcp"
	case a.Addr().Unmap().Is4():
		return "tcp4"
	default:
		return "tcp6"
	}
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
