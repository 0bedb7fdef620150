package intake

import (
	"crypto/tls"
	"errors"
	"io"
	"sync"

	"github.com/emersion/go-sasl"
	smtp "github.com/emersion/go-smtp"

	"postern/config"
	"postern/config/wire"
	"postern/relay/origin"
	"postern/relay/peer"
	"postern/relay/submission"
	"postern/spool"
)

// stock is a backend for go-smtp's own server that hands mail to the same
// submission as the engine of this package does, with the settings of l. It
// stands in for the engine, and is what the differential tests compare it with.
//
// go-smtp hands over addresses without their quoting, so what isn't an
// address in that form is refused here.
func (s *Server) stock(l *config.Listener) (smtp.Backend, *tls.Config, error) {
	set, err := newSettings(l, s.shared)
	if err != nil {
		return nil, nil, err
	}
	return smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		p := &client{settings: set, events: s.events, ctx: s.ctx, esmtp: true}
		p.Listener, p.Settings, p.Helo = l.Name, set.message, c.Hostname()
		p.Addr, p.Peer = address(c.Conn())
		p.Connection = sync.OnceValue(func() origin.Key { return peer.Origin(c.Conn()) })
		if st, ok := c.TLSConnectionState(); ok {
			p.TLS = &st
		}
		plain := &stockSession{submission: s.submission, conn: c, client: p}
		if len(p.mechanisms()) > 0 {
			return stockAuthSession{plain}, nil
		}
		return plain, nil
	}), set.tls, nil
}

// stockSession is one client's transactions, one after the other. For BDAT
// go-smtp runs Data beside the commands, and calls Reset and Logout before it
// has returned, so each call takes its turn.
type stockSession struct {
	submission *submission.Agent
	conn       *smtp.Conn
	client     *client

	one     sync.Mutex // held during each call; guards what follows
	message *submission.Message
}

var replyStockPath = say(501, 5, 1, 7, "malformed address")

// Mail implements smtp.Session.
func (s *stockSession) Mail(from string, opts *smtp.MailOptions) error {
	s.one.Lock()
	defer s.one.Unlock()
	s.client.Helo = s.conn.Hostname()
	if !wire.IsHelo(s.client.Helo) {
		return say(501, 5, 5, 4, "a domain name or an address literal is required")
	}
	if from != "" && wire.CheckMailbox(from, opts.UTF8) != wire.NoFault {
		return replyStockPath
	}
	s.end()
	m, err := s.submission.Begin(s.client.ctx, &s.client.Client, submission.Envelope{
		From: from, Protocol: s.client.protocol(opts.UTF8), Body: spool.BodyType(opts.Body), SMTPUTF8: opts.UTF8,
		RequireTLS: opts.RequireTLS, Return: string(opts.Return), EnvelopeID: wire.EncodeXtext(opts.EnvelopeID),
	})
	if err != nil {
		return replyOf(err)
	}
	s.message = m
	return nil
}

// Rcpt implements smtp.Session.
func (s *stockSession) Rcpt(to string, opts *smtp.RcptOptions) error {
	s.one.Lock()
	defer s.one.Unlock()
	switch {
	case opts.DeliverBy != nil || opts.MTPriority != nil || !opts.RequireRecipientValidSince.IsZero():
		return errParamUnknown
	case wire.CheckMailbox(to, true) != wire.NoFault:
		return replyStockPath
	case s.message == nil:
		return say(503, 5, 5, 1, "send MAIL first")
	}
	r := submission.Recipient{Address: to}
	for _, word := range opts.Notify {
		n, _ := submission.ReadNotify(string(word))
		r.Notify |= n
	}
	if opts.OriginalRecipient != "" {
		r.ORcpt = submission.EncodeORcpt(string(opts.OriginalRecipientType), opts.OriginalRecipient)
	}
	if err := s.message.Add(r); err != nil {
		return replyOf(err)
	}
	return nil
}

// Data implements smtp.Session. go-smtp breaks its reader before it calls
// Reset or Logout, so those don't wait long. It sends an error as the reply it
// holds, also where that is 250.
func (s *stockSession) Data(r io.Reader) error {
	s.one.Lock()
	defer s.one.Unlock()
	if s.message == nil {
		return say(503, 5, 5, 1, "send MAIL first")
	}
	defer s.end()
	if _, err := io.Copy(s.message, r); err != nil {
		var refusal *submission.Refusal
		if errors.As(err, &refusal) {
			return replyOf(refusal)
		}
		return err // of go-smtp, or of the client
	}
	id, err := s.message.Commit(s.client.ctx)
	if err != nil {
		return replyOf(err)
	}
	return say(250, 2, 0, 0, "queued as "+id.String())
}

// end drops a message that was not committed.
func (s *stockSession) end() {
	if s.message != nil {
		s.message.Discard()
		s.message = nil
	}
}

// Reset implements smtp.Session.
func (s *stockSession) Reset() {
	s.one.Lock()
	defer s.one.Unlock()
	s.end()
}

// Logout implements smtp.Session.
func (s *stockSession) Logout() error {
	s.Reset()
	return nil
}

// stockAuthSession is a stockSession that offers AUTH.
type stockAuthSession struct{ *stockSession }

// AuthMechanisms implements smtp.AuthSession.
func (s stockAuthSession) AuthMechanisms() []string { return s.client.mechanisms() }

// Auth implements smtp.AuthSession.
func (s stockAuthSession) Auth(mech string) (sasl.Server, error) { return s.client.mechanism(mech) }
