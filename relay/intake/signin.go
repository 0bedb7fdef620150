package intake

import (
	"errors"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"postern/config/wire"
)

const (
	mechPlain = "PLAIN"
	mechLogin = "LOGIN"
	mechSCRAM = "SCRAM-SHA-256"
)

// mechanisms are those that the client is offered now. Such that show the
// password are offered only where nobody else can see it: under TLS, on a
// unix socket, and on loopback.
func (c *client) mechanisms() []string {
	u := c.settings.users
	if u == nil {
		return nil
	}
	var list []string
	if u.scram != nil {
		list = append(list, mechSCRAM)
	}
	if c.private() {
		list = append(list, mechPlain, mechLogin)
	}
	return list
}

// mechanism begins a sign-in.
func (c *client) mechanism(mech string) (sasl.Server, error) {
	u := c.settings.users
	switch {
	case u == nil:
		return nil, say(503, 5, 5, 1, "AUTH is not offered")
	case mech == mechSCRAM && u.scram != nil:
		return &scramServer{client: c, conv: u.scram.NewConversation()}, nil
	case mech != mechPlain && mech != mechLogin:
		return nil, say(504, 5, 5, 4, "unknown mechanism") // RFC 4954 §4
	case !c.private():
		return nil, replyNeedTLS
	case mech == mechLogin:
		return &loginServer{client: c}, nil
	}
	return sasl.NewPlainServer(func(identity, name, password string) error {
		if identity != "" && identity != name {
			return c.failed(mechPlain, name, "another identity was asked for")
		}
		return c.signIn(mechPlain, name, password)
	}), nil
}

var replyBusy = say(454, 4, 7, 0, "too many sign-ins at once, try again later")

// signIn checks a password.
func (c *client) signIn(mech, name, password string) error {
	switch ok, busy := c.settings.users.check(c.ctx, c.Connection(), name, password); {
	case busy:
		return replyBusy
	case !ok:
		return c.failed(mech, name, "wrong user or password")
	}
	c.signedIn(mech, name)
	return nil
}

func (c *client) signedIn(mech, name string) {
	c.User = name
	c.settings.shared.guesses.Succeeded(c.Connection(), name)
	c.events(&SignedIn{&c.Client, mech, name})
}

func (c *client) failed(mech, name, why string) error {
	c.settings.shared.guesses.Failed(c.Connection(), name, time.Now())
	c.events(&SignInFailed{&c.Client, mech, wire.Text(name, 256), why})
	return replyAuthFailed
}

// loginServer is the server side of LOGIN, which no RFC defines: it asks for
// a name, unless that came along, and for a password.
type loginServer struct {
	*client
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
	*client
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
	if x.asked && !x.settings.shared.await(x.ctx, x.Connection(), x.conv.Username()) {
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
