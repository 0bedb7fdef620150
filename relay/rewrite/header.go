package rewrite

import (
	"bytes"
	"slices"
	"strings"

	"postern/config"
	"postern/config/wire"
)

// Result is what a change did to a header.
type Result struct {
	Header []byte
	// Changed are the fields that are not what they were, in lower case, each
	// once.
	Changed []string
}

// Header is what becomes of a header: its fields, each with CRLF at its end,
// without the empty line. h is not changed. The fields of a Resent- block stay
// (RFC 5322 §3.6.6): they tell who sent the message on.
func (c *Change) Header(h []byte) Result {
	e := edit{change: c, out: make([]byte, 0, len(h)+len(c.add)+512)}
	e.count(h)
	kept := 0
	wire.EachField(h, func(name, value []byte, start, end int) {
		e.out = append(e.out, h[kept:start]...)
		kept = end
		e.field(strings.ToLower(string(name)), name, value, h[start:end])
	})
	e.out = append(e.out, h[kept:]...)
	if len(e.out) > 0 && !bytes.HasSuffix(e.out, crlf) {
		e.out = append(e.out, crlf...)
	}
	e.finish()
	return Result{e.out, e.changed}
}

var crlf = []byte("\r\n")

// edit is a header on its way.
type edit struct {
	change  *Change
	out     []byte
	changed []string

	hasReplyTo bool   // the message has one
	same       bool   // From is what it is to be, and stands there once
	from       bool   // it was met
	original   []byte // its value, where it was changed and can be replied to
}

// count looks for what has to be known before the first field is written.
func (e *edit) count(h []byte) {
	froms := 0
	wire.EachField(h, func(name, value []byte, _, _ int) {
		switch {
		case is(name, "from"):
			froms++
			m := mailbox(value)
			e.same = froms == 1 && m.only && sameAddress(m.address, e.change.From)
		case is(name, "reply-to"):
			e.hasReplyTo = e.hasReplyTo || len(bytes.TrimSpace(value)) > 0
		}
	})
}

// is tells whether name is lower, whatever its capitals.
func is(name []byte, lower string) bool {
	return len(name) == len(lower) && strings.EqualFold(string(name), lower)
}

func (e *edit) note(name string) {
	if !slices.Contains(e.changed, name) {
		e.changed = append(e.changed, name)
	}
}

// field writes one field, or what becomes of it.
func (e *edit) field(lower string, name, value, whole []byte) {
	c := e.change
	switch {
	case slices.ContainsFunc(c.remove, func(r string) bool { return strings.EqualFold(r, lower) }):
		e.note(lower)
	case lower == "from" && c.From != "" && !e.same:
		e.note(lower)
		if e.from { // RFC 5322 §3.6: there is one, and readers differ about which of several
			return
		}
		e.from = true
		m := mailbox(value)
		if m.repliable {
			e.original = value
		}
		e.put("From", m.with(c.From))
		e.replyTo()
	case lower == "sender" && c.From != "" && !e.same:
		e.note(lower) // who sends is now the author, and then it is left out (RFC 5322 §3.6.2)
	case lower == "reply-to" && c.ReplyTo != config.ReplyToOriginal:
		e.note(lower)
	default:
		e.out = append(e.out, whole...)
	}
}

// put writes a field with a value that may be folded.
func (e *edit) put(name string, value []byte) {
	field := append(append([]byte(name), ':'), value...)
	if len(field) > wire.MaxTextLine {
		field = wire.FoldLong(field)
	}
	e.out = append(append(e.out, field...), crlf...)
}

// replyTo adds, behind From, what leads replies to the author.
func (e *edit) replyTo() {
	if e.change.ReplyTo == config.ReplyToOriginal && !e.hasReplyTo && e.original != nil {
		e.put("Reply-To", e.original)
		e.note("reply-to")
	}
}

// finish adds what is still missing.
func (e *edit) finish() {
	c := e.change
	if c.From != "" && !e.same && !e.from {
		e.put("From", []byte(" "+c.From))
		e.note("from")
	}
	if c.ReplyTo != config.ReplyToOriginal && c.ReplyTo != config.ReplyToNone {
		e.put("Reply-To", []byte(" "+c.ReplyTo))
		e.note("reply-to")
	}
	e.out = append(e.out, c.add...)
	wire.EachField(c.add, func(name, _ []byte, _, _ int) { e.note(strings.ToLower(string(name))) })
}

// sameAddress compares two addresses, the domain without regard to capitals.
func sameAddress(a, b string) bool {
	la, da := wire.SplitAddress(a)
	lb, db := wire.SplitAddress(b)
	return la == lb && strings.EqualFold(da, db)
}
