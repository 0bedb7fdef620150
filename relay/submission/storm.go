package submission

import (
	"net/textproto"
	"time"

	"postern/config/wire"
	"postern/relay/storm"
	"postern/spool"
)

var subjectField = []string{"Subject"}

// look notes what messages that are alike have in common with this one, where
// they are counted.
func (m *Message) look(header []byte) {
	if m.agent.storms.Watches(m.env.From) {
		var fields textproto.MIMEHeader = wire.Values(header, subjectField)
		m.like = &storm.Mail{From: m.env.From, Subject: fields.Get("Subject")}
	}
}

// guard counts the message, which is about to be kept as id, and puts it on hold
// where it is one too many.
func (m *Message) guard(id spool.ID) {
	if m.like == nil {
		return
	}
	m.like.To = m.env.Recipients
	m.env.Storm = m.agent.storms.Take(m.like, id, time.Now())
	m.env.Hold = m.env.Hold || m.env.Storm != 0
}

// unguard takes back what guard did: the message was not kept.
func (m *Message) unguard() {
	if m.like != nil {
		m.agent.storms.Drop(m.like, time.Now())
		m.env.Storm = 0 // the one that it repeats may be part of it, but not this one
	}
}

// guarded says that the message is kept.
func (m *Message) guarded(id spool.ID) {
	if m.env.Storm != 0 {
		m.agent.storms.Keep(m.env.Storm, id, time.Now())
	}
}
