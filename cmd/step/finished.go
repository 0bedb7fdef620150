package step

import (
	"context"
	"io"
	"net/url"
	"strings"
)

// Finished is a message with all that its sender says of it. Addresses are as
// people write them; the relay checks them.
type Finished struct {
	From string   // the reverse-path; empty: the null one
	To   []string // recipients
	Name string   // of the sender, where the message lacks a From; may be empty
	// Notify, Return and EnvelopeID are those of RFC 3461, without xtext; empty:
	// nothing is said.
	Notify, Return, EnvelopeID string
	Remark                     string // for the log of the relay; may be empty
	Size                       int64  // of Body, in bytes
	Body                       io.WriterTo
}

// query is what a request says of the message.
func (m *Finished) query() url.Values {
	q := url.Values{"from": {m.From}, "to": m.To}
	for name, value := range map[string]string{"name": m.Name, "notify": m.Notify, "ret": m.Return, "envid": m.EnvelopeID, "remark": m.Remark} {
		if value != "" {
			q.Set(name, strings.ToValidUTF8(value, "?"))
		}
	}
	return q
}

// HandIn hands over one message, and returns its ID in the spool of the relay.
// refused is nil then; where it is Away, the relay may not know of the message.
// Only a relay by its Socket takes it.
func (r *Relay) HandIn(ctx context.Context, m *Finished) (id string, refused *Refusal) {
	s, ok := r.way.(*socket)
	if !ok {
		return "", &Refusal{Text: "only the socket of a relay takes this"}
	}
	a := s.post(ctx, m.query(), &envelope{size: m.Size, body: m.Body})
	return a.id, a.err
}
