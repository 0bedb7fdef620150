package intake

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	smtp "github.com/emersion/go-smtp"

	"postern/config/wire"
	"postern/relay/submission"
)

// Limits that are not configured.
const (
	maxLine         = 4096  // of a command; RFC 5321 §4.5.3.1.4 and the extensions that add to it
	maxAuthLine     = 12288 // RFC 4954 §4.5
	maxErrors       = 20    // protocol errors since the last accepted message
	maxIdleCommands = 100   // NOOP and the like since the last accepted message
	maxRefusals     = 1000  // refused MAIL and RCPT since the last accepted message
	maxAuthFailures = 3
	writeTimeout    = time.Minute
	refusedTimeout  = 10 * time.Second
	tlsTimeout      = time.Minute
	evictedTimeout  = 100 * time.Millisecond
)

// conn is one client. All but the atomic fields belongs to its goroutine.
type conn struct {
	srv    *Server
	set    *settings
	raw    net.Conn // as accepted; never changes, so that others may use it
	nc     net.Conn // raw, or TLS over it
	client client
	state  state
	of     offers
	body   content

	mailing transaction
	count   tally

	proxied    bool // the peer is a proxy, which says who its client is
	identified bool // who the client is was asked
	signedIn   bool
	why        string // why the connection ends
	started    time.Time
	opened     Opened // told, and kept here so that telling allocates nothing
	closed     Closed

	watch watch
	next  atomic.Pointer[settings] // in force since a reload; nil: still set

	out output
	in  input
}

// end notes why the connection is to end, and lets nothing more be read.
func (c *conn) end(why string) {
	if c.why == "" {
		c.why = why
	}
	c.state = stateClosed
}

// serve carries the dialogue from the greeting to the end.
func (c *conn) serve(l *listener) {
	defer c.finish()
	if c.proxied && !c.introduced(l) {
		return
	}
	if c.set.cfg.TLS == tlsImplicit && !c.handshake() {
		return
	}
	if !c.identify() || !c.greetable() {
		c.flush()
		return
	}
	// RFC 5321 §4.2: 220 with the domain first.
	c.reply(&smtp.SMTPError{Code: 220, Message: c.srv.hostname() + " ESMTP Postern", EnhancedCode: smtp.NoEnhancedCode})
	for c.state != stateClosed {
		line, err := c.line(maxLine)
		if err != nil {
			c.lost(err)
			break
		}
		if c.revoked() {
			c.lost(errRevoked)
			break
		}
		// Without the blanks at its end (RFC 5321 §4.1.1), which would be kept
		// as long as an address in it.
		c.command(string(bytes.TrimRight(line, " ")))
	}
	c.flush()
}

// finish closes the connection, whatever happened, and tells of it.
func (c *conn) finish() {
	if v := recover(); v != nil {
		c.srv.events(&Panicked{&c.client.Client, v, debug.Stack()})
		c.out.held = append(c.out.held[:0], "421 4.3.0 internal error, closing connection\r\n"...)
		c.why = "panic"
		harmless(func() { c.flush() })
	}
	harmless(c.reset)
	if !harmless(c.closeConn) { // it may be TLS that has met a defect
		c.raw.Close()
	}
	c.in.r, c.in.w = 0, 0
	c.in.release()
	if c.opened.Client != nil { // else it was refused, which was told
		c.closed = Closed{&c.client.Client, c.why, time.Since(c.started), c.count.accepted}
		c.srv.events(&c.closed)
	}
}

// harmless calls f; false: it panicked. What panicked once may do so again.
func harmless(f func()) (ok bool) {
	defer func() { _ = recover() }()
	f()
	return true
}

// closeConn closes so that the last reply arrives: a close with unread input
// resets the connection, and the reset overtakes the reply. So the sending
// side is closed first and a little of what still comes is thrown away.
func (c *conn) closeConn() {
	if c.why == "quit" || c.why == "client closed" || c.out.err != nil || c.srv.closed.Load() {
		c.nc.Close()
		return
	}
	if hc, ok := c.nc.(interface{ CloseWrite() error }); ok {
		c.nc.SetDeadline(time.Now().Add(lingerTimeout))
		hc.CloseWrite()
		io.CopyN(io.Discard, c.nc, lingerBytes)
	}
	c.nc.Close()
}

const (
	lingerTimeout = 500 * time.Millisecond
	lingerBytes   = 256 << 10
)

