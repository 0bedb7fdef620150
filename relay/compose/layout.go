package compose

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/config/wire"
)

// maxHeader is how many octets of header a relay takes.
const maxHeader = 256 << 10

// A layout writes all of a message but the content of its parts.
type layout struct {
	*Composed
	m       *Message
	content content
	header
	boundary string
	random   [32]byte
}

// idEncoding makes identifiers that nobody has to escape.
var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

func (l *layout) write() error {
	m := l.m
	rand.Read(l.random[:]) // it never fails
	if l.boundary = m.Boundary; l.boundary == "" {
		l.boundary = idEncoding.EncodeToString(l.random[:16])
	}
	c := &l.content
	l.b = make([]byte, 0, 1024+len(c.text)+len(c.text)/8+len(c.html)+len(c.html)/8+len(c.calendar)*3+512*(len(c.inline)+len(c.attached)))
	l.fields()
	if n := len(l.b); n > maxHeader {
		return Problems{{"headers", fmt.Sprintf("the header has %d KiB, more than %d", n>>10, maxHeader>>10)}}
	}
	l.mixed()
	l.fixed = l.b
	return nil
}

// fields writes the header but for what tells of the body.
func (l *layout) fields() {
	m := l.m
	l.addresses("From", m.From)
	switch {
	case len(m.To) > 0:
		l.addresses("To", m.To...)
	case len(m.Cc) == 0:
		l.raw("To", "undisclosed-recipients:;")
	}
	if len(m.Cc) > 0 {
		l.addresses("Cc", m.Cc...)
	}
	if len(m.ReplyTo) > 0 {
		l.addresses("Reply-To", m.ReplyTo...)
	}
	if strings.TrimSpace(m.Subject) != "" {
		l.text("Subject", m.Subject)
	}
	l.date()
	l.messageID()
	for _, f := range m.Header {
		if isStructured(strings.ToLower(f.Name)) {
			l.structured(f.Name, f.Value)
		} else {
			l.text(f.Name, f.Value)
		}
	}
	l.importance()
	if m.AutoSubmitted == "" {
		l.raw("Auto-Submitted", "auto-generated")
	} else {
		l.raw("Auto-Submitted", m.AutoSubmitted)
	}
	l.raw("MIME-Version", "1.0")
}

func (l *layout) date() {
	date := l.m.Date
	if date.IsZero() {
		date = time.Now()
	}
	l.put("Date: ")
	l.b = date.AppendFormat(l.b, "Mon, 02 Jan 2006 15:04:05 -0700")
	l.end()
}

func (l *layout) messageID() {
	if l.m.NoMessageID {
		return
	}
	l.put("Message-ID: <")
	if l.m.MessageID != "" {
		l.put(bareID(l.m.MessageID))
	} else {
		domain := l.m.Domain
		if domain == "" {
			_, domain = wire.SplitAddress(l.m.From.Addr)
		}
		if domain == "" { // a bare local part
			domain = "localhost"
		}
		if !wire.IsLiteral(domain) { // RFC 5322 §3.6.4, no-fold-literal
			domain, _ = asciiDomain(domain)
		}
		l.b = idEncoding.AppendEncode(l.b, l.random[16:])
		l.put("@")
		l.put(domain)
	}
	l.put(">")
	l.end()
}

// importance writes the three fields that mail programs read: RFC 2156, and
// those of Eudora and of Outlook.
func (l *layout) importance() {
	switch l.m.Importance {
	case High:
		l.put("Importance: high\r\nX-Priority: 1 (Highest)\r\nX-MSMail-Priority: High\r\n")
	case Low:
		l.put("Importance: low\r\nX-Priority: 5 (Lowest)\r\nX-MSMail-Priority: Low\r\n")
	}
}

// mixed is the body: text, then attachments.
func (l *layout) mixed() {
	attached := l.content.attached
	if l.content.calendar != "" {
		// An invitation that stands among the texts only can't be saved.
		invite := BytesPart("invite.ics", calendarExt, l.m.Calendar)
		attached = append(slices.Clip(attached), part{Part: &invite, list: "calendar"})
	}
	if len(attached) == 0 {
		l.related()
		return
	}
	l.multipart("mixed", "", '1')
	if !l.content.empty() {
		l.delimiter('1')
		l.related()
	}
	for _, p := range attached {
		l.delimiter('1')
		l.part(p, "attachment")
	}
	l.closing('1')
}

func (c *content) empty() bool {
	return c.text == "" && c.html == "" && c.calendar == ""
}

// related is the texts, and what the HTML refers to (RFC 2387).
func (l *layout) related() {
	if len(l.content.inline) == 0 {
		l.alternative()
		return
	}
	root := "multipart/alternative"
	if l.content.text == "" && l.content.calendar == "" {
		root = "text/html"
	}
	l.multipart("related", root, '2')
	l.delimiter('2')
	l.alternative()
	for _, p := range l.content.inline {
		l.delimiter('2')
		l.part(p, "inline")
	}
	l.closing('2')
}

// alternative is the same in several forms, the richest last (RFC 2046 §5.1.4).
func (l *layout) alternative() {
	c := &l.content
	n := 0
	for _, s := range []string{c.text, c.html, c.calendar} {
		if s != "" {
			n++
		}
	}
	if n > 1 {
		l.multipart("alternative", "", '3')
	}
	one := func(s, kind string) {
		if s == "" && (n > 0 || kind != "text/plain") {
			return
		}
		if n > 1 {
			l.delimiter('3')
		}
		l.body(s, kind)
	}
	one(c.text, "text/plain")
	one(c.html, "text/html")
	calendar := "text/calendar"
	if c.method != "" {
		calendar += "; method=" + c.method
	}
	one(c.calendar, calendar)
	if n > 1 {
		l.closing('3')
	}
}

// body is a text with its fields.
func (l *layout) body(s, kind string) {
	e := encodingOf(s)
	l.put("Content-Type: ")
	l.put(kind)
	l.put("; charset=utf-8\r\nContent-Transfer-Encoding: ")
	l.put(encodingNames[e])
	l.put("\r\n\r\n")
	l.b = appendText(l.b, s, e)
}

// part is the header of a part; its content follows when the message is
// written.
func (l *layout) part(p part, disposition string) {
	name := p.sentName()
	l.contentType(p.sentType(), name)
	e := base64Lines
	if p.form() == asMessage {
		e = eightBit
	}
	l.raw("Content-Transfer-Encoding", encodingNames[e])
	l.disposition(disposition, name)
	if p.cid != "" {
		l.raw("Content-ID", "<"+p.cid+">")
	}
	l.end()
	l.parts = append(l.parts, place{part: p, at: len(l.b)})
}

// multipart is the field of one, with the type of its root where it has one.
func (l *layout) multipart(kind, root string, level byte) {
	l.put("Content-Type: multipart/")
	l.put(kind)
	if root != "" {
		l.put(`; type="`)
		l.put(root)
		l.put(`"`)
	}
	l.put(";\r\n boundary=\"")
	l.mark(level)
	l.put("\"\r\n")
}

// mark is the boundary of a level. None of the three begins like another, as
// some parsers compare no more than the beginning.
func (l *layout) mark(level byte) {
	l.put(bounding[2:])
	l.b = append(l.b, level)
	l.put(l.boundary)
}

func (l *layout) delimiter(level byte) {
	l.put("\r\n--")
	l.mark(level)
	l.put("\r\n")
	l.start = len(l.b)
}

func (l *layout) closing(level byte) {
	l.put("\r\n--")
	l.mark(level)
	l.put("--\r\n")
}
