package intake

import (
	"context"
	"net"
	"net/netip"

	"postern/relay/submission"
)

// client is who is at the other end of a connection, for the engine, for
// sign-in, and for Stock. It belongs to the goroutine of its connection.
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
