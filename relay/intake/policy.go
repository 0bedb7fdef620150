package intake

import (
	"context"
	"errors"
	"io"
	"net/textproto"
	"strings"
	"sync/atomic"
	"time"

	smtp "github.com/emersion/go-smtp"

	"postern/relay/route"
	"postern/spool"
)

// Acceptor takes messages over. The queue is one.
type Acceptor interface {
	// Create begins a message. spool.ErrFull is answered by 452, anything
	// else by 451.
	Create(ctx context.Context) (spool.Draft, error)
}

// Router says where mail goes. *route.Table is one.
type Router interface {
	// Sender tells whether any route may take mail from q.From.
	Sender(q route.Query) bool
	// Refusal is what to tell a sender that no route may take; empty: that.
	Refusal(q route.Query) string
	// Recipient decides for q.To.
	Recipient(q route.Query) route.Decision
	// Fields are the canonical names of the header fields that decisions can
	// depend on.
	Fields() []string
}

// policy is the Backend of this package: what the configuration says about a
// message, and its way into the spool.
type policy struct {
	accept Acceptor
	events Events
	house  *atomic.Pointer[house]
}

func newPolicy(a Acceptor, ev Events, h *atomic.Pointer[house]) *policy {
	return &policy{accept: a, events: ev, house: h}
}

// NewSession implements Backend.
func (p *policy) NewSession(peer *Peer) (smtp.Session, error) {
	return &session{policy: p, peer: peer}, nil
}

// session is a go-smtp Session: one client's transactions, one after the
// other. It belongs to the goroutine of its connection.
type session struct {
	*policy
	peer *Peer

	scratch []byte // for the fields that we add, from message to message

	house *house // as of MAIL
	draft spool.Draft
	env   *spool.Envelope
	begun time.Time
	seen  map[string]struct{} // recipients, once there are several
	late  bool                // some recipient waits for the header

	holding holding // memory

	priority *int // the highest that a route of a recipient sets; nil: none does
}

var replyFull = say(452, 4, 3, 1, "insufficient storage, try again later")

// Mail implements smtp.Session.
func (s *session) Mail(from string, opts *smtp.MailOptions) error {
	return s.MailExtended(from, opts, Extensions{})
}

// MailExtended implements ExtendedSession.
func (s *session) MailExtended(from string, opts *smtp.MailOptions, ext Extensions) error {
	s.Reset()
	if s.peer.settings.cfg.RequireAuth && s.peer.User == "" {
		return s.refuse("MAIL", from, "", say(530, 5, 7, 0, "sign in first"), nil) // RFC 4954 §6
	}
	s.house = s.policy.house.Load()
	if r := s.house.refusal(s.query(from, "", nil)); r != nil {
		return s.refuse("MAIL", from, "", r, nil)
	}
	if r := s.overRate(messages); r != nil {
		return s.refuse("MAIL", from, "", r, nil)
	}
	d, err := s.accept.Create(s.peer.ctx)
	if err != nil {
		return s.refuse("MAIL", from, "", storage(err), err)
	}
	s.draft = d
	s.begun = time.Now()
	s.env = &spool.Envelope{
		From:       from,
		Body:       spool.BodyType(opts.Body),
		SMTPUTF8:   opts.UTF8,
		RequireTLS: opts.RequireTLS,
		Return:     string(opts.Return),
		EnvelopeID: encodeXtext(opts.EnvelopeID),
		Priority:   min(ext.Priority, s.peer.settings.cfg.MaxPriority),
		Listener:   s.peer.Listener(),
		Peer:       s.peer.Name,
		User:       s.peer.User,
		UnixUser:   s.peer.UnixUser,
		Helo:       s.peer.Helo,
	}
	if by := ext.DeliverBy; by != nil {
		// RFC 2852 §4: by-time counts from when the message is received; the
		// time of MAIL is a moment earlier, never later.
		s.env.DeliverBy = &spool.DeliverBy{Deadline: s.begun.Add(by.Time), Return: by.Mode == smtp.DeliverByReturn, Trace: by.Trace}
	}
	return nil
}

func (s *session) query(from, to string, h textproto.MIMEHeader) route.Query {
	return route.Query{From: from, To: to, Listener: s.peer.Listener(), User: s.peer.User, UnixUser: s.peer.UnixUser, Header: h}
}

// storage turns an error of the spool into a reply. No detail goes out.
func storage(err error) *smtp.SMTPError {
	if errors.Is(err, spool.ErrFull) {
		return replyFull
	}
	return verdict(nil)
}

