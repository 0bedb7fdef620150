package submission

import (
	"bytes"
	"fmt"

	"postern/config/wire"
	"postern/relay/naming"
	"postern/spool"
)

// sender completes a reverse-path. It is false where that lacks a domain.
func (p *Policy) sender(from string) (string, bool) {
	if p == nil {
		return from, true
	}
	return p.names.Complete(from)
}

// NeedsDomain refuses the name of a sender, or of a recipient, that nothing
// completes.
func NeedsDomain(name string, sender bool) *Refusal {
	detail := 3 // X.1.3 bad destination mailbox address syntax (RFC 3463 §3.2)
	if sender {
		detail = 7 // X.1.7 bad sender's mailbox address syntax
	}
	return refuse(553, 1, detail, "<"+name+`> needs a domain; with domain = "example.com" in [submission] of the configuration it is completed`)
}

// addAll adds all that a recipient stands for, or nothing. What a sender wants
// to be told goes on to each (RFC 3461 §5.2.7.3), and a notice names the
// recipient that it knows (§5.2.1).
func (m *Message) addAll(to *Recipient, x *naming.Meaning, refusal *Refusal) *Refusal {
	if refusal != nil {
		return refusal
	}
	most := m.client.Settings.MaxRecipients
	if x.Over {
		return refuse(554, 5, 3, fmt.Sprintf("<%s> stands for more than the %d recipients that a message may have here (max_recipients)", to.Address, most))
	}
	original := to.ORcpt
	if original == "" {
		original = originalRecipient(to.Address)
	}
	fresh, size := make([]spool.Recipient, 0, len(x.Addresses)), 0
	var diverted []diversion
	var copies [][]string
	for _, address := range x.Addresses {
		if m.repeated(address) {
			continue
		}
		r, d, refusal := m.route(address)
		if refusal != nil {
			return refusal
		}
		r.Notify, r.ORcpt = to.Notify, original
		fresh, size = m.place(fresh, r, &d), size+weight(&r)
		if d.Instead != "" {
			diverted = append(diverted, diversionOf(address, &d))
		}
		if len(d.Archive) > 0 {
			copies = append(copies, d.Archive)
		}
	}
	if m.count+len(fresh) > most {
		return TooMany
	}
	if r := m.agent.overRate(m.client, recipients); r != nil {
		return r
	}
	if !m.hold(size) {
		return noMemory
	}
	m.diverted = append(m.diverted, diverted...)
	for _, list := range copies {
		m.copyTo(list)
	}
	for i := range fresh {
		m.env.SMTPUTF8 = m.env.SMTPUTF8 || !wire.IsASCII(fresh[i].Address) // RFC 6531 §3.5
		m.keep(&fresh[i])
	}
	if len(fresh) == 0 {
		m.count++
	}
	return nil
}

// originalRecipient is ORCPT for a recipient that became another one.
func originalRecipient(address string) string {
	if wire.IsASCII(address) {
		return "rfc822;" + wire.EncodeXtext(address)
	}
	return "utf-8;" + wire.EncodeUTF8Xtext(address) // RFC 6533 §3
}

// completeHeader adds the domain to names that stand alone in fields with
// addresses, as Postfix does for clients of its machine. A header that is signed
// stays as it is, and so does one that would grow too large.
func completeHeader(h []byte, domain string) []byte {
	var out []byte
	kept, signed := 0, false
	wire.EachField(h, func(name, value []byte, _, end int) {
		if signed = signed || len(name) == 14 && fold(name, "dkim-signature"); signed || !hasAddresses(name) {
			return
		}
		whole := wire.CompleteNames(value, domain)
		if whole == nil {
			return
		}
		if end >= len(crlf) && bytes.HasSuffix(h[:end], crlf) {
			end -= len(crlf) // which value lacks
		}
		out = append(append(out, h[kept:end-len(value)]...), whole...)
		kept = end
	})
	if signed || kept == 0 || len(out)+len(h)-kept > maxHeader {
		return h
	}
	return append(out, h[kept:]...)
}

// hasAddresses: RFC 5322 §3.6.2, §3.6.3, §3.6.6.
func hasAddresses(name []byte) bool {
	if len(name) > 7 && fold(name[:7], "resent-") {
		name = name[7:]
	}
	switch len(name) {
	case 2:
		return fold(name, "to") || fold(name, "cc")
	case 4:
		return fold(name, "from")
	case 6:
		return fold(name, "sender")
	case 8:
		return fold(name, "reply-to")
	}
	return false
}
