package compose

import (
	"fmt"
	"slices"
	"strings"

	"postern/config/wire"
)

// content is what the body of a message is made from, once it was checked.
type content struct {
	text     string // given or derived
	html     string
	calendar string
	method   string // of calendar
	inline   []part
	attached []part
}

// A part has its place in the Message, for errors.
type part struct {
	*Part
	list  string // "attach" or "embed"
	index int
	cid   string // Content-ID; empty: none is written
}

func (p part) field(what string) string { return fmt.Sprintf("%s[%d].%s", p.list, p.index, what) }

// idField is what the ID of a part is called: cid is the key of a message file.
func (p part) idField() string {
	if p.list == "embed" {
		return p.field("cid")
	}
	return p.field("id")
}

// A checker collects what is wrong.
type checker struct {
	m        *Message
	problems Problems
	content  content
}

func (c *checker) fault(field, text string) {
	if text != "" {
		c.problems = append(c.problems, Problem{field, text})
	}
}

func (c *checker) check() {
	c.addresses()
	c.fault("subject", textFault(c.m.Subject, maxValue))
	for i := range c.m.Header {
		c.header(&c.m.Header[i])
	}
	c.settings()
	c.bodies()
	c.parts()
}

func (c *checker) addresses() {
	m := c.m
	if m.From == (Address{}) {
		c.fault("from", "there is no author")
	} else {
		c.fault("from", addressFault(m.From, m.AllowBareLocal))
	}
	if len(m.To)+len(m.Cc)+len(m.Bcc) == 0 {
		c.fault("to", "there is no recipient")
	}
	c.list("to", m.To)
	c.list("cc", m.Cc)
	c.list("bcc", m.Bcc)
	c.list("reply_to", m.ReplyTo)
}

func (c *checker) list(field string, list []Address) {
	for _, a := range list {
		c.fault(field, addressFault(a, c.m.AllowBareLocal))
	}
}

// ours are the fields that Message stands for, or that only those who carry the
// message write (RFC 5321 §4.4, RFC 6376, RFC 8601).
var ours = map[string]string{
	"from": "from", "to": "to", "cc": "cc", "bcc": "bcc", "reply-to": "reply_to", "subject": "subject",
	"date": "", "message-id": "", "mime-version": "", "sender": "", "received": "", "return-path": "",
	"dkim-signature": "", "authentication-results": "", "delivered-to": "", "x-original-to": "", "auto-submitted": "",
}

// urgent are the fields of Importance.
var urgent = []string{"importance", "x-priority", "x-msmail-priority"}

func (c *checker) header(f *Field) {
	name := strings.ToLower(f.Name)
	if !isFieldName(name) {
		c.fault("headers", show(f.Name)+" is not the name of a field")
		return
	}
	field := "headers." + f.Name
	key, taken := ours[name]
	switch {
	case key != "":
		c.fault(field, "is written by us: set "+key)
	case taken, strings.HasPrefix(name, "content-"), strings.HasPrefix(name, "resent-"), strings.HasPrefix(name, "arc-"):
		c.fault(field, "is written by us or by those who carry the message")
	case c.m.Importance != Normal && slices.Contains(urgent, name):
		c.fault(field, "is written by us, for the importance")
	default:
		fault := textFault(f.Value, maxValue)
		if fault == "" && isStructured(name) {
			fault = structuredFault(f.Value)
		}
		c.fault(field, fault)
	}
}

// isFieldName asks for less than RFC 5322 §3.6.8 allows: for what programs know
// how to show.
func isFieldName(lower string) bool {
	return lower != "" && len(lower) <= 60 && lower[0] >= 'a' && lower[0] <= 'z' && !strings.ContainsFunc(lower, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.')
	})
}

// isStructured tells of fields that programs read by their own grammar, in
// which encoded-words have no place.
func isStructured(lower string) bool {
	switch lower {
	case "references", "in-reply-to", "disposition-notification-to", "return-receipt-to", "errors-to", "precedence", "feedback-id":
		return true
	}
	return strings.HasPrefix(lower, "list-") || strings.HasPrefix(lower, "postern-")
}

