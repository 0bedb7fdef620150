package submission

import (
	"net/mail"
	"strings"

	"postern/config/wire"
)

// refusal answers a reverse-path that its client may not use, or that no route
// takes; nil: it may go on.
func (p *Policy) refusal(c *Client, from string) *Refusal {
	q := c.query(from, "")
	if !p.senders.Envelope(q) || !c.Senders.Envelope(q) {
		return forbid("<" + q.From + "> is not an address that you may send as; `postern explain` shows why")
	}
	if p.routes.Sender(q) {
		return nil
	}
	if text := p.routes.Refusal(q); text != "" {
		return forbid(text)
	}
	return forbid("<" + q.From + "> no route maps this sender; `postern explain` shows why")
}

var (
	foreignAuthor = forbid("the message has an author (From, Sender) that you may not send as; `postern explain` shows why")
	unreadAuthor  = forbid("the authors of the message (From, Sender) cannot be read, and they are checked for you")
)

// maxAuthors is how many bytes of a field are looked at. Reading one takes fifty
// times its size.
const maxAuthors = 16 << 10

// authors looks at the fields that tell recipients whose message it is, where
// a sender wants them checked. What can't be read is refused: recipients might
// read it otherwise.
func (m *Message) authors(header []byte) *Refusal {
	q := m.client.query(m.env.From, "")
	own := m.client.Senders
	if !m.policy.senders.ChecksFrom(q) && !own.ChecksFrom(q) {
		return nil
	}
	var r *Refusal
	wire.EachField(header, func(name, value []byte, _, _ int) {
		if r != nil || !isAuthor(name) {
			return
		}
		if len(value) > maxAuthors {
			r = unreadAuthor
			return
		}
		list, err := mail.ParseAddressList(strings.TrimSpace(wire.Unfold(value)))
		if err != nil || len(list) == 0 { // a group without members shows its name alone
			r = unreadAuthor
			return
		}
		for _, a := range list {
			if !m.policy.senders.Author(q, a.Address) || !own.Author(q, a.Address) {
				r = foreignAuthor
			}
		}
	})
	return r
}

// isAuthor: RFC 5322 §3.6.2 and §3.6.6.
func isAuthor(name []byte) bool {
	switch strings.ToLower(string(name)) {
	case "from", "sender", "resent-from", "resent-sender":
		return true
	}
	return false
}
