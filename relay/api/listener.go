package api

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"postern/config"
	"postern/relay/origin"
	"postern/relay/peer"
	"postern/relay/submission"
)

// target is what makes a listener the same one over a reload.
type target struct {
	network, name string
	index         int // of several systemd sockets of one name
}

// listener is one listening socket. It is what net/http accepts from.
type listener struct {
	target  target
	server  *Server
	bounded *peer.Bounded
	socket  *peer.Socket // nil: it is none that we made
	http    *http.Server
	limits  atomic.Pointer[limits]
}

// limits are the settings of one listener. They are never changed.
type limits struct {
	cfg     *config.Listener
	message *submission.Settings
	tls     *tls.Config // nil: none
}

func newLimits(l *config.Listener) (*limits, error) {
	lim := &limits{cfg: l, message: submission.SettingsOf(l)}
	if l.TLS != config.ListenerTLSImplicit {
		return lim, nil
	}
	cert, err := config.LoadKeyPair(l.CertFile, l.KeyFile)
	if err != nil {
		return nil, &peer.Advised{Err: fmt.Errorf("http: certificate: %w", err), Remedy: "check cert_file and key_file"}
	}
	lim.tls = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: l.TLSMinVersion.Number(), NextProtos: []string{"http/1.1"}}
	if lim.tls.MinVersion < tls.VersionTLS12 {
		lim.tls.CipherSuites = config.OldCipherSuites()
	}
	return lim, nil
}

// allows tells whether a client at a may connect. Who connects needs a token
// in any case.
func (l *limits) allows(a netip.Addr) bool {
	if len(l.cfg.Allow) == 0 || !a.IsValid() {
		return true
	}
	for _, p := range l.cfg.Allow {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// targets are the sockets that a listener stands for.
func (s *Server) targets(l *config.Listener) ([]target, error) {
	if l.Network != "systemd" {
		return []target{{network: l.Network, name: l.Target}}, nil
	}
	n, err := s.handed.Count(l.Target)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.Name, err)
	}
	list := make([]target, n)
	for i := range list {
		list[i] = target{l.Network, l.Target, i}
	}
	return list, nil
}

func (s *Server) open(t target, l *config.Listener) (*listener, error) {
	own := &listener{target: t, server: s, http: s.newHTTP(l)}
	var ln net.Listener
	var err error
	switch t.network {
	case "unix":
		if own.socket, err = peer.ListenUnix(t.name, l.Mode, l.Group, "another http.socket"); err == nil {
			ln = own.socket
		}
	case "systemd":
		ln, err = s.handed.Listen(t.name, t.index)
	default:
		ln, err = peer.ListenTCP(t.name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.Name, err)
	}
	own.bounded = peer.Bound(ln, peer.Bounds{Places: l.MaxConnections, Stall: writeTimeout})
	return own, nil
}

// adjust gives a unix socket that stays the mode and group that it is to have.
func (l *listener) adjust(cfg *config.Listener) error {
	if l.socket == nil {
		return nil
	}
	if err := l.socket.Permit(cfg.Mode, cfg.Group); err != nil {
		return fmt.Errorf("%s: %w", cfg.Name, err)
	}
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.bounded.Addr() }

// Close implements net.Listener.
func (l *listener) Close() error { return l.bounded.Close() }

// conn is a client's connection.
type conn struct {
	net.Conn // the client's, or TLS over it
	listener *listener
	client   submission.Client // without what a request adds
	tls      *tls.Conn         // nil: none
	shaking  *origin.Handshake // below tls
}

// Accept implements net.Listener. Nothing in it waits for the client.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.bounded.Accept()
		if err != nil {
			return nil, err
		}
		lim := l.limits.Load()
		c := &conn{Conn: nc, listener: l}
		c.client = submission.Client{Listener: lim.cfg.Name, Settings: lim.message, Peer: "unix:"}
		raw := peer.Unwrapped(nc)
		c.client.Connection = sync.OnceValue(func() origin.Key { return peer.Origin(raw) })
		if why := c.identify(raw, lim); why != "" {
			l.server.events(&Refused{&c.client, why})
			nc.Close()
			continue
		}
		if lim.tls != nil && c.client.Addr.IsValid() {
			c.shaking = l.server.gate.shakes.Handshake(nc, l.server.gate.shakes.Within(handshakeTimeout, c.client.Connection))
			c.tls = tls.Server(c.shaking, lim.tls)
			c.Conn = c.tls
		}
		l.server.events(&Opened{&c.client})
		return c, nil
	}
}

// identify finds out who the client is; why it may not connect, or "".
func (c *conn) identify(raw net.Conn, lim *limits) (why string) {
	u, local := raw.(*net.UnixConn)
	if !local && lim.cfg.Name == config.SubmitListener {
		return "http.socket is no unix socket, and the kernel does not tell who connects"
	}
	if local {
		user, err := peer.User(u)
		if err != nil {
			return "peer credentials: " + err.Error()
		}
		c.client.UnixUser, c.client.Peer = user, "unix:"+user
		return ""
	}
	if a, ok := raw.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		c.client.Addr, c.client.Peer = ap.Addr().WithZone(""), ap.String()
	}
	if !lim.allows(c.client.Addr) {
		return "address not allowed"
	}
	return ""
}

// handshakeTimeout is how long a client may take for one.
const handshakeTimeout = 30 * time.Second

// Read implements net.Conn. The first one makes the connection a TLS one. No
// net.Conn of crypto/tls is shown to net/http, which would tell of failures in
// words of its own and offer HTTP/2.
func (c *conn) Read(p []byte) (int, error) {
	if c.tls != nil && c.client.TLS == nil {
		if err := c.handshake(); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}

func (c *conn) handshake() error {
	if err := c.shaking.Shake(c.tls, handshakeTimeout); err != nil {
		c.listener.server.events(&TLSFailed{&c.client, err})
		return err
	}
	st := c.tls.ConnectionState()
	c.client.TLS = &st
	return nil
}
