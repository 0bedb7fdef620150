package upstream

import (
	"bytes"
	"io"
	"strconv"
	"time"

	"postern/config/wire"
	"postern/spool"
)

// demands is what a message needs of the extensions of this upstream.
type demands struct {
	utf8   bool // SMTPUTF8 goes along
	eight  bool // BODY=8BITMIME
	binary bool // BODY=BINARYMIME, and BDAT
	by     bool // BY
}

// check compares what the message needs with what the upstream offers. The
// outcome is not nil where the message as a whole cannot be handed on: then
// nothing is sent.
func (s *session) check(tx *transaction) *spool.Outcome {
	env := tx.d.Envelope
	tx.needs = demands{utf8: env.SMTPUTF8 && s.ext.smtpUTF8}
	if !wire.FitsPath(tx.form.From) {
		return unsupported(553, "5.1.7", "the reverse-path is not fit to be sent")
	}
	// RFC 1870 §6.1.
	if size := tx.form.Content.Size(); s.ext.maxSize > 0 && size > s.ext.maxSize {
		return unsupported(552, "5.3.4", "the message of "+strconv.FormatInt(size, 10)+
			" bytes is larger than the "+strconv.FormatInt(s.ext.maxSize, 10)+" that the upstream takes")
	}
	// RFC 8689 §4.2.1: only over TLS, to a proven server that carries it on.
	if env.RequireTLS && (!s.verified || !s.ext.requireTLS) {
		return unsupported(550, "5.7.30", "the message requires TLS on the whole way, which the upstream does not offer")
	}
	if o := s.checkBody(tx); o != nil {
		return o
	}
	if o := s.checkUTF8(tx); o != nil {
		return o
	}
	return s.checkDeadline(tx)
}

func (s *session) checkBody(tx *transaction) *spool.Outcome {
	env := tx.d.Envelope
	switch {
	case env.Body == spool.BodyBinaryMIME:
		// RFC 3030 §3: never over DATA, and conversion isn't ours to do.
		if !s.ext.binaryMIME || !s.ext.chunking {
			return unsupported(554, "5.6.3", "the message is BINARYMIME, which the upstream does not take")
		}
		tx.needs.binary = true
	case !tx.form.EightBit:
		// 7 bits need nothing, whatever was declared.
	case s.ext.eightBit:
		tx.needs.eight = true
	case env.Body == spool.Body8BitMIME:
		return unsupported(554, "5.6.3", "the message is 8BITMIME, which the upstream does not take")
	}
	return nil
}

// checkUTF8: RFC 6531 §3.5. Recipients whose own address needs SMTPUTF8 are
// sorted out one by one, by usable.
func (s *session) checkUTF8(tx *transaction) *spool.Outcome {
	env := tx.d.Envelope
	if !env.SMTPUTF8 || tx.needs.utf8 {
		return nil
	}
	if !wire.IsASCII(tx.form.From) {
		return unsupported(553, "5.6.7", "the sender's address needs SMTPUTF8, which the upstream does not take")
	}
	if tx.form.EightBit {
		if eight, err := eightBitHeader(tx.form.Content); err != nil || eight {
			return unsupported(550, "5.6.9", "the header needs SMTPUTF8, which the upstream does not take")
		}
	}
	return nil
}

// checkDeadline: RFC 2852 §4. A message that is to be returned past its
// deadline must not go where the deadline means nothing.
func (s *session) checkDeadline(tx *transaction) *spool.Outcome {
	by := tx.d.Envelope.DeliverBy
	if by == nil {
		return nil
	}
	tx.needs.by = s.ext.deliverBy
	if !by.Return {
		return nil
	}
	left := remaining(by)
	switch {
	case left <= 0:
		return unsupported(554, "5.4.7", "the deadline of the message has passed")
	case !s.ext.deliverBy:
		return unsupported(550, "5.3.3", "the message has a deadline (DELIVERBY), which the upstream does not take")
	case left < s.ext.minBy:
		return unsupported(554, "5.4.7", "the deadline of the message is nearer than the upstream can keep")
	}
	return nil
}

// usable sorts out a recipient that cannot be named to this upstream.
func (s *session) usable(tx *transaction, rcpt *spool.Recipient) *spool.Outcome {
	if !wire.FitsPath(rcpt.Address) || rcpt.Address == "" {
		return unsupported(553, "5.1.3", "the forward-path is not fit to be sent")
	}
	if !tx.needs.utf8 && !wire.IsASCII(rcpt.Address) {
		return unsupported(553, "5.6.7", "the recipient's address needs SMTPUTF8, which the upstream does not take")
	}
	return nil
}