func structuredFault(s string) string {
	if !wire.Printable(s) {
		return "has to be ASCII: " + show(s)
	}
	for word := range strings.FieldsSeq(s) {
		if len(word) > wire.MaxTextLine-1 {
			return "has a word that is too long for a line"
		}
	}
	return ""
}

// settings are the rest of the header.
func (c *checker) settings() {
	m := c.m
	if m.Importance > Low {
		c.fault("importance", "is not normal, high or low")
	}
	if m.AutoSubmitted != "" && !isToken(m.AutoSubmitted) {
		c.fault("auto_submitted", show(m.AutoSubmitted)+" is not a word")
	}
	if m.MessageID != "" {
		left, right, ok := strings.Cut(bareID(m.MessageID), "@")
		if !ok || left == "" || right == "" || len(m.MessageID) > 250 || strings.ContainsFunc(left+right, func(r rune) bool {
			return r <= ' ' || r > '~' || strings.ContainsRune("<>@", r)
		}) {
			c.fault("message_id", show(m.MessageID)+" is not a Message-ID")
		}
	} else if m.Domain != "" {
		if d, ok := asciiDomain(m.Domain); (!ok || !wire.IsDomain(d, false)) && !wire.IsLiteral(m.Domain) {
			c.fault("domain", show(m.Domain)+" is not a domain")
		}
	}
	if m.Boundary != "" && (len(m.Boundary) > 60 || strings.Contains(m.Boundary, "-") || !isToken(m.Boundary)) {
		c.fault("boundary", show(m.Boundary)+" is not letters and digits")
	}
}

// bareID is a Message-ID without its brackets.
func bareID(id string) string { return strings.TrimSuffix(strings.TrimPrefix(id, "<"), ">") }

func (c *checker) bodies() {
	m := c.m
	c.content.text, c.content.html = m.Text, m.HTML
	c.fault("text", bodyFault(m.Text))
	fault := bodyFault(m.HTML)
	if fault == "" && m.HTML != "" && m.Text == "" && !m.NoText {
		var err error
		if c.content.text, err = TextOf(m.HTML); err != nil {
			fault = err.Error()
		}
	}
	c.fault("html", fault)
	if len(m.Calendar) > 0 {
		c.content.calendar = string(m.Calendar)
		c.content.method, fault = calendarMethod(c.content.calendar)
		c.fault("calendar", fault)
	}
}

// parts finds out what is inline: what the HTML refers to, and nothing else.
func (c *checker) parts() {
	m := c.m
	refs := references(m.HTML)
	if len(m.Attached)+len(m.Embedded) == 0 && len(refs) == 0 {
		return
	}
	ids := map[string]bool{} // whether a part has the ID
	for _, id := range refs {
		ids[id] = false
	}
	each := func(list string, parts []Part) {
		for i := range parts {
			c.part(part{Part: &parts[i], list: list, index: i}, ids)
		}
	}
	each("embed", m.Embedded)
	each("attach", m.Attached)
	for _, id := range refs {
		if !ids[id] {
			c.fault("html", "refers to "+show("cid:"+id)+", which is not embedded")
		}
	}
}

func (c *checker) part(p part, ids map[string]bool) {
	embedded := p.list == "embed"
	switch what, text := p.fault(embedded); {
	case text != "" && what == "id":
		c.fault(p.idField(), text)
		return
	case text != "":
		c.fault(p.field(what), text)
		return
	}
	if !embedded && p.ID == "" {
		c.content.attached = append(c.content.attached, p)
		return
	}
	taken, wanted := ids[p.id()]
	switch {
	case taken:
		c.fault(p.idField(), "another part has it: "+show(p.id()))
	case wanted:
		ids[p.id()] = true
		p.cid = p.id()
		c.content.inline = append(c.content.inline, p)
	case embedded:
		c.fault(p.idField(), "the HTML does not refer to "+show("cid:"+p.id())+": embed it there, or attach it")
	default:
		c.content.attached = append(c.content.attached, p)
	}
}
