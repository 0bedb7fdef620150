package intake

import (
	"strings"
	"time"

	smtp "github.com/emersion/go-smtp"

	"postern/config/wire"
)

// heldReplies is how many bytes of replies are held back at most.
const heldReplies = 4 << 10

// say makes a reply. An *smtp.SMTPError is go-smtp's type for replies of
// every kind, and both its server and ours send it as it is.
func say(code, class, subject, detail int, text string) *smtp.SMTPError {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{class, subject, detail}, Message: text}
}

// reply adds r to the replies held back. They go out in one write before the
// next read that would wait (RFC 2920 §3.2).
func (c *conn) reply(r *smtp.SMTPError) {
	enh := r.EnhancedCode
	if enh == smtp.EnhancedCodeNotSet && r.Code >= 200 && r.Code != 354 {
		enh = smtp.EnhancedCode{r.Code / 100, 0, 0} // RFC 2034 §4
	}
	text := r.Message
	for {
		line, rest, more := strings.Cut(text, "\n")
		c.replyLine(r.Code, enh, line, more)
		if !more {
			break
		}
		text = rest
	}
	if len(c.out) > heldReplies {
		c.flush()
	}
}

// replyLine appends one line.
func (c *conn) replyLine(code int, enh smtp.EnhancedCode, text string, more bool) {
	c.out = wire.AppendReply(c.out, code, enh, text, more)
}

// flush writes what is held. A client that doesn't take it within the write
// timeout is lost.
func (c *conn) flush() error {
	if len(c.out) == 0 || c.writeErr != nil {
		return c.writeErr
	}
	timeout := writeTimeout
	if c.leaving() {
		timeout = time.Second
	}
	now := time.Now()
	c.waiting.Store(now.UnixNano())
	c.phase.Store(uint32(phaseWrite))
	c.nc.SetWriteDeadline(now.Add(timeout))
	if c.woken() == wokenEvict { // it set its deadline before ours, or will do so after
		c.nc.SetWriteDeadline(now.Add(evictedTimeout))
	}
	_, c.writeErr = c.nc.Write(c.out)
	c.phase.Store(uint32(phaseBusy))
	c.spoke = true
	if cap(c.out) > 2*heldReplies {
		c.out = nil
	}
	c.out = c.out[:0]
	if c.writeErr != nil {
		c.end("client does not read")
	}
	return c.writeErr
}