func unsupported(code int, enhanced, text string) *spool.Outcome {
	return &spool.Outcome{Stage: spool.StageMail, Code: code, Enhanced: enhanced, Text: text, Unsupported: true}
}

// remaining is the by-time in seconds, within the nine digits of RFC 2852 §4.
func remaining(by *spool.DeliverBy) int64 {
	left := int64(time.Until(by.Deadline) / time.Second)
	return max(-999_999_999, min(left, 999_999_999))
}

// appendMail writes MAIL. Parameters go only to those who announced them.
// AUTH= is left out: envelopes have none, and none means "unknown" (RFC 4954 §5).
func (s *session) appendMail(out []byte, tx *transaction) []byte {
	env := tx.d.Envelope
	out = append(append(append(out, "MAIL FROM:<"...), tx.form.From...), '>')
	if s.ext.size { // RFC 1870 §3
		out = strconv.AppendInt(append(out, " SIZE="...), tx.form.Content.Size(), 10)
	}
	switch {
	case tx.needs.binary:
		out = append(out, " BODY=BINARYMIME"...)
	case tx.needs.eight:
		out = append(out, " BODY=8BITMIME"...)
	}
	if tx.needs.utf8 {
		out = append(out, " SMTPUTF8"...)
	}
	if env.RequireTLS {
		out = append(out, " REQUIRETLS"...)
	}
	if s.ext.dsn && env.Return != "" && wire.FitsParameter(env.Return) { // RFC 3461 §4.3
		out = append(append(out, " RET="...), env.Return...)
	}
	if s.ext.dsn && env.EnvelopeID != "" && wire.FitsParameter(env.EnvelopeID) {
		out = append(append(out, " ENVID="...), env.EnvelopeID...)
	}
	if tx.needs.by {
		out = appendBy(out, env.DeliverBy)
	}
	if s.ext.priority && env.Priority != 0 { // RFC 6710 §4
		out = strconv.AppendInt(append(out, " MT-PRIORITY="...), int64(env.Priority), 10)
	}
	return append(out, "\r\n"...)
}

func appendBy(out []byte, by *spool.DeliverBy) []byte {
	left := remaining(by)
	if by.Return {
		// RFC 2852 §4: zero and less are not for mode R; check saw more a moment ago.
		left = max(left, 1)
	}
	out = strconv.AppendInt(append(out, " BY="...), left, 10)
	if by.Return {
		out = append(out, ";R"...)
	} else {
		out = append(out, ";N"...)
	}
	if by.Trace {
		out = append(out, 'T')
	}
	return out
}

// appendRcpt writes RCPT with what RFC 3461 §4.1 and §4.2 add to it.
func (s *session) appendRcpt(out []byte, rcpt *spool.Recipient) []byte {
	out = append(append(append(out, "RCPT TO:<"...), rcpt.Address...), '>')
	if s.ext.dsn {
		out = appendNotify(out, rcpt.Notify)
		if rcpt.ORcpt != "" && wire.FitsParameter(rcpt.ORcpt) {
			out = append(append(out, " ORCPT="...), rcpt.ORcpt...)
		}
	}
	return append(out, "\r\n"...)
}

func appendNotify(out []byte, n spool.Notify) []byte {
	if n == 0 {
		return out
	}
	out = append(out, " NOTIFY="...)
	if n&spool.NotifyNever != 0 {
		return append(out, "NEVER"...)
	}
	start := len(out)
	for _, event := range [...]struct {
		bit  spool.Notify
		name string
	}{{spool.NotifySuccess, "SUCCESS"}, {spool.NotifyFailure, "FAILURE"}, {spool.NotifyDelay, "DELAY"}} {
		if n&event.bit == 0 {
			continue
		}
		if len(out) > start {
			out = append(out, ',')
		}
		out = append(out, event.name...)
	}
	return out
}

// eightBitHeader looks for a byte above 127 before the first empty line.
func eightBitHeader(content spool.Content) (bool, error) {
	buf := make([]byte, 4<<10)
	tail := [3]byte{0, '\r', '\n'} // the last bytes before the block
	for off := int64(0); off < content.Size(); {
		n, err := content.ReadAt(buf, off)
		if n == 0 {
			return false, err
		}
		block := append(tail[:3:3], buf[:n]...)
		end := bytes.Index(block, []byte("\r\n\r\n"))
		head := block
		if end >= 0 {
			head = block[:end]
		}
		for _, c := range head {
			if c >= 0x80 {
				return true, nil
			}
		}
		if end >= 0 || err == io.EOF {
			return false, nil
		}
		copy(tail[:], block[len(block)-3:])
		off += int64(n)
	}
	return false, nil
}
