package intake

import (
	"crypto/tls"
	"io"
	"sync"

	"github.com/emersion/go-sasl"
	smtp "github.com/emersion/go-smtp"

	"postern/config"
	"postern/relay/origin"
	"postern/relay/peer"
)

// Stock is a backend for go-smtp's own server that drives the sessions of b
// as the engine of this package would, with the settings of l. It stands in
// for the engine, and is what the differential tests compare it with.
//
// go-smtp hands over addresses without their quoting, so what isn't an
// address in that form is refused here.
func (s *Server) Stock(l *config.Listener) (smtp.Backend, *tls.Config, error) {
	set, err := newSettings(l, s.shared)
	if err != nil {
		return nil, nil, err
	}
	return smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		p := &Peer{settings: set, ctx: s.ctx, Helo: c.Hostname(), ESMTP: true}
		p.Addr, p.Name = address(c.Conn())
		p.origin = sync.OnceValue(func() origin.Key { return peer.Origin(c.Conn()) })
		if st, ok := c.TLSConnectionState(); ok {
			p.TLS = &st
		}
		inner, err := s.backend.NewSession(p)
		if err != nil {
			return nil, verdict(err)
		}
		plain := &stockSession{Session: inner, conn: c, peer: p}
		if a, ok := inner.(smtp.AuthSession); ok && len(a.AuthMechanisms()) > 0 {
			return stockAuthSession{plain, a}, nil
		}
		return plain, nil
	}), set.tls, nil
}

// stockSession keeps from a session what go-smtp lets through: malformed
// addresses, and calls at the same time. For BDAT go-smtp runs Data beside
// the commands, and calls Reset and Logout before it has returned.
type stockSession struct {
	smtp.Session
	conn *smtp.Conn
	peer *Peer
	one  sync.Mutex // held during each call
}

var replyStockPath = say(501, 5, 1, 7, "malformed address")

// Mail implements smtp.Session.
func (s *stockSession) Mail(from string, opts *smtp.MailOptions) error {
	s.one.Lock()
	defer s.one.Unlock()
	s.peer.Helo = s.conn.Hostname()
	if !isHelo(s.peer.Helo) {
		return say(501, 5, 5, 4, "a domain name or an address literal is required")
	}
	if from != "" && checkMailbox(from, opts.UTF8) != pathOK {
		return replyStockPath
	}
	return s.Session.Mail(from, opts)
}

// Rcpt implements smtp.Session.
func (s *stockSession) Rcpt(to string, opts *smtp.RcptOptions) error {
	s.one.Lock()
	defer s.one.Unlock()
	if opts.DeliverBy != nil || opts.MTPriority != nil || !opts.RequireRecipientValidSince.IsZero() {
		return errParamUnknown
	}
	if checkMailbox(to, true) != pathOK {
		return replyStockPath
	}
	return s.Session.Rcpt(to, opts)
}

// Data implements smtp.Session. go-smtp breaks its reader before it calls
// Reset or Logout, so those don't wait long.
func (s *stockSession) Data(r io.Reader) error {
	s.one.Lock()
	defer s.one.Unlock()
	return s.Session.Data(r)
}

// Reset implements smtp.Session.
func (s *stockSession) Reset() {
	s.one.Lock()
	defer s.one.Unlock()
	s.Session.Reset()
}

// Logout implements smtp.Session.
func (s *stockSession) Logout() error {
	s.one.Lock()
	defer s.one.Unlock()
	return s.Session.Logout()
}

// stockAuthSession is a stockSession that offers AUTH.
type stockAuthSession struct {
	*stockSession
	auth smtp.AuthSession
}

// AuthMechanisms implements smtp.AuthSession.
func (s stockAuthSession) AuthMechanisms() []string { return s.auth.AuthMechanisms() }

// Auth implements smtp.AuthSession.
func (s stockAuthSession) Auth(mech string) (sasl.Server, error) { return s.auth.Auth(mech) }