// lost answers an error of reading a command. Each is final.
func (c *conn) lost(err error) {
	switch {
	case errors.Is(err, errShutdown):
		c.reply(say(421, 4, 3, 2, "shutting down, closing connection")) // RFC 5321 §3.8
		c.end("shutdown")
	case errors.Is(err, errRevoked):
		c.reply(say(421, 4, 3, 2, "the configuration has changed, closing connection"))
		c.end("no longer allowed")
	case errors.Is(err, errEvicted):
		c.reply(say(421, 4, 3, 2, "too many connections, closing the one that was idle"))
		c.end("evicted")
	case errors.Is(err, os.ErrDeadlineExceeded) && c.state == stateChunks && c.body.tooSlow():
		c.abuse("message too slow", replyTooSlow)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.reply(say(421, 4, 4, 2, "timeout, closing connection")) // RFC 5321 §4.5.3.2.7
		c.end("timeout")
	case errors.Is(err, errLine):
		c.abuse("line too long", say(500, 5, 5, 6, "line too long, closing connection")) // RFC 5321 §4.5.3.1.9
	case errors.Is(err, errBare):
		c.abuse("bare CR or LF in a command", say(500, 5, 5, 2, "lines must end in CRLF, closing connection"))
	case errors.Is(err, errTLSBytes):
		c.abuse("TLS handshake on a port without implicit TLS", say(554, 5, 7, 0, "no TLS here before STARTTLS, closing connection"))
	default:
		c.end("client closed")
	}
}

// abuse ends the connection because of what the client sent.
func (c *conn) abuse(what string, r *smtp.SMTPError) {
	c.srv.events(&Abused{&c.client.Client, what})
	c.reply(r)
	c.end(what)
}

// command carries out one line.
func (c *conn) command(line string) {
	if cmd, arg := c.parse(line); cmd != nil {
		c.run(cmd, arg)
	}
}

// parse finds the command of a line, or answers what is wrong with it.
func (c *conn) parse(line string) (*command, string) {
	if c.set.lenient {
		line = withoutTabs(line)
	}
	if what := wire.ForeignProtocol(line); what != "" {
		c.abuse(what+" on the SMTP port", say(554, 5, 7, 0, "this is SMTP, closing connection"))
		return nil, ""
	}
	cmd, arg, r := parse(line, c.set.lenient)
	switch {
	case r != nil:
		c.protest(r)
		if r == replyUnknown {
			c.flush() // RFC 2920 §3.2: never held back
		}
		return nil, ""
	case !c.alone(cmd):
		return nil, ""
	case !cmd.in.has(c.state) && !c.beginLate(cmd):
		c.protest(say(503, 5, 5, 1, outOfOrder(c.state)))
		return nil, ""
	}
	return cmd, arg
}

// run carries out a command that may come now.
func (c *conn) run(cmd *command, arg string) {
	if cmd.idle {
		if c.count.idle() {
			c.abuse("too many commands without mail", say(421, 4, 7, 0, "too many commands without mail, closing connection"))
			return
		}
	}
	cmd.run(c, arg)
	if cmd.sync && c.in.r == c.in.w {
		return // the next read sends it
	}
	if cmd.sync && cmd.verb != "DATA" {
		c.flush()
	}
}

// protest answers a protocol error, and ends the connection where they pile up.
func (c *conn) protest(r *smtp.SMTPError) {
	c.reply(r)
	if c.count.protest() {
		c.abuse("too many errors", say(421, 4, 7, 0, "too many errors, closing connection"))
	}
}

// refused answers a refusal. It is not the client's mistake, but there is a
// number of them beyond which nobody is being served.
func (c *conn) refused(r *smtp.SMTPError) {
	c.reply(r)
	if c.count.refuse() {
		c.abuse("too many refusals", say(421, 4, 7, 0, "too many refusals, closing connection"))
	}
}

// refuse refuses what the engine itself does not let through: an address that
// is none, a message that is too large.
func (c *conn) refuse(at submission.Stage, to string, r *smtp.SMTPError) {
	c.srv.submission.Refuse(&c.client.Client, at, c.mailing.envelope.From,
		&submission.Refusal{Code: r.Code, Enhanced: r.EnhancedCode, Sentence: r.Message, Recipient: to})
	c.refused(r)
}

// replyOf is the reply that a refusal of the submission becomes. Its cause
// goes nowhere near the client.
func replyOf(err error) *smtp.SMTPError {
	r := submission.AsRefusal(err)
	return &smtp.SMTPError{Code: r.Code, EnhancedCode: r.Enhanced, Message: r.Sentence}
}

// reset ends the transaction (RFC 5321 §4.1.1.5).
func (c *conn) reset() {
	c.mailing.drop()
	if c.state > stateReady && c.state != stateClosed {
		c.state = stateReady
	}
}
