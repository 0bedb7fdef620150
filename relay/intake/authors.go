package intake

import (
	"net/mail"
	"strings"

	smtp "github.com/emersion/go-smtp"

	"postern/relay/route"
)

// refusal answers a reverse-path that its client may not use, or that no route
// takes; nil: it may go on.
func (h *house) refusal(q route.Query) *smtp.SMTPError {
	if !h.senders.Envelope(q) {
		return say(550, 5, 7, 1, "<"+q.From+"> is not an address that you may send as; `postern explain` shows why")
	}
	if h.routes.Sender(q) {
		return nil
	}
	if text := h.routes.Refusal(q); text != "" {
		return say(550, 5, 7, 1, text)
	}
	return say(550, 5, 7, 1, "<"+q.From+"> no route maps this sender; `postern explain` shows why")
}

var (
	replyAuthor     = say(550, 5, 7, 1, "the message has an author (From, Sender) that you may not send as; `postern explain` shows why")
	replyAuthorForm = say(550, 5, 7, 1, "the authors of the message (From, Sender) cannot be read, and they are checked for you")
)

// maxAuthors is how many bytes of a field are looked at. Reading one takes fifty
// times its size.
const maxAuthors = 16 << 10

// authors looks at the fields that tell recipients whose message it is, where
// a sender wants them checked. What can't be read is refused: recipients might
// read it otherwise.
func (l *letter) authors(header []byte) *smtp.SMTPError {
	q := l.query(l.env.From, "", nil)
	if !l.house.senders.ChecksFrom(q) {
		return nil
	}
	var r *smtp.SMTPError
	eachField(header, func(name, value []byte, _, _ int) {
		if r != nil || !isAuthor(name) {
			return
		}
		if len(value) > maxAuthors {
			r = replyAuthorForm
			return
		}
		list, err := mail.ParseAddressList(strings.TrimSpace(unfold(value)))
		if err != nil || len(list) == 0 { // a group without members shows its name alone
			r = replyAuthorForm
			return
		}
		for _, a := range list {
			if !l.house.senders.Author(q, a.Address) {
				r = replyAuthor
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
