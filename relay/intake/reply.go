package intake

import (
	"strings"
	"time"

	smtp "github.com/emersion/go-smtp"

	"postern/config/wire"
	"postern/relay/ack"
)

// heldReplies is how many bytes of replies are held back at most.
const heldReplies = 4 << 10

// say makes a reply. An *smtp.SMTPError is go-smtp's type for replies of
// every kind, and both its server and ours send it as it is.
func say(code, class, subject, detail int, text string) *smtp.SMTPError {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{class, subject, detail}, Message: text}
}

// output is the replies that are held back, and how it went with those that
// were sent. The zero value holds nothing.
type output struct {
	held  []byte
	small [512]byte // room for those of an ordinary client
	spoke bool      // something was sent since the last read
	ack   ack.Control
	err   error // of the first write that failed; final
}

// add holds r back.
func (o *output) add(r *smtp.SMTPError) {
	enh := r.EnhancedCode
	if enh == smtp.EnhancedCodeNotSet && r.Code >= 200 && r.Code != 354 {
		enh = smtp.EnhancedCode{r.Code / 100, 0, 0} // RFC 2034 §4
	}
	text := r.Message
	for {
		line, rest, more := strings.Cut(text, "\n")
		o.line(r.Code, enh, line, more)
		if !more {
			return
		}
		text = rest
	}
}

// line holds one line back.
func (o *output) line(code int, enh smtp.EnhancedCode, text string, more bool) {
	if o.held == nil {
		o.held = o.small[:0]
	}
	o.held = wire.AppendReply(o.held, code, enh, text, more)
}

// sent empties it.
func (o *output) sent() {
	o.spoke = true
	if cap(o.held) > 2*heldReplies {
		o.held = nil
	}
	o.held = o.held[:0]
}

// reply adds r to the replies held back. They go out in one write before the
// next read that would wait (RFC 2920 §3.2).
func (c *conn) reply(r *smtp.SMTPError) {
	c.out.add(r)
	if len(c.out.held) > heldReplies {
		c.flush()
	}
}

// flush writes what is held. A client that doesn't take it within the write
// time-out is lost.
func (c *conn) flush() error {
	o := &c.out
	if len(o.held) == 0 || o.err != nil {
		return o.err
	}
	timeout := writeTimeout
	if c.watch.leaving() {
		timeout = time.Second
	}
	now := time.Now()
	c.watch.since.Store(now.UnixNano())
	c.watch.at(phaseWrite)
	c.nc.SetWriteDeadline(now.Add(timeout))
	if c.watch.woken() == wokenEvict { // it set its deadline before ours, or will do so after
		c.nc.SetWriteDeadline(now.Add(evictedTimeout))
	}
	_, o.err = c.nc.Write(o.held)
	c.watch.at(phaseBusy)
	o.sent()
	if o.err != nil {
		c.end("client does not read")
	}
	return o.err
}
