package queue

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"

	"postern/spool"
)

// Blame says whom or what an answer is about.
type Blame uint8

// The parties of a refusal. BlameNobody also stands for an answer that is not
// understood, which is always temporary.
const (
	BlameNobody    Blame = iota
	BlameRecipient       // this recipient
	BlameContent         // this content
	BlameSender          // this reverse-path, or the account's right to use it, or its quota
	BlameUpstream        // unreachable, overloaded or throttling: wait a little
	BlameAccess          // sign-in, TLS or permission: somebody has to mend something
)

var blameNames = [...]string{"nobody", "recipient", "content", "sender", "upstream", "access"}

func (b Blame) String() string { return blameNames[b] }

// Verdict is what an outcome means for a recipient and for its upstream.
type Verdict struct {
	// Status is Delivered, Bounced, or Pending, which means deferred.
	Status spool.Status
	Blame  Blame
	// Next is true where another upstream of the list may do better.
	Next bool
	// Soon is true where only the transaction was too large: the recipient
	// may be tried again at once, provided that others of it went through.
	Soon bool
	// InDoubt means that the final dot was sent and no answer is known.
	InDoubt bool
}

func deferred(b Blame, next bool) Verdict {
	return Verdict{Status: spool.Pending, Blame: b, Next: next}
}
func failed(b Blame) Verdict { return Verdict{Status: spool.Bounced, Blame: b} }

// Judge decides what an outcome means. more says whether another upstream is
// left to which a message may go that this one cannot carry.
//
// Only a 5xx about this recipient or this content fails a recipient. What is
// about the sender or the upstream keeps the mail, and everything unknown is
// temporary.
func Judge(o *spool.Outcome, more bool) Verdict {
	if o.Unsupported {
		if more {
			return deferred(BlameContent, true)
		}
		return failed(BlameContent)
	}
	if o.Stage == spool.StageDot && o.Code/100 == 2 {
		return Verdict{Status: spool.Delivered} // any 2yz, also a 251: RFC 5321 §4.2.1
	}
	if o.Stage == spool.StageDot && (o.Code < 400 || o.Code > 599) {
		// No answer, or one that belongs to another command.
		return Verdict{Status: spool.Pending, InDoubt: true}
	}
	if o.Stage < spool.StageMail {
		return judgeSession(o)
	}
	if o.Code < 400 || o.Code > 599 {
		return deferred(BlameNobody, false)
	}
	enh := parseEnhanced(o)
	if r := lookUp(o, enh); r != nil {
		return Verdict{Status: r.status, Blame: r.blame, Next: r.status == spool.Pending && r.blame != BlameRecipient}
	}
	if o.Code >= 500 && enh.class == 4 {
		return deferred(BlameNobody, false) // 550 4.2.1: the reply contradicts itself
	}
	switch {
	case o.Stage == spool.StageMail && o.Code < 500:
		return judgeMail4(o, enh)
	case o.Stage == spool.StageMail:
		return judgeMail5(o, enh)
	case o.Code < 500:
		return judgeMessage4(o, enh)
	case o.Stage == spool.StageRcpt:
		return judgeRcpt5(o, enh)
	}
	return judgeContent5(o, enh)
}

// JudgeFault decides what the end of a session means for its upstream: access
// parks it, everything else makes it wait.
func JudgeFault(f *spool.Fault) Verdict {
	if isDefect(f) {
		return deferred(BlameAccess, true)
	}
	v := judgeSession(&f.Outcome)
	if v.Blame == BlameAccess && f.Outcome.Code == 0 && isNetwork(f.Err) {
		return deferred(BlameUpstream, true) // cut off in the middle; nobody refused anything
	}
	return v
}

