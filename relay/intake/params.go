package intake

import (
	"strconv"
	"strings"
	"time"

	smtp "github.com/emersion/go-smtp"

	"postern/config/wire"
	"postern/relay/submission"
	"postern/spool"
)

// offers is what was announced to a client; only that is understood.
type offers struct {
	requireTLS bool
	extended   bool // DELIVERBY, MT-PRIORITY, FUTURERELEASE: EHLO was said
	auth       bool
	lenient    bool // hex digits may be small, and AUTH= stand where nobody can sign in
	maxSize    int64
}

var (
	errParamSyntax  = say(501, 5, 5, 4, "malformed parameter")
	errParamUnknown = say(555, 5, 5, 4, "unknown parameter") // RFC 5321 §4.1.1.11
	errParamTwice   = say(501, 5, 5, 4, "parameter given twice")
	errParamValue   = say(501, 5, 5, 4, "malformed parameter value")
)

// param is one parameter of MAIL or RCPT.
type param wire.Parameter

// hasUTF8 tells whether SMTPUTF8 is among the parameters: it decides how the
// path before them is to be read.
func hasUTF8(s string) bool {
	for p, ok := range wire.Parameters(s) {
		if ok && p.Key == "SMTPUTF8" && !p.Given {
			return true
		}
	}
	return false
}

// mailParams parses the parameters of MAIL.
func mailParams(s string, of offers, e *submission.Envelope) *smtp.SMTPError {
	var seen uint16
	for p, ok := range wire.Parameters(s) {
		if !ok {
			return errParamSyntax
		}
		bit, err := mailParam(param(p), of, e)
		if err != nil {
			return err
		}
		if seen&bit != 0 {
			return errParamTwice
		}
		seen |= bit
	}
	return nil
}

func mailParam(p param, of offers, e *submission.Envelope) (bit uint16, err *smtp.SMTPError) {
	switch {
	case p.Key == "SIZE":
		return 1, p.size(of.maxSize)
	case p.Key == "BODY":
		return 2, p.body(e)
	case p.Key == "SMTPUTF8":
		e.SMTPUTF8 = true
		return 4, p.alone()
	case p.Key == "RET":
		return 8, p.ret(e)
	case p.Key == "ENVID":
		return 16, p.envid(of, e)
	case p.Key == "REQUIRETLS" && of.requireTLS:
		e.RequireTLS = true
		return 32, p.alone()
	case p.Key == "BY" && of.extended:
		return 64, p.by(e)
	case (p.Key == "HOLDFOR" || p.Key == "HOLDUNTIL") && of.extended:
		return 512, p.hold(e) // RFC 4865 §4: one of them
	case p.Key == "MT-PRIORITY" && of.extended:
		return 128, p.priority(e)
	case p.Key == "AUTH" && (of.auth || of.lenient):
		return 256, p.auth(of)
	}
	return 0, errParamUnknown
}

// alone: RFC 6531 §3.4, RFC 8689 §2: no value.
func (p param) alone() *smtp.SMTPError {
	if p.Given {
		return errParamValue
	}
	return nil
}

// size: RFC 1870 §6: up to 20 digits. A message of exactly the maximum fits.
func (p param) size(max int64) *smtp.SMTPError {
	if len(p.Value) > 20 || !wire.IsDigits(p.Value) {
		return errParamValue
	}
	n, err := strconv.ParseInt(p.Value, 10, 64)
	switch {
	case err != nil:
		return replyOf(submission.TooLarge(0, max))
	case n > max:
		return replyOf(submission.TooLarge(n, max))
	}
	return nil
}

// body: RFC 6152 §3, RFC 3030 §3.
func (p param) body(e *submission.Envelope) *smtp.SMTPError {
	for _, t := range []spool.BodyType{spool.Body7Bit, spool.Body8BitMIME, spool.BodyBinaryMIME} {
		if strings.EqualFold(p.Value, string(t)) {
			e.Body = t
			return nil
		}
	}
	return errParamValue
}

// ret: RFC 3461 §4.3.
func (p param) ret(e *submission.Envelope) *smtp.SMTPError {
	r, ok := submission.ReadReturn(p.Value)
	if !ok {
		return errParamValue
	}
	e.Return = r
	return nil
}

