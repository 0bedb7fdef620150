package submission

import (
	"crypto/rand"
	"crypto/tls"
	"strconv"
	"time"

	"postern/config/wire"
)

const dateFormat = "Mon, 02 Jan 2006 15:04:05 -0700" // RFC 5322 §3.3

// appendReceived adds our trace field (RFC 5321 §4.4).
func (m *Message) appendReceived(b []byte) []byte {
	c, env := m.client, m.env
	b = append(b, "Received: from "...)
	b = appendName(b, c)
	b = append(b, ' ')
	b = appendOrigin(b, c)
	b = append(b, "\r\n\tby "...)
	b = append(b, m.policy.hostname...)
	b = append(b, " with "...)
	b = append(b, m.protocol...)
	b = append(b, " id "...)
	b = append(b, m.draft.ID().String()...)
	if len(env.Recipients) == 1 {
		// With several, `for` would show one of them what only the envelope
		// should say.
		b = append(b, "\r\n\tfor <"...)
		b = append(b, env.Recipients[0].Address...)
		b = append(b, '>')
	}
	if c.TLS != nil { // RFC 8314 §4.3
		b = append(b, "\r\n\ttls "...)
		b = append(b, tls.CipherSuiteName(c.TLS.CipherSuite)...)
	}
	b = append(b, ";\r\n\t"...)
	b = time.Now().AppendFormat(b, dateFormat)
	return append(b, "\r\n"...)
}

// appendName adds what the client calls itself or, where its protocol has no
// word for that, its address.
func appendName(b []byte, c *Client) []byte {
	switch {
	case c.Helo != "":
		return append(b, c.Helo...)
	case !c.Addr.IsValid():
		return append(b, "localhost"...)
	case c.Addr.Is4():
		b = append(b, '[')
	default:
		b = append(b, "[IPv6:"...)
	}
	return append(c.Addr.AppendTo(b), ']')
}

// appendOrigin adds TCP-info, or a comment of the same look for a unix socket.
func appendOrigin(b []byte, c *Client) []byte {
	switch {
	case !c.Addr.IsValid():
		b = append(b, "(local user "...)
		b = append(b, wire.Comment(c.UnixUser)...)
		return append(b, ')')
	case c.Addr.Is4():
		b = append(b, "(["...)
	default:
		b = append(b, "([IPv6:"...)
	}
	b = c.Addr.AppendTo(b)
	return append(b, "])"...)
}

// appendLacking adds the fields that a submission ought to have and doesn't
// (RFC 6409 §8.2, §8.3).
func (m *Message) appendLacking(b []byte, f *fields) []byte {
	if !f.hasFrom {
		b = m.appendFrom(b)
	}
	if !f.hasDate {
		b = append(b, "Date: "...)
		b = time.Now().AppendFormat(b, dateFormat)
		b = append(b, "\r\n"...)
	}
	if !f.hasMessageID {
		b = append(b, "Message-ID: "...)
		b = append(b, m.env.MessageID...)
		b = append(b, "\r\n"...)
	}
	return b
}

// appendMessageID makes a Message-ID (RFC 5322 §3.6.4): unlike any other, and
// the same however often the message is sent.
func (m *Message) appendMessageID(b []byte) []byte {
	b = strconv.AppendInt(append(b, '<'), time.Now().UnixNano(), 36)
	for _, part := range [...]string{".", m.draft.ID().String(), ".", rand.Text()[:10], "@", m.policy.hostname, ">"} {
		b = append(b, part...)
	}
	return b
}