// isNetwork tells a broken line from a refusal of TLS or of a sign-in. So
// does an error that says of itself that it is temporary, such as a provider
// of tokens that is out of reach.
func isNetwork(err error) bool {
	var timeout net.Error
	var own interface{ Temporary() bool }
	if errors.As(err, &own) && own.Temporary() {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

// judgeSession is about the steps before MAIL: they never concern a message.
func judgeSession(o *spool.Outcome) Verdict {
	if o.Code >= 400 && o.Code <= 599 {
		if r := lookUp(o, parseEnhanced(o)); r != nil {
			return deferred(r.blame, true)
		}
	}
	switch {
	case o.Stage == spool.StageLocal:
		return deferred(BlameNobody, false)
	case o.Code/100 == 4 || o.Stage != spool.StageTLS && o.Stage != spool.StageSignIn:
		// Also 521 and 554 in place of a greeting (RFC 7504, RFC 5321 §3.1),
		// and 454 to STARTTLS or AUTH (RFC 3207 §4, RFC 4954 §6).
		return deferred(BlameUpstream, true)
	}
	return deferred(BlameAccess, true)
}

func judgeMail4(o *spool.Outcome, e enhanced) Verdict {
	switch {
	case e.subject == 1 || e.subject == 7 || e.subject == 2:
		return deferred(BlameSender, true) // 451 4.1.8 sender domain not found, 450 4.7.1 sender refused
	case o.Code == 450 && !e.known:
		return deferred(BlameSender, true)
	}
	return deferred(BlameUpstream, true) // 421, 451 4.3.0, 452 4.3.1
}

func judgeMail5(o *spool.Outcome, e enhanced) Verdict {
	switch {
	case e.is(5, 3, 4) || e.is(5, 2, 3) || o.Code == 552 && !e.known:
		return failed(BlameContent) // larger than the upstream takes: RFC 1870 §6.1
	case e.subject == 6:
		return failed(BlameContent) // 5.6.7: no SMTPUTF8 there, RFC 6531 §3.5
	case o.Code == 500 || o.Code == 502:
		return deferred(BlameUpstream, true) // it does not know MAIL: MailKit#1452
	}
	return deferred(BlameSender, true)
}

func judgeMessage4(o *spool.Outcome, e enhanced) Verdict {
	switch {
	case o.Code == 421: // RFC 5321 §3.8: it closes the connection
		return deferred(BlameUpstream, true)
	case o.Stage == spool.StageRcpt && tooManyRecipients(o, e):
		return Verdict{Status: spool.Pending, Blame: BlameRecipient, Soon: true}
	case e.subject == 3 && (e.detail == 1 || e.detail == 2):
		return deferred(BlameUpstream, true) // full, or not accepting
	}
	return deferred(BlameRecipient, false)
}

// tooManyRecipients: RFC 5321 §4.5.3.1.10 has a 452 for it and asks clients to
// read a 552 to RCPT as one.
func tooManyRecipients(o *spool.Outcome, e enhanced) bool {
	return e.subject == 5 && e.detail == 3 || (o.Code == 552 || o.Code == 452) && !e.known
}

func judgeRcpt5(o *spool.Outcome, e enhanced) Verdict {
	switch {
	case tooManyRecipients(o, e):
		return Verdict{Status: spool.Pending, Blame: BlameRecipient, Soon: true}
	case e.is(5, 3, 4):
		return failed(BlameContent)
	case o.Code == 521, systemTrouble(e):
		return deferred(BlameUpstream, true)
	case protocolTrouble(o, e):
		return deferred(BlameNobody, true)
	}
	return failed(BlameRecipient)
}

// judgeContent5 is about DATA, the content and the final dot.
func judgeContent5(o *spool.Outcome, e enhanced) Verdict {
	switch {
	case o.Code == 521, systemTrouble(e):
		return deferred(BlameUpstream, true)
	case protocolTrouble(o, e):
		return deferred(BlameNobody, true)
	case o.Stage == spool.StageBody && o.Code != 552 && !e.is(5, 3, 4):
		return deferred(BlameNobody, false) // an answer before its question
	}
	return failed(BlameContent)
}

// systemTrouble: 5.3.1 full, 5.3.2 not accepting, 5.3.3 not capable, 5.3.5
// misconfigured (RFC 3463 §3.4) are states of the upstream, whatever the class.
func systemTrouble(e enhanced) bool {
	return e.subject == 3 && (e.detail == 1 || e.detail == 2 || e.detail == 3 || e.detail == 5)
}

// protocolTrouble: the upstream did not understand our dialogue. That is not
// about a recipient unless it says so by 5.1.x, 5.2.x, 5.6.x or 5.7.x.
func protocolTrouble(o *spool.Outcome, e enhanced) bool {
	switch o.Code {
	case 500, 501, 502, 503, 504, 555:
		return !e.known || e.subject == 5 || e.subject == 0 || e.subject == 3
	}
	return e.subject == 5
}

// enhanced is an enhanced status code (RFC 3463), taken apart.
type enhanced struct {
	known                  bool
	class, subject, detail int
}

func (e enhanced) is(class, subject, detail int) bool {
	return e.known && e.class == class && e.subject == subject && e.detail == detail
}

func parseEnhanced(o *spool.Outcome) (e enhanced) {
	parts := strings.Split(o.Enhanced, ".")
	if len(parts) != 3 {
		return enhanced{}
	}
	for i, to := range []*int{&e.class, &e.subject, &e.detail} {
		n, err := strconv.Atoi(parts[i])
		if err != nil || n < 0 || n > 999 {
			return enhanced{}
		}
		*to = n
	}
	e.known = e.class == 2 || e.class == 4 || e.class == 5
	if !e.known {
		return enhanced{}
	}
	return e
}