// envid: RFC 3461 §4.4.
func (p param) envid(of offers, e *submission.Envelope) *smtp.SMTPError {
	id, ok := submission.ReadEnvelopeID(p.Value, of.lenient)
	if !ok {
		return errParamValue
	}
	e.EnvelopeID = id
	return nil
}

// by: RFC 2852 §4: by-time ";" by-mode [by-trace], where mode R needs a time
// to come.
func (p param) by(e *submission.Envelope) *smtp.SMTPError {
	num, mode, ok := strings.Cut(strings.ToUpper(p.Value), ";")
	mode, trace := strings.CutSuffix(mode, "T")
	digits := strings.TrimPrefix(num, "-")
	if !ok || len(digits) > 9 || !wire.IsDigits(digits) || mode != "N" && mode != "R" {
		return errParamValue
	}
	n, err := strconv.Atoi(num)
	if err != nil || mode == "R" && n <= 0 {
		return errParamValue
	}
	// RFC 2852 §4: by-time counts from when the message is received; the time
	// of MAIL is a moment earlier, never later.
	deadline := time.Now().Add(time.Duration(n) * time.Second)
	e.DeliverBy = &spool.DeliverBy{Deadline: deadline, Return: mode == "R", Trace: trace}
	return nil
}

var errHoldTooLong = say(501, 5, 5, 4, "longer than FUTURERELEASE allows")

// hold: RFC 4865 §5, and erratum 2040: seconds of up to 9 digits, or a time of
// RFC 3339. A time that is over is now.
func (p param) hold(e *submission.Envelope) *smtp.SMTPError {
	now := time.Now()
	if p.Key == "HOLDFOR" {
		n, err := strconv.Atoi(p.Value)
		if err != nil || len(p.Value) > 9 || !wire.IsDigits(p.Value) || n == 0 {
			return errParamValue
		}
		e.NotBefore = now.Add(time.Duration(n) * time.Second)
	} else {
		at, err := time.Parse(time.RFC3339, strings.ToUpper(p.Value))
		if err != nil {
			return errParamValue
		}
		e.NotBefore = at
	}
	if e.NotBefore.Sub(now) > submission.MaxDelay {
		return errHoldTooLong
	}
	return nil
}

// priority: RFC 6710 §3: -9 to 9.
func (p param) priority(e *submission.Envelope) *smtp.SMTPError {
	d := strings.TrimPrefix(p.Value, "-")
	if len(d) != 1 || !wire.IsDigits(d) {
		return errParamValue
	}
	e.Priority = int(d[0] - '0')
	if len(p.Value) == 2 {
		e.Priority = -e.Priority
	}
	return nil
}

// auth: RFC 4954 §5. It is checked and goes no further: handing nobody's word
// on is what §5 asks for where the client isn't trusted with it.
func (p param) auth(of offers) *smtp.SMTPError {
	v, ok := wire.DecodeXtext(p.Value, of.lenient)
	if !ok || v == "" {
		return errParamValue
	}
	if v != "<>" && wire.CheckMailbox(v, false) != wire.NoFault {
		return errParamValue
	}
	return nil
}

// rcptParams parses the parameters of RCPT.
func rcptParams(s string, utf8ok, lenient bool, to *submission.Recipient) *smtp.SMTPError {
	for p, ok := range wire.Parameters(s) {
		if !ok || !utf8ok && !wire.IsASCII(p.Value) {
			return errParamSyntax
		}
		var err *smtp.SMTPError
		switch p.Key {
		case "NOTIFY":
			err = param(p).notify(to)
		case "ORCPT":
			err = param(p).orcpt(lenient, to)
		default:
			err = errParamUnknown
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// notify: RFC 3461 §4.1.
func (p param) notify(to *submission.Recipient) *smtp.SMTPError {
	if to.Notify != 0 {
		return errParamTwice
	}
	n, ok := submission.ReadNotify(p.Value)
	if !ok {
		return errParamValue
	}
	to.Notify = n
	return nil
}

// orcpt: RFC 3461 §4.2.
func (p param) orcpt(lenient bool, to *submission.Recipient) *smtp.SMTPError {
	if to.ORcpt != "" {
		return errParamTwice
	}
	r, ok := submission.ReadORcpt(p.Value, lenient)
	if !ok {
		return errParamValue
	}
	to.ORcpt = r
	return nil
}
