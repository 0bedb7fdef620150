package intake

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"

	smtp "github.com/emersion/go-smtp"

	"postern/relay/origin"
)

// Backend makes the session that a connection's commands are carried out on.
// It is go-smtp's Backend with our Peer in place of its Conn, which nobody
// else can make.
type Backend interface {
	// NewSession is called at the first HELO or EHLO, and again after
	// STARTTLS. p belongs to the engine, which keeps it up to date; the
	// session may read it during its methods.
	//
	// The paths that Mail and Rcpt are given are in wire form and valid by
	// RFC 5321 §4.1.2; options are valid only until the method returns. Data
	// may answer success with a text of its own by an *smtp.SMTPError whose
	// code is 250.
	NewSession(p *Peer) (smtp.Session, error)
}

// Extensions holds the parameters of MAIL for which smtp.MailOptions has no
// field. go-smtp has both on RCPT, where no RFC puts them.
type Extensions struct {
	DeliverBy *smtp.DeliverByOptions // BY, RFC 2852 §4; nil: none
	Priority  int                    // MT-PRIORITY, RFC 6710 §3; 0 also where none was given
}

// ExtendedSession is implemented by sessions that honour Extensions. The
// engine announces DELIVERBY and MT-PRIORITY for them alone, and calls
// MailExtended in place of Mail.
type ExtendedSession interface {
	smtp.Session
	MailExtended(from string, opts *smtp.MailOptions, ext Extensions) error
}

// Peer is the client of one connection.
type Peer struct {
	Name     string     // "192.0.2.1:4711" or "unix:user"
	Addr     netip.Addr // zero for a unix socket
	UnixUser string     // user of a unix socket's peer
	Helo     string     // argument of the last HELO or EHLO
	ESMTP    bool       // it was EHLO
	User     string     // set by the session after a successful AUTH
	TLS      *tls.ConnectionState

	settings *settings
	origin   func() origin.Key // of the connection; the kernel is asked at the first call
	ctx      context.Context   // of the server; go-smtp's methods have none
}

// Listener is the configured name of the listener.
func (p *Peer) Listener() string { return p.settings.cfg.Name }

// info is the peer as events tell of it.
func (p *Peer) info() PeerInfo {
	i := PeerInfo{Peer: p.Name, Helo: p.Helo, User: p.User, UnixUser: p.UnixUser, origin: p.origin}
	if p.settings != nil {
		i.Listener = p.settings.cfg.Name
	}
	if p.TLS != nil {
		i.TLS = tls.VersionName(p.TLS.Version)
	}
	return i
}

// private tells whether nobody but this machine sees the bytes.
func (p *Peer) private() bool {
	return p.TLS != nil || !p.Addr.IsValid() || p.Addr.IsLoopback()
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
