package console

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"postern/relay/origin"
	"postern/relay/peer"
)

// listener lets in whoever may connect. Nothing in it waits for a browser.
type listener struct {
	net.Listener
	server *Server
	// tls is what the next connection gets; nil: none, whatever a reload says, as
	// that takes a restart.
	tls *tls.Config
}

// conn is a browser's connection. No net.Conn of crypto/tls is shown to
// net/http, which would tell of failures without their origin.
type conn struct {
	net.Conn // the browser's, or TLS over it
	server   *Server
	client   *Client
	tls      *tls.Conn         // nil: none
	shaking  *origin.Handshake // below tls
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: nc, server: l.server, client: clientOf(nc)}
		set := l.server.settings.Load()
		if !set.allows(nc) {
			l.server.Events(&Refused{*c.client, "address not allowed"})
			nc.Close()
			continue
		}
		if l.tls != nil {
			if set.tls != nil { // with the certificate of now
				l.tls = set.tls
			}
			c.shaking = l.server.gate.shakes.Handshake(nc, l.server.gate.shakes.Within(handshakeTimeout, c.client.key))
			c.tls = tls.Server(c.shaking, l.tls)
			c.Conn = c.tls
		}
		return c, nil
	}
}

func (set *Settings) allows(c net.Conn) bool {
	allow := set.console.Listener.Allow
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if len(allow) == 0 || !ok {
		return true
	}
	for _, p := range allow {
		if p.Contains(a.AddrPort().Addr().Unmap().WithZone("")) {
			return true
		}
	}
	return false
}

// clientOf is who is at the other end of a connection.
func clientOf(c net.Conn) *Client {
	c = peer.Unwrapped(c)
	client := &Client{Peer: c.RemoteAddr().String(), Connection: sync.OnceValue(func() origin.Key { return peer.Origin(c) })}
	if u, ok := c.(*net.UnixConn); ok {
		client.Peer = "unix:"
		if name, err := peer.User(u); err == nil {
			client.Peer += name
		}
	}
	return client
}

// Read implements net.Conn. The first one makes the connection a TLS one.
func (c *conn) Read(p []byte) (int, error) {
	if c.tls != nil && !c.client.TLS {
		if err := c.handshake(); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}

func (c *conn) handshake() error {
	if err := c.shaking.Shake(c.tls, handshakeTimeout); err != nil {
		c.server.Events(&TLSFailed{*c.client, err})
		return err
	}
	c.client.TLS = true
	return nil
}

// handshakeTimeout is how long a browser may take for one.
const handshakeTimeout = 30 * time.Second