// Rcpt implements smtp.Session.
func (s *session) Rcpt(to string, opts *smtp.RcptOptions) error {
	if s.env == nil {
		return say(503, 5, 5, 1, "send MAIL first")
	}
	if s.repeated(to) {
		return nil // it is delivered once, as Postfix does
	}
	d := s.house.routes.Recipient(s.query(s.env.From, to, nil))
	if d.Reject != "" {
		return s.refuse("RCPT", s.env.From, to, say(550, 5, 7, 1, d.Reject), nil)
	}
	if !d.Matched && !d.NeedsHeader {
		return s.refuse("RCPT", s.env.From, to, say(550, 5, 7, 1, "<"+to+"> no route maps this recipient; `postern explain` shows why"), nil)
	}
	if r := s.overRate(recipients); r != nil {
		return s.refuse("RCPT", s.env.From, to, r, nil)
	}
	s.late = s.late || !d.Matched
	s.raise(d.Priority)
	r := spool.Recipient{Address: to, Upstreams: d.Upstreams, Notify: notify(opts.Notify)}
	if opts.OriginalRecipient != "" {
		r.ORcpt = originalRecipient(opts)
	}
	if !s.hold(weight(&r)) {
		return s.refuse("RCPT", s.env.From, to, replyMemory, nil)
	}
	s.env.Recipients = append(s.env.Recipients, r)
	if s.seen != nil {
		s.seen[foldDomain(to)] = struct{}{}
	}
	return nil
}

// raise notes the priority that a route sets, which counts for the message as
// a whole. RFC 6710 §4.1 leaves it to us to set one.
func (s *session) raise(priority *int) {
	if priority != nil && (s.priority == nil || *priority > *s.priority) {
		s.priority = priority
	}
}

// repeated tells whether the transaction has the recipient already. Domains
// are the same in capitals (RFC 5321 §2.4); what stands before them is for its
// own domain to compare.
func (s *session) repeated(to string) bool {
	to = foldDomain(to)
	if s.seen != nil {
		_, ok := s.seen[to]
		return ok
	}
	for i := range s.env.Recipients {
		if foldDomain(s.env.Recipients[i].Address) == to {
			return true
		}
	}
	if n := len(s.env.Recipients); n >= 16 {
		s.seen = make(map[string]struct{}, 4*n)
		for i := range s.env.Recipients {
			s.seen[foldDomain(s.env.Recipients[i].Address)] = struct{}{}
		}
	}
	return false
}

// foldDomain is addr with its domain in lower case; without a capital letter
// it is addr itself.
func foldDomain(addr string) string {
	at := strings.LastIndexByte(addr, '@') + 1
	return addr[:at] + strings.ToLower(addr[at:])
}

func notify(list []smtp.DSNNotify) (n spool.Notify) {
	for _, v := range list {
		switch v {
		case smtp.DSNNotifyNever:
			n |= spool.NotifyNever
		case smtp.DSNNotifySuccess:
			n |= spool.NotifySuccess
		case smtp.DSNNotifyFailure:
			n |= spool.NotifyFailure
		case smtp.DSNNotifyDelayed:
			n |= spool.NotifyDelay
		}
	}
	return n
}

// originalRecipient is ORCPT in wire form. Of several forms of one UTF-8
// address it is the one in ASCII, which any server with DSN takes.
func originalRecipient(o *smtp.RcptOptions) string {
	switch o.OriginalRecipientType {
	case smtp.DSNAddressTypeUTF8:
		return "utf-8;" + encodeUTF8Xtext(o.OriginalRecipient)
	case smtp.DSNAddressTypeRFC822:
		return "rfc822;" + encodeXtext(o.OriginalRecipient)
	}
	return string(o.OriginalRecipientType) + ";" + encodeXtext(o.OriginalRecipient)
}

// Data implements smtp.Session. The reply that it returns says 250 only after
// Commit returned nil.
func (s *session) Data(r io.Reader) error {
	if s.env == nil || len(s.env.Recipients) == 0 {
		return say(503, 5, 5, 1, "send RCPT first")
	}
	defer s.Reset()
	l := letter{session: s, binary: s.env.Body == spool.BodyBinaryMIME}
	_, err := io.Copy(&l, r)
	if err == nil {
		err = l.finish()
	}
	if err != nil {
		if l.err == nil {
			return err // of the client, or of the engine, which tells of it
		}
		return s.refuse("DATA", s.env.From, "", l.refusal(), l.cause())
	}
	s.env.Accepted = time.Now()
	if s.priority != nil {
		s.env.Priority = *s.priority
	}
	id, d := s.draft.ID(), s.draft
	if err := d.Commit(s.peer.ctx, s.env); err != nil {
		s.draft = nil // Commit ended it, whatever it answered
		return s.refuse("DATA", s.env.From, "", storage(err), err)
	}
	s.draft = nil
	s.events.MessageAccepted(s.peer.info(), Accepted{
		ID: id, From: s.env.From, Recipients: len(s.env.Recipients), Size: l.size,
		MessageID: s.env.MessageID, Took: time.Since(s.begun),
	})
	return say(250, 2, 0, 0, "queued as "+id.String())
}

// refuse tells of a refusal and returns it.
func (s *session) refuse(stage, from, to string, r *smtp.SMTPError, cause error) error {
	s.events.MailRefused(s.peer.info(), refusal(stage, from, to, r, cause))
	return r
}

// Reset implements smtp.Session: what was not committed is dropped.
func (s *session) Reset() {
	if s.draft != nil {
		s.draft.Discard()
	}
	s.holding.end(s.peer.settings.shared.memory, s.peer.origin)
	s.draft, s.env, s.seen, s.late, s.house, s.priority = nil, nil, nil, false, nil, nil
}

// Logout implements smtp.Session.
func (s *session) Logout() error {
	s.Reset()
	return nil
}
