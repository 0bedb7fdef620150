package compose

import (
	"strings"
	"time"

	"postern/config/wire"
)

// Message is what a message is made from. The zero value of each field but
// From and a recipient is good. No method changes it, so one Message may be
// used by several goroutines as long as none writes to it.
type Message struct {
	From           Address // author, and the reverse-path of the envelope
	To, Cc, Bcc    []Address
	ReplyTo        []Address
	Subject        string
	Text, HTML     string // UTF-8, with any line ends; at least one byte makes a part
	NoText         bool   // HTML without Text stays alone; otherwise a text is derived from it, see TextOf
	Calendar       []byte // an iCalendar object (.ics): an alternative to the text with its METHOD, and attached too
	Attached       []Part // a Part with an ID that the HTML refers to is sent as if it were Embedded
	Embedded       []Part // the HTML has to refer to each by cid:ID
	Header         []Field
	Importance     Importance
	AutoSubmitted  string    // RFC 3834 §5; empty: auto-generated. "no" for what a person wrote
	Date           time.Time // zero: now
	MessageID      string    // with or without < and >; empty: made, with Domain
	Domain         string    // on the right of a Message-ID that is made, a domain or an address in brackets; empty: that of From
	NoMessageID    bool      // none is written, since the relay adds one
	Boundary       string    // between parts: letters and digits. Empty: made at random, so that no attached message holds it. Tests set it
	AllowBareLocal bool      // addresses without a domain ("root") may stand; the relay completes them
}

// Importance is how urgent a message is shown to be.
type Importance uint8

// The importances. Normal writes no field.
const (
	Normal Importance = iota
	High
	Low
)

// Field is a further field of the header. Value is UTF-8 on one line; it is
// folded and encoded as needed (RFC 2047), but in fields that programs read
// (List-…, References, Postern-… and a few more), which have to be ASCII.
// Fields that the rest of Message stands for may not be given.
type Field struct{ Name, Value string }

// Problem is one thing that is wrong with a Message.
type Problem struct {
	Field string // as in a message file: "subject", "to", "attach[0].name", "embed[1].cid", "headers.X-Class"
	Text  string // what is wrong, without a period; values in it are shown harmless
}

// Problems is an error that lists all that is wrong. It is never empty.
type Problems []Problem

// Error is all of them, with semicolons between.
func (p Problems) Error() string {
	all := make([]string, len(p))
	for i, one := range p {
		all[i] = one.Field + ": " + one.Text
	}
	return strings.Join(all, "; ")
}

// Check tells all that is wrong with m; none: it can be composed. It does not
// read the parts.
func (m *Message) Check() []Problem {
	if _, err := m.Compose(); err != nil {
		return err.(Problems)
	}
	return nil
}

// Envelope is the reverse-path and the recipients, each once, in the order of
// To, Cc and Bcc, with domains in ASCII (RFC 5891). utf8: the message has an
// address with a local part beyond ASCII, and needs SMTPUTF8 (RFC 6531).
func (m *Message) Envelope() (from string, to []string, utf8 bool) {
	from, _ = wireAddress(m.From.Addr)
	to, utf8 = envelope(m.To, m.Cc, m.Bcc)
	utf8 = utf8 || !wire.IsASCII(from)
	for _, a := range m.ReplyTo {
		address, _ := wireAddress(a.Addr)
		utf8 = utf8 || !wire.IsASCII(address)
	}
	return from, to, utf8
}

// Compose checks m and lays out all of it but the content of parts. The error
// is a Problems. Who needs more than one of Check, Size and WriteTo composes
// once.
func (m *Message) Compose() (*Composed, error) {
	c := checker{m: m}
	c.check()
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	l := layout{Composed: new(Composed), m: m, content: c.content}
	if err := l.write(); err != nil {
		return nil, err
	}
	l.from, l.to, l.utf8 = m.Envelope()
	return l.Composed, nil
}

// Size is that of Composed, or -1 where m can't be composed.
func (m *Message) Size() int64 {
	c, err := m.Compose()
	if err != nil {
		return -1
	}
	return c.Size()
}
