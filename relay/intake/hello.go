package intake

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"strconv"
	"strings"
	"time"

	smtp "github.com/emersion/go-smtp"

	"postern/config"
	"postern/config/wire"
	"postern/relay/submission"
)

const tlsImplicit = config.ListenerTLSImplicit

// hello begins a session, or begins it again (RFC 5321 §4.1.1.1, §4.1.4).
func (c *conn) hello(arg string, extended bool) {
	name := arg
	if !wire.IsHelo(arg) {
		if !c.set.lenient {
			c.protest(say(501, 5, 5, 4, "a domain name or an address literal is required"))
			return
		}
		if strings.ContainsFunc(arg, func(r rune) bool { return !wire.Visible(r) }) {
			c.protest(say(501, 5, 5, 4, "a character that cannot be seen is in the name"))
			return
		}
		name = cmp.Or(wire.MendHelo(arg), unknownHelo)
	}
	c.begin(name, extended)
	if !extended {
		c.reply(&smtp.SMTPError{Code: 250, EnhancedCode: smtp.NoEnhancedCode, Message: c.srv.hostname()})
		return
	}
	c.announce()
}

// unknownHelo stands in Received for a name that can't stand there itself.
const unknownHelo = "unknown"

// begin begins the session of a client that calls itself name, and sets what
// it may use.
func (c *conn) begin(name string, extended bool) {
	c.client.Helo, c.client.esmtp = name, extended
	c.state = stateReady
	c.reset()
	c.of = offers{maxSize: c.set.cfg.MaxMessageSize, lenient: c.set.lenient}
	// Old programs say HELO, or nothing, and sign in all the same.
	c.of.auth = c.of.lenient && !extended && len(c.client.mechanisms()) > 0
}

// beginLate begins a session at a command that ought to come after EHLO.
// Where the listener is lenient, MAIL and AUTH do.
func (c *conn) beginLate(cmd *command) bool {
	if c.state != stateFresh || !c.set.lenient || cmd.verb != "MAIL" && cmd.verb != "AUTH" {
		return false
	}
	c.begin(unknownHelo, false)
	return true
}

// announce lists what is honoured, to this client, now.
func (c *conn) announce() {
	say := func(text string, more bool) { c.out.line(250, smtp.NoEnhancedCode, text, more) }
	c.of.extended = true
	c.of.requireTLS = c.client.TLS != nil
	say(c.srv.hostname(), true)
	say("PIPELINING", true)                                                 // RFC 2920
	say(string(strconv.AppendInt([]byte("SIZE "), c.of.maxSize, 10)), true) // RFC 1870
	if c.set.cfg.TLS == config.ListenerTLSStart && c.client.TLS == nil {    // RFC 3207 §4.2: not again
		say("STARTTLS", true)
	}
	if mechs := c.client.mechanisms(); len(mechs) > 0 { // RFC 4954 §3
		c.of.auth = true
		list := "AUTH"
		for _, m := range mechs {
			list += " " + m
		}
		say(list, true)
		if c.set.lenient { // for clients older than RFC 2554, which wrote AUTH=
			say("AUTH="+list[len("AUTH "):], true)
		}
	}
	if c.of.requireTLS { // RFC 8689 §2: only under TLS
		say("REQUIRETLS", true)
	}
	say("DELIVERBY", true)            // RFC 2852
	say(futureRelease(), true)        // RFC 4865
	say("MT-PRIORITY", true)          // RFC 6710; no policy is named
	say("8BITMIME", true)             // RFC 6152
	say("SMTPUTF8", true)             // RFC 6531
	say("DSN", true)                  // RFC 3461
	say("CHUNKING", true)             // RFC 3030
	say("BINARYMIME", true)           // RFC 3030
	say("ENHANCEDSTATUSCODES", false) // RFC 2034
}

// futureRelease says how far ahead a message may be handed in (RFC 4865 §4).
func futureRelease() string {
	b := strconv.AppendInt([]byte("FUTURERELEASE "), int64(submission.MaxDelay/time.Second), 10)
	return string(time.Now().UTC().Add(submission.MaxDelay).AppendFormat(append(b, ' '), "2006-01-02T15:04:05Z"))
}

// starttls: RFC 3207 §4.
func (c *conn) starttls(string) {
	switch {
	case c.set.cfg.TLS != config.ListenerTLSStart:
		c.protest(say(502, 5, 5, 1, "TLS is not offered here"))
		return
	case c.client.TLS != nil:
		c.protest(say(503, 5, 5, 1, "TLS is active already"))
		return
	case c.next.Load() != nil && !bytes.Equal(c.set.certificate(), c.next.Load().certificate()):
		c.lost(errRevoked) // the certificate that it would be shown is gone
		return
	case c.in.r != c.in.w:
		// What stands behind STARTTLS in clear text would be taken for
		// commands sent under TLS. Nothing of it is ever used.
		c.in.r, c.in.w = 0, 0
		c.abuse("commands behind STARTTLS", say(554, 5, 7, 0, "commands behind STARTTLS, closing connection"))
		return
	}
	c.reply(say(220, 2, 0, 0, "go ahead"))
	if c.flush() != nil {
		return
	}
	c.handshake()
}

// secured begins the session anew under TLS: nothing that was said in clear
// text is remembered (RFC 3207 §4.2).
func (c *conn) secured(tc *tls.Conn) {
	c.reset()
	st := tc.ConnectionState()
	c.nc = tc
	c.client.TLS = &st
	c.client.Helo, c.client.User, c.client.esmtp = "", "", false
	c.signedIn, c.count.signIns = false, 0
	c.in.r, c.in.w = 0, 0
	c.state = stateFresh
}

func (c *conn) rset(string) {
	c.reset() // RFC 5321 §4.1.4: allowed before EHLO
	c.reply(replyOK)
}

func (c *conn) quit(string) {
	c.reply(say(221, 2, 0, 0, "bye"))
	c.end("quit")
}

// vrfy: RFC 5321 §3.5.3, §7.3.
func (c *conn) vrfy(arg string) {
	if arg == "" {
		c.protest(say(501, 5, 5, 4, "an address is required"))
		return
	}
	c.reply(say(252, 2, 0, 0, "cannot verify, but will take mail and try to deliver it"))
}
