package intake

import (
	"crypto/rand"
	"crypto/tls"
	"strconv"
	"strings"
	"time"
)

const dateFormat = "Mon, 02 Jan 2006 15:04:05 -0700" // RFC 5322 §3.3

// received is our trace field (RFC 5321 §4.4), valid until the next use of
// scratch.
func (l *letter) received() []byte {
	p, env := l.peer, l.env
	b := append(l.scratch[:0], "Received: from "...)
	b = append(b, env.Helo...)
	b = append(b, ' ')
	b = appendOrigin(b, p)
	b = append(b, "\r\n\tby "...)
	b = append(b, l.house.hostname...)
	b = append(b, " with "...)
	b = append(b, protocol(p, env.SMTPUTF8)...)
	b = append(b, " id "...)
	b = append(b, l.draft.ID().String()...)
	if len(env.Recipients) == 1 {
		// With several, `for` would show one of them what only the envelope
		// should say.
		b = append(b, "\r\n\tfor <"...)
		b = append(b, env.Recipients[0].Address...)
		b = append(b, '>')
	}
	if p.TLS != nil { // RFC 8314 §4.3
		b = append(b, "\r\n\ttls "...)
		b = append(b, tls.CipherSuiteName(p.TLS.CipherSuite)...)
	}
	b = append(b, ";\r\n\t"...)
	b = time.Now().AppendFormat(b, dateFormat)
	l.scratch = append(b, "\r\n"...)
	return l.scratch
}

// appendOrigin adds TCP-info, or a comment of the same look for a unix socket.
func appendOrigin(b []byte, p *Peer) []byte {
	switch {
	case !p.Addr.IsValid():
		b = append(b, "(local user "...)
		b = append(b, safeName(p.UnixUser)...)
		return append(b, ')')
	case p.Addr.Is4():
		b = append(b, "(["...)
	default:
		b = append(b, "([IPv6:"...)
	}
	b = p.Addr.AppendTo(b)
	return append(b, "])"...)
}

// safeName keeps of a user name what can't end a comment.
func safeName(s string) string {
	return strings.Map(func(r rune) rune {
		if r > ' ' && r <= '~' && r != '(' && r != ')' && r != '\\' {
			return r
		}
		return '?'
	}, s)
}

// protocol is the with-type of RFC 3848 and RFC 6531 §4.3.
func protocol(p *Peer, utf8 bool) string {
	kind := "ESMTP"
	switch {
	case !p.ESMTP:
		return "SMTP"
	case utf8:
		kind = "UTF8SMTP"
	}
	if p.TLS != nil {
		kind += "S"
	}
	if p.User != "" {
		kind += "A"
	}
	return kind
}

// lacking are the fields that a submission ought to have and doesn't (RFC 6409
// §8.2, §8.3), valid until the next use of scratch.
func (l *letter) lacking(f *fields) []byte {
	b := l.scratch[:0]
	if !f.hasFrom {
		b = l.appendFrom(b)
	}
	if !f.hasDate {
		b = append(b, "Date: "...)
		b = time.Now().AppendFormat(b, dateFormat)
		b = append(b, "\r\n"...)
	}
	if !f.hasMessageID {
		b = append(b, "Message-ID: "...)
		b = append(b, l.env.MessageID...)
		b = append(b, "\r\n"...)
	}
	l.scratch = b
	return b
}

// newMessageID makes a Message-ID (RFC 5322 §3.6.4): unlike any other, and
// the same however often the message is sent.
func (l *letter) newMessageID() string {
	b := strconv.AppendInt(append(l.scratch[:0], '<'), time.Now().UnixNano(), 36)
	for _, part := range [...]string{".", l.draft.ID().String(), ".", rand.Text()[:10], "@", l.house.hostname, ">"} {
		b = append(b, part...)
	}
	l.scratch = b
	return string(b)
}
