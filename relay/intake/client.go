package intake

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"postern/relay/peer"
	"postern/relay/submission"
)

// client is who is at the other end of a connection, for the engine, for
// and for sign-in. It belongs to the goroutine of its connection.
type client struct {
	submission.Client
	esmtp    bool // it said EHLO
	settings *settings
	events   func(Event)
	ctx      context.Context // of the server
}

// private tells whether nobody but this machine sees the bytes.
func (c *client) private() bool {
	return c.TLS != nil || !c.Addr.IsValid() || c.Addr.IsLoopback()
}

// protocol is the with-type of RFC 3848 and RFC 6531 §4.3.
func (c *client) protocol(utf8 bool) string {
	kind := "ESMTP"
	switch {
	case !c.esmtp:
		return "SMTP"
	case utf8:
		kind = "UTF8SMTP"
	}
	if c.TLS != nil {
		kind += "S"
	}
	if c.User != "" {
		kind += "A"
	}
	return kind
}

// address is the remote address of nc, and its name.
func address(nc net.Conn) (netip.Addr, string) {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		return ap.Addr().WithZone(""), ap.String()
	}
	return netip.Addr{}, "unix:"
}

// identify finds out who, on this machine, the TCP client is, once something
// in the configuration asks for it, and ends the connection of one who hides it
// by closing the socket early. Where the system can't tell, the client is
// nobody, and no condition on a unix user holds; so it is with the client of a
// proxy. It reports whether c goes on.
func (c *conn) identify() bool {
	if c.identified || c.proxied || !c.client.Addr.IsLoopback() || !c.srv.site.Load().askUser {
		return true
	}
	c.identified = true
	user, err := peer.LocalUser(c.raw)
	if err != nil {
		c.srv.events(&Unidentified{&c.client.Client, err})
		if errors.Is(err, peer.ErrClosed) {
			c.reply(say(421, 4, 3, 0, "cannot tell who you are, try again later"))
			c.end("unidentified")
			return false
		}
	}
	c.client.UnixUser = user
	return true
}
