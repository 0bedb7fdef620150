package intake

import (
	"errors"
	"os"
	"strings"

	smtp "github.com/emersion/go-smtp"

	"postern/config/wire"
	"postern/relay/submission"
	"postern/spool"
)

// transaction is one message on its way in.
type transaction struct {
	envelope submission.Envelope // of the last MAIL
	message  *submission.Message // nil: there is none
}

// drop ends it. Of a message that was committed nothing is lost.
func (t *transaction) drop() {
	if m := t.message; m != nil {
		t.message = nil
		m.Discard()
	}
}

// afterWord is what follows "FROM:" or "TO:" in the argument of MAIL or RCPT.
// Where lenient, blanks may stand around the word, and before a bracket the
// colon may be missing.
func afterWord(arg, word string, lenient bool) (string, bool) {
	if lenient {
		arg = strings.TrimLeft(arg, " ")
	}
	n := len(word) - 1
	if len(arg) <= n || !strings.EqualFold(arg[:n], word[:n]) {
		return "", false
	}
	rest := arg[n:]
	if lenient {
		if rest = strings.TrimLeft(rest, " "); rest == "" {
			return "", false
		}
	}
	switch {
	case rest[0] == ':':
		return rest[1:], true
	case lenient && rest[0] == '<':
		return rest, true
	}
	return "", false
}

// path takes the path out of the argument of MAIL or RCPT. utf8ok tells from
// the parameters whether the path may hold UTF-8.
func (c *conn) path(arg, word string, utf8ok func(params string) bool) (addr, rest string, r *smtp.SMTPError) {
	lenient := c.set.lenient
	arg, ok := afterWord(arg, word, lenient)
	if !ok {
		return "", "", say(501, 5, 5, 4, "syntax: "+word+"<address>")
	}
	addr, rest, fault := wire.CutPath(arg, lenient)
	if fault == wire.NoFault {
		addr, fault = wire.CheckPath(addr, !wire.IsASCII(addr) && utf8ok(rest), lenient)
	}
	class := 7 // X.1.7 bad sender's mailbox address syntax (RFC 3463 §3.2)
	if word == "TO:" {
		class = 3 // X.1.3 bad destination mailbox address syntax
	}
	switch fault {
	case wire.BadSyntax:
		return "", "", say(501, 5, 1, class, "malformed address; syntax: "+word+"<address>")
	case wire.TooLong:
		return "", "", say(501, 5, 1, class, "address too long") // RFC 5321 §4.5.3.1.10
	case wire.NeedsUTF8:
		return "", "", say(553, 5, 6, 7, "address needs SMTPUTF8") // RFC 6531 §3.5
	}
	return addr, rest, nil
}

// mail: RFC 5321 §4.1.1.2.
func (c *conn) mail(arg string) {
	if !c.identify() { // a reload may have begun to ask
		return
	}
	// Whether SMTPUTF8 follows decides how the path before it is read.
	from, rest, r := c.path(arg, "FROM:", hasUTF8)
	c.mailing.envelope = submission.Envelope{From: from}
	if r == nil && rest != "" {
		if !c.client.esmtp && !c.set.lenient {
			r = errParamUnknown // RFC 5321 §4.1.1.1: no extensions after HELO
		} else {
			r = mailParams(rest, c.of, &c.mailing.envelope)
		}
	}
	if r != nil {
		if r.Code == 552 {
			c.refuse(submission.AtSender, "", r)
			return
		}
		c.protest(r)
		return
	}
	c.mailing.envelope.Protocol = c.client.protocol(c.mailing.envelope.SMTPUTF8)
	m, err := c.srv.submission.Begin(c.client.ctx, &c.client.Client, c.mailing.envelope)
	if err != nil {
		c.refused(replyOf(err))
		return
	}
	c.mailing.message, c.state = m, stateMail
	c.reply(say(250, 2, 1, 0, "ok"))
}

