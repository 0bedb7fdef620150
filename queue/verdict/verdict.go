// Package verdict says what an upstream's answer means: for a recipient, for a
// message, for the upstream itself, and for an administrator who reads it.
//
// It owns the general rules, and the table of answers that real providers give
// (replies.toml). All of it is functions from values to values, which may be
// called from several goroutines at once. It keeps nothing, waits for nothing,
// and knows neither lanes nor the store. Whatever it does not understand is
// temporary.
//
// To read first: [Of], [OfFault], [Advise].
package verdict

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"

	"postern/spool"
)

// Blame says whom or what an answer is about.
type Blame uint8

// The parties of a refusal. Nobody, the zero value, also stands for an answer
// that is not understood, which is always temporary.
const (
	Nobody    Blame = iota
	Recipient       // this recipient
	Content         // this content
	Sender          // this reverse-path, or the account's right to use it, or its quota
	Upstream        // unreachable, overloaded or throttling: wait a little
	Access          // sign-in, TLS or permission: somebody has to repair something
)

var blameNames = [...]string{"nobody", "recipient", "content", "sender", "upstream", "access"}

func (b Blame) String() string { return blameNames[b] }

// Verdict is what an outcome means for a recipient and for its upstream. The
// zero value defers, and blames nobody.
type Verdict struct {
	// Status is Delivered, Bounced, or Pending, which means deferred.
	Status spool.Status
	// Blame is Nobody where the recipient was delivered.
	Blame Blame
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

// Of decides what an outcome means. more says whether another upstream is
// left to which a message may go that this one cannot carry.
//
// Only a 5xx about this recipient or this content fails a recipient. What is
// about the sender or the upstream keeps the mail, and everything unknown is
// temporary.
func Of(o *spool.Outcome, more bool) Verdict {
	if o.Unsupported {
		if more {
			return deferred(Content, true)
		}
		return failed(Content)
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
		return deferred(Nobody, false)
	}
	enh := EnhancedOf(o)
	if r := lookUp(o, enh); r != nil {
		return Verdict{Status: r.status, Blame: r.blame, Next: r.status == spool.Pending && r.blame != Recipient}
	}
	if o.Code >= 500 && enh.Class == 4 {
		return deferred(Nobody, false) // 550 4.2.1: the reply contradicts itself
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

// OfFault decides what the end of a session means for its upstream: Access
// parks it, everything else makes it wait. Its status is always Pending.
func OfFault(f *spool.Fault) Verdict {
	if IsDefect(f) {
		return deferred(Access, true)
	}
	v := judgeSession(&f.Outcome)
	if v.Blame == Access && f.Outcome.Code == 0 && isNetwork(f.Err) {
		return deferred(Upstream, true) // cut off in the middle; nobody refused anything
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
		if r := lookUp(o, EnhancedOf(o)); r != nil {
			return deferred(r.blame, true)
		}
	}
	switch {
	case o.Stage == spool.StageLocal:
		return deferred(Nobody, false)
	case o.Code/100 == 4 || o.Stage != spool.StageTLS && o.Stage != spool.StageSignIn:
		// Also 521 and 554 in place of a greeting (RFC 7504, RFC 5321 §3.1),
		// and 454 to STARTTLS or AUTH (RFC 3207 §4, RFC 4954 §6).
		return deferred(Upstream, true)
	}
	return deferred(Access, true)
}

func judgeMail4(o *spool.Outcome, e Enhanced) Verdict {
	switch {
	case e.Subject == 1 || e.Subject == 7 || e.Subject == 2:
		return deferred(Sender, true) // 451 4.1.8 sender domain not found, 450 4.7.1 sender refused
	case o.Code == 450 && !e.Known():
		return deferred(Sender, true)
	}
	return deferred(Upstream, true) // 421, 451 4.3.0, 452 4.3.1
}

func judgeMail5(o *spool.Outcome, e Enhanced) Verdict {
	switch {
	case e.Is(5, 3, 4) || e.Is(5, 2, 3) || o.Code == 552 && !e.Known():
		return failed(Content) // larger than the upstream takes: RFC 1870 §6.1
	case e.Subject == 6:
		return failed(Content) // 5.6.7: no SMTPUTF8 there, RFC 6531 §3.5
	case o.Code == 500 || o.Code == 502:
		return deferred(Upstream, true) // it does not know MAIL: MailKit#1452
	}
	return deferred(Sender, true)
}

func judgeMessage4(o *spool.Outcome, e Enhanced) Verdict {
	switch {
	case o.Code == 421: // RFC 5321 §3.8: it closes the connection
		return deferred(Upstream, true)
	case o.Stage == spool.StageRcpt && tooManyRecipients(o, e):
		return Verdict{Status: spool.Pending, Blame: Recipient, Soon: true}
	case e.Subject == 3 && (e.Detail == 1 || e.Detail == 2):
		return deferred(Upstream, true) // full, or not accepting
	}
	return deferred(Recipient, false)
}

// tooManyRecipients: RFC 5321 §4.5.3.1.10 has a 452 for it and asks clients to
// read a 552 to RCPT as one.
func tooManyRecipients(o *spool.Outcome, e Enhanced) bool {
	return e.Subject == 5 && e.Detail == 3 || (o.Code == 552 || o.Code == 452) && !e.Known()
}

func judgeRcpt5(o *spool.Outcome, e Enhanced) Verdict {
	switch {
	case tooManyRecipients(o, e):
		return Verdict{Status: spool.Pending, Blame: Recipient, Soon: true}
	case e.Is(5, 3, 4):
		return failed(Content)
	case o.Code == 521, systemTrouble(e):
		return deferred(Upstream, true)
	case protocolTrouble(o, e):
		return deferred(Nobody, true)
	}
	return failed(Recipient)
}

// judgeContent5 is about DATA, the content and the final dot.
func judgeContent5(o *spool.Outcome, e Enhanced) Verdict {
	switch {
	case o.Code == 521, systemTrouble(e):
		return deferred(Upstream, true)
	case protocolTrouble(o, e):
		return deferred(Nobody, true)
	case o.Stage == spool.StageBody && o.Code != 552 && !e.Is(5, 3, 4):
		return deferred(Nobody, false) // an answer before its question
	}
	return failed(Content)
}

// systemTrouble: 5.3.1 full, 5.3.2 not accepting, 5.3.3 not capable, 5.3.5
// misconfigured (RFC 3463 §3.4) are states of the upstream, whatever the class.
func systemTrouble(e Enhanced) bool {
	return e.Subject == 3 && (e.Detail == 1 || e.Detail == 2 || e.Detail == 3 || e.Detail == 5)
}

// protocolTrouble: the upstream did not understand our dialogue. That is not
// about a recipient unless it says so by 5.1.x, 5.2.x, 5.6.x or 5.7.x.
func protocolTrouble(o *spool.Outcome, e Enhanced) bool {
	switch o.Code {
	case 500, 501, 502, 503, 504, 555:
		return !e.Known() || e.Subject == 5 || e.Subject == 0 || e.Subject == 3
	}
	return e.Subject == 5
}

// Enhanced is an enhanced status code (RFC 3463), taken apart. The zero value
// means that there is none.
type Enhanced struct {
	Class, Subject, Detail int // Class is 2, 4 or 5; the others are 0 to 999
}

// EnhancedOf reads the enhanced status code of an outcome; zero: it has none,
// or none that is well formed.
func EnhancedOf(o *spool.Outcome) (e Enhanced) {
	parts := strings.Split(o.Enhanced, ".")
	if len(parts) != 3 {
		return Enhanced{}
	}
	for i, to := range []*int{&e.Class, &e.Subject, &e.Detail} {
		n, err := strconv.Atoi(parts[i])
		if err != nil || n < 0 || n > 999 {
			return Enhanced{}
		}
		*to = n
	}
	if !e.Known() {
		return Enhanced{}
	}
	return e
}

// Known is true of a code whose class exists.
func (e Enhanced) Known() bool { return e.Class == 2 || e.Class == 4 || e.Class == 5 }

// Is compares with a code.
func (e Enhanced) Is(class, subject, detail int) bool {
	return e == Enhanced{Class: class, Subject: subject, Detail: detail}
}

// Defect is the error of a session that a bug of this program has ended: a
// panic, over this upstream's configuration or one of its messages. It parks
// the upstream, and concerns nobody else.
type Defect struct{ Value any }

func (d *Defect) Error() string { return fmt.Sprint("a defect of this program: ", d.Value) }

// IsDefect is true of a fault that a Defect has caused.
func IsDefect(f *spool.Fault) bool {
	var defect *Defect
	return f != nil && errors.As(f.Err, &defect)
}
