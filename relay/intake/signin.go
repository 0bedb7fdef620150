package intake

import (
	"errors"
	"time"

	"github.com/emersion/go-sasl"
	smtp "github.com/emersion/go-smtp"
	"github.com/xdg-go/scram"

	"postern/config/visible"
)

const (
	mechPlain = "PLAIN"
	mechLogin = "LOGIN"
	mechSCRAM = "SCRAM-SHA-256"
)

// AuthMechanisms implements smtp.AuthSession. Mechanisms that show the
// password are offered only where nobody else can see it: under TLS, on a
// unix socket, and on loopback.
func (s *session) AuthMechanisms() []string {
	u := s.peer.settings.users
	if u == nil {
		return nil
	}
	var list []string
	if u.scram != nil {
		list = append(list, mechSCRAM)
	}
	if s.peer.private() {
		list = append(list, mechPlain, mechLogin)
	}
	return list
}

// Auth implements smtp.AuthSession.
func (s *session) Auth(mech string) (sasl.Server, error) {
	u := s.peer.settings.users
	switch {
	case u == nil:
		return nil, say(503, 5, 5, 1, "AUTH is not offered")
	case mech == mechSCRAM && u.scram != nil:
		return &scramServer{session: s, conv: u.scram.NewConversation()}, nil
	case mech != mechPlain && mech != mechLogin:
		return nil, say(504, 5, 5, 4, "unknown mechanism") // RFC 4954 §4
	case !s.peer.private():
		return nil, replyNeedTLS
	case mech == mechLogin:
		return &loginServer{session: s}, nil
	}
	return sasl.NewPlainServer(func(identity, name, password string) error {
		if identity != "" && identity != name {
			return s.failed(mechPlain, name, "another identity was asked for")
		}
		return s.signIn(mechPlain, name, password)
	}), nil
}

var replyBusy = say(454, 4, 7, 0, "too many sign-ins at once, try again later")

// signIn checks a password.
func (s *session) signIn(mech, name, password string) error {
	switch ok, busy := s.peer.settings.users.check(s.peer.ctx, s.peer.origin(), name, password); {
	case busy:
		return replyBusy
	case !ok:
		return s.failed(mech, name, "wrong user or password")
	}
	s.signedIn(mech, name)
	return nil
}

func (s *session) signedIn(mech, name string) {
	s.peer.User = name
	s.peer.settings.shared.guesses.Succeeded(s.peer.origin(), name)
	s.events.SignedIn(s.peer.info(), mech, name)
}

func (s *session) failed(mech, name, why string) error {
	s.peer.settings.shared.guesses.Failed(s.peer.origin(), name, time.Now())
	s.events.SignInFailed(s.peer.info(), mech, visible.Text(name, 256), why)
	return replyAuthFailed
}

// loginServer is the server side of LOGIN, which no RFC defines: it asks for
// a name, unless that came along, and for a password.
type loginServer struct {
	*session
	name  string
	asked int
}

// Next implements sasl.Server.
func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil && l.asked == 0 {
		l.asked = 1
		return []byte("Username:"), false, nil
	}
	if l.asked < 2 {
		l.name, l.asked = string(response), 2
		return []byte("Password:"), false, nil
	}
	if err := l.signIn(mechLogin, l.name, string(response)); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}

// scramServer is the server side of SCRAM-SHA-256 (RFC 5802, RFC 7677).
type scramServer struct {
	*session
	conv  *scram.ServerConversation
	asked bool // the next response is the proof
	final bool
}

// Next implements sasl.Server.
func (x *scramServer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil:
		return nil, false, nil // RFC 4954 §4: an empty challenge asks for the first message
	case x.final:
		if len(response) != 0 {
			return nil, false, errors.New("the last response is to be empty")
		}
		x.signedIn(mechSCRAM, x.conv.Username())
		return nil, true, nil
	}
	if x.asked && !x.peer.settings.shared.await(x.peer.ctx, x.peer.origin(), x.conv.Username()) {
		return nil, false, replyBusy
	}
	out, err := x.conv.Step(string(response))
	if err != nil {
		return nil, false, x.failed(mechSCRAM, x.conv.Username(), "wrong user or password")
	}
	x.asked = true
	if x.conv.Done() {
		if !x.conv.Valid() || x.conv.AuthzID() != "" && x.conv.AuthzID() != x.conv.Username() {
			return nil, false, x.failed(mechSCRAM, x.conv.Username(), "wrong user or password")
		}
		// SMTP has no place for data with a success (RFC 4954 §4): the
		// server's proof is a challenge with an empty response.
		x.final = true
	}
	return []byte(out), false, nil
}

var _ smtp.AuthSession = (*session)(nil)
var _ ExtendedSession = (*session)(nil)