// rcpt: RFC 5321 §4.1.1.3.
func (c *conn) rcpt(arg string) {
	to, rest, r := c.path(arg, "TO:", func(string) bool { return c.mailing.envelope.SMTPUTF8 })
	if r == nil && to == "" {
		r = say(501, 5, 1, 3, "a recipient is required") // the null path is no forward-path
	}
	recipient := submission.Recipient{Address: to}
	if r == nil && rest != "" {
		if !c.client.esmtp && !c.set.lenient {
			r = errParamUnknown
		} else {
			r = rcptParams(rest, c.mailing.envelope.SMTPUTF8, c.set.lenient, &recipient)
		}
	}
	if r != nil {
		c.protest(r)
		return
	}
	if err := c.mailing.message.Add(recipient); err != nil {
		c.refused(replyOf(err))
		return
	}
	c.state = stateRcpt
	c.reply(say(250, 2, 1, 5, "ok"))
}

// data: RFC 5321 §4.1.1.4.
func (c *conn) data(string) {
	if c.mailing.envelope.Body == spool.BodyBinaryMIME {
		c.protest(say(503, 5, 5, 1, "BINARYMIME needs BDAT")) // RFC 3030 §3
		return
	}
	c.reply(&smtp.SMTPError{Code: 354, EnhancedCode: smtp.NoEnhancedCode, Message: "end data with <CR><LF>.<CR><LF>"})
	if c.flush() != nil {
		return
	}
	c.body.start(c, false, false)
	c.receive()
}

// receive takes the content of the message, answers its end, and begins the
// next transaction. The message is committed where the end was read, and
// nowhere else.
func (c *conn) receive() {
	t := &c.body
	err := t.copyTo(c.mailing.message)
	var id spool.ID
	if err == nil {
		id, err = c.mailing.message.Commit(c.client.ctx)
	} else {
		c.mailing.message.Discard() // before the rest is read, which may take long
	}
	lost := t.drain()
	if lost != nil || t.after != nil || c.in.err != nil {
		c.cutShort()
		return
	}
	if t.large && (t.ended || t.last) { // all of it was read
		t.fault = replyOf(submission.TooLarge(t.size, c.set.cfg.MaxMessageSize))
	}
	switch {
	case t.fault != nil:
		c.refuse(submission.AtContent, "", t.fault)
	case err != nil:
		c.refused(replyOf(err))
	default:
		c.count.accept()
		text := "queued as "
		if c.mailing.message.Repeated() {
			text = "queued before as "
		}
		c.reply(say(250, 2, 0, 0, text+id.String()))
	}
	c.reset()
	c.in.release()
}

var replyTooSlow = say(421, 4, 4, 2, "message comes too slowly, closing connection")

// cutShort ends a message whose end was never read. Nothing was taken, and
// nothing more is said to a client that is gone.
func (c *conn) cutShort() {
	t := &c.body
	c.reset()
	if t.after != nil {
		return
	}
	switch lost := c.in.err; {
	case errors.Is(lost, os.ErrDeadlineExceeded) && t.fault != nil:
		c.refuse(submission.AtContent, "", t.fault) // so that a client with bare LF . LF learns why
		c.end("refused")
	case errors.Is(lost, os.ErrDeadlineExceeded) && t.tooSlow():
		c.abuse("message too slow", replyTooSlow)
	case errors.Is(lost, os.ErrDeadlineExceeded) && t.bare: // it may take LF . LF for the end, after commands that ended in CRLF
		c.reply(say(421, 4, 4, 2, "timeout inside the message, whose end is a dot between CRLF and CRLF, and not between bare newlines; closing connection"))
		c.end("timeout in data: no end of data between CRLFs")
	case errors.Is(lost, os.ErrDeadlineExceeded):
		c.reply(say(421, 4, 4, 2, "timeout inside the message, closing connection"))
		c.end("timeout in data")
	case errors.Is(lost, errEvicted):
		c.lost(lost)
	case lost == nil:
		c.abuse("endless message", say(421, 4, 7, 0, "endless message, closing connection"))
	default:
		c.end("client closed in data")
	}
}
