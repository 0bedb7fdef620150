package capture

import (
	"crypto/subtle"
	"errors"
	"io"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"postern/config/wire"
)

// backend makes a session for each connection.
type backend struct {
	box      *maildir
	password string
	events   func(Event) // nil: nobody is told
}

func (b *backend) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{backend: b}, nil }

func (b *backend) tell(e Event) {
	if b.events != nil {
		b.events(e)
	}
}

// session takes messages from one connection.
type session struct {
	*backend
	upstream string // who signed in; empty: nobody yet
	from     string
	to       []string
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(mech string) (sasl.Server, error) {
	if mech != sasl.Plain {
		return nil, smtp.ErrAuthUnknownMechanism
	}
	return sasl.NewPlainServer(func(_, username, password string) error {
		if subtle.ConstantTimeCompare([]byte(password), []byte(s.password)) != 1 || username == "" {
			return smtp.ErrAuthFailed
		}
		s.upstream = username
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.upstream == "" {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Authentication required"}
	}
	s.Reset()
	s.from = wire.QuoteAddress(from)
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, wire.QuoteAddress(to))
	return nil
}

func (s *session) Data(r io.Reader) error {
	stored, err := s.box.deliver(s.upstream, s.from, s.to, r)
	var answer *smtp.SMTPError
	switch {
	case err == nil:
		s.tell(&stored)
		return nil
	case errors.As(err, &answer):
		return answer // of the protocol engine: too large
	case errors.Is(err, smtp.ErrTooLongLine):
		return &smtp.SMTPError{Code: 552, EnhancedCode: smtp.EnhancedCode{5, 3, 4}, Message: "A line of the message has more than 1 MiB"}
	}
	s.tell(&Failed{Upstream: s.upstream, Err: err})
	return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "The message could not be kept"}
}

func (s *session) Reset() { s.from, s.to = "", nil }

func (s *session) Logout() error { return nil }
