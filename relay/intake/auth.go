package intake

import (
	"context"
	"encoding/base64"
	"errors"
	"postern/relay/origin"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	smtp "github.com/emersion/go-smtp"
)

var (
	replyAuthFailed = say(535, 5, 7, 8, "authentication failed") // RFC 4954 §6
	replyAuthCancel = say(501, 5, 7, 0, "authentication cancelled")
	replyAuthBase64 = say(501, 5, 5, 2, "malformed base64")
	replyNeedTLS    = say(538, 5, 7, 11, "this mechanism needs TLS")
)

// auth: RFC 4954 §4.
func (c *conn) auth(arg string) {
	mech, initial, has := strings.Cut(arg, " ")
	switch {
	case !c.of.auth:
		c.protest(say(503, 5, 5, 1, "AUTH is not offered"))
		return
	case c.signedIn:
		c.protest(say(503, 5, 5, 1, "signed in already")) // only once in a session
		return
	case mech == "":
		c.protest(say(501, 5, 5, 4, "a mechanism is required"))
		return
	}
	server, err := c.client.mechanism(strings.ToUpper(mech))
	if err != nil {
		c.protest(verdictAuth(err))
		return
	}
	var response []byte // nil: none was given
	ok := true
	if has {
		if response, ok = decodeResponse(initial); !ok {
			c.protest(replyAuthBase64)
			return
		}
	}
	for {
		challenge, done, err := c.step(server, response)
		if err != nil {
			c.authFailed(verdictAuth(err))
			return
		}
		if done {
			c.signedIn = true
			if c.removed(c.client.User) {
				c.lost(errRevoked)
				return
			}
			c.reply(say(235, 2, 7, 0, "authentication succeeded"))
			return
		}
		if response, ok = c.challenge(challenge); !ok {
			return
		}
	}
}

// step carries one step out. It may take long, and somebody else may need the
// place meanwhile.
func (c *conn) step(server sasl.Server, response []byte) (challenge []byte, done bool, err error) {
	defer c.waitable()()
	return server.Next(response)
}

// waitable lets c be evicted, or sent away by a shutdown, until the function
// that it returns is called.
func (c *conn) waitable() (end func()) {
	all := c.client.ctx
	ctx, cancel := context.WithCancel(all)
	c.client.ctx = ctx
	c.watch.asking.Store(&cancel)
	if c.watch.leaving() {
		cancel()
	}
	c.wait()
	c.watch.at(phaseSignIn)
	return func() {
		c.watch.at(phaseBusy)
		c.watch.asking.Store(nil)
		c.client.ctx = all
		cancel()
	}
}

// challenge sends one and reads the response.
func (c *conn) challenge(b []byte) ([]byte, bool) {
	c.reply(&smtp.SMTPError{Code: 334, EnhancedCode: smtp.NoEnhancedCode, Message: base64.StdEncoding.EncodeToString(b)})
	line, err := c.line(maxAuthLine)
	if err != nil {
		c.lost(err)
		return nil, false
	}
	defer clear(line)
	if string(line) == "*" {
		c.protest(replyAuthCancel)
		return nil, false
	}
	response, err := base64.StdEncoding.DecodeString(string(line))
	if err != nil {
		c.protest(replyAuthBase64)
		return nil, false
	}
	if response == nil {
		response = []byte{}
	}
	return response, true
}

// decodeResponse: an initial response of "=" is an empty one.
func decodeResponse(s string) ([]byte, bool) {
	if s == "=" {
		return []byte{}, true
	}
	b, err := base64.StdEncoding.DecodeString(s)
	return b, err == nil && len(b) > 0
}

func verdictAuth(err error) *smtp.SMTPError {
	var r *smtp.SMTPError
	if errors.As(err, &r) {
		return r
	}
	return replyAuthFailed
}

// authFailed answers after a while that grows, and not for ever.
func (c *conn) authFailed(r *smtp.SMTPError) {
	enough := c.count.failSignIn()
	if !c.watch.leaving() {
		end := c.waitable()
		origin.Pause(c.client.ctx, time.Second<<(c.count.signIns-1))
		end()
	}
	c.protest(r)
	if enough && c.state != stateClosed {
		c.abuse("too many failed sign-ins", say(421, 4, 7, 0, "too many failed sign-ins, closing connection"))
	}
}
