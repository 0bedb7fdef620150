package api

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"postern/config/wire"
	"postern/relay/compose"
	"postern/relay/merge"
	"postern/relay/submission"
	"postern/spool"
)

// mail is what a request asks for, whatever its dialect.
type mail struct {
	from                  string
	to, cc, bcc, replyTo  []string // addresses, or lists of such
	subject, text, html   string
	header                []compose.Field
	attachments, embedded []attachment
	after                 time.Time    // nothing is sent before; zero: at once
	notify                spool.Notify // what its sender is told of; 0: of what fails
	template              string       // the message file that makes the rest; empty: none
	values                merge.Row    // of the template
	inlineCSS             bool         // the rules of <style> go to the elements
	// names of the fields in the dialect, for whoever reads what is wrong
	nameOf func(field string) string
}

// attachment is a file of a mail. Its data is all there.
type attachment struct {
	name, kind, id string
	data           []byte
}

// field adds one to the header. What has a place of its own in compose goes
// there.
func (m *mail) field(name, value string) {
	m.header = append(m.header, compose.Field{Name: name, Value: value})
}

// compose makes the message over what its template made, or tells all that is
// wrong with it.
func (m *mail) compose(hostname string, c compose.Message) (*compose.Composed, compose.Problems) {
	c.Domain, c.AllowBareLocal = hostname, true
	if m.subject != "" {
		c.Subject = m.subject
	}
	if m.template == "" {
		c.Text, c.HTML = m.text, m.html
	}
	var wrong compose.Problems
	told := map[string]bool{}
	problem := func(field, text string) {
		told[field] = true
		wrong = append(wrong, compose.Problem{Field: m.name(field), Text: text})
	}
	if m.from != "" {
		if from, err := compose.ParseAddress(m.from); err != nil {
			problem("from", err.Error())
		} else {
			c.From = from
		}
	}
	for _, list := range []struct {
		name  string
		texts []string
		into  *[]compose.Address
	}{{"to", m.to, &c.To}, {"cc", m.cc, &c.Cc}, {"bcc", m.bcc, &c.Bcc}, {"reply_to", m.replyTo, &c.ReplyTo}} {
		for i, text := range list.texts {
			all, err := compose.ParseList(text)
			if err != nil {
				problem(list.name, err.Error())
			}
			if i == 0 {
				*list.into = nil
			}
			*list.into = append(*list.into, all...)
		}
	}
	for _, f := range m.header {
		switch strings.ToLower(f.Name) {
		case "message-id":
			c.MessageID = f.Value
		case "auto-submitted":
			c.AutoSubmitted = f.Value
		default:
			c.Header = append(c.Header, f)
		}
	}
	for _, a := range m.attachments {
		p := compose.BytesPart(a.name, a.kind, a.data)
		p.ID = a.id
		c.Attached = append(c.Attached, p)
	}
	for _, a := range m.embedded {
		p := compose.BytesPart(a.name, a.kind, a.data)
		p.ID = a.id
		c.Embedded = append(c.Embedded, p)
	}
	if m.inlineCSS && m.template == "" {
		var err error
		if c.HTML, err = compose.InlineStrangeCSS(m.html); err != nil {
			problem("InlineCss", err.Error()) // as the only dialect has it that knows this
		}
	}
	if m.template == "" && m.text == "" && m.html == "" {
		problem("text", "there is neither text nor html")
	}
	done, err := c.Compose()
	var faults compose.Problems
	if errors.As(err, &faults) {
		for _, f := range faults {
			if !told[f.Field] { // what could not be read is missing there
				problem(f.Field, f.Text)
			}
		}
	} else if err != nil {
		problem("", err.Error())
	}
	return done, wrong
}

// name is what a field is called in the dialect of the request.
func (m *mail) name(field string) string {
	if rest, ok := strings.CutPrefix(field, "attach["); ok {
		field = "attachments[" + rest
	}
	if m.nameOf == nil {
		return field
	}
	return m.nameOf(field)
}

// fault is what is wrong with a mail, as a failure.
func fault(wrong compose.Problems, where string) *failure {
	name := nameInvalid
	p := problems{}
	for _, one := range wrong {
		if strings.HasPrefix(one.Field, "attachments[") {
			name = nameAttachment
		}
		p.add(where+one.Field, one.Text)
	}
	f := p.failure()
	if len(wrong) == len(p.list) && name == nameAttachment && allAttachments(wrong) {
		f.name = name
	}
	return f
}

func allAttachments(wrong compose.Problems) bool {
	for _, one := range wrong {
		if !strings.HasPrefix(one.Field, "attachments[") {
			return false
		}
	}
	return true
}

// key is what makes requests one that are made again.
type key struct {
	name   string // as the client chose it; empty: none
	digest [sha256.Size]byte
	loose  bool // digest is that of the kind of request alone
}

// open is a message that is written, and lacks its commit.
type open struct {
	message  *submission.Message
	accepted accepted
	failed   *failure
}

// A mail of more than largeMail bytes has a file of its own until it is kept,
// and one request may have no more than maxLarge of them open: one attachment
// to a thousand personalizations would be a thousand files.
const (
	largeMail = 192 << 10
	maxLarge  = 8
)

// MaxFiles is how many files one request may have open.
const MaxFiles = maxLarge

var manyLarge = &failure{status: http.StatusRequestEntityTooLarge, name: nameTooLarge, code: 552, enhanced: "5.3.4",
	text: "one request may have 8 mails of more than 192 KiB; send the others by themselves"}

// prepare composes a mail and writes all of it into the submission.
func (r *request) prepare(m *mail, where string, k key) *open {
	var made compose.Message
	if m.template != "" {
		filled, f := r.fill(m, where)
		if f != nil {
			return &open{failed: f}
		}
		made = *filled.Mail
		if k.name == "" && filled.Key != "" {
			k = key{name: filled.Key, digest: digestOf("template", nil), loose: true}
		}
		if m.notify == 0 && len(filled.DSN) > 0 {
			m.notify, _ = submission.ReadNotify(strings.Join(filled.DSN, ","))
		}
	}
	done, f := r.compose(m, made, where)
	if f != nil {
		return &open{failed: f}
	}
	env := envelope{key: k, after: m.after, notify: m.notify}
	env.from, env.to, env.utf8 = done.Envelope()
	size := done.Size()
	if size > r.limits.cfg.MaxMessageSize {
		return &open{failed: located(failureOf(submission.TooLarge(size, r.limits.cfg.MaxMessageSize), submission.AtContent), where)}
	}
	if size > largeMail {
		switch r.large++; {
		case r.large > maxLarge:
			return &open{failed: located(manyLarge, where)}
		case r.large > 1 && !r.takePlace():
			return &open{failed: noMemory}
		}
	}
	msg, f := r.begin(&env)
	if f != nil {
		return &open{failed: located(f, where)}
	}
	if msg.Repeated() {
		return &open{message: msg}
	}
	written := false
	defer func() {
		if !written { // also after a bug
			msg.Discard()
		}
	}()
	if _, err := done.WriteTo(msg); err != nil {
		var refusal *submission.Refusal
		if errors.As(err, &refusal) {
			return &open{failed: located(failureOf(refusal, submission.AtContent), where)}
		}
		return &open{failed: located(invalid(err.Error()), where)}
	}
	written = true
	return &open{message: msg}
}

// located is a failure of one mail of several.
func located(f *failure, where string) *failure {
	if where == "" {
		return f
	}
	own := *f
	own.text = strings.TrimSuffix(where, ".") + ": " + f.text
	return &own
}

// send takes one mail.
func (r *request) send(m *mail, k key) (accepted, *failure) {
	o := r.prepare(m, "", k)
	if o.failed != nil {
		return none, o.failed
	}
	defer o.message.Discard()
	return r.commit(o.message)
}

// sendAll takes several mails, which the dialect calls at[0], at[1]. permissive: each on its own; otherwise nothing
// is kept before all were checked and written. What can fail after that is the
// disk: then some may be kept, and the failure says so.
func (r *request) sendAll(mails []*mail, k key, at string, permissive bool) ([]*open, *failure) {
	all := make([]*open, len(mails))
	defer func() {
		for _, o := range all {
			if o != nil && o.message != nil {
				o.message.Discard()
			}
		}
	}()
	for i, m := range mails {
		where := ""
		if !permissive {
			where = fmt.Sprintf(at+"[%d].", i)
		}
		all[i] = r.prepare(m, where, k.part(i))
		if f := all[i].failed; f != nil && !permissive {
			return nil, f
		}
	}
	// Side by side, so that one sync of the disk serves many.
	var committing sync.WaitGroup
	for _, o := range all {
		if o.failed == nil {
			committing.Go(func() {
				defer r.guard(func(f *failure) { o.failed = f })
				o.accepted, o.failed = r.commit(o.message)
			})
		}
	}
	committing.Wait()
	if permissive {
		return all, nil
	}
	var failed *failure
	kept := 0
	for _, o := range all {
		if o.failed == nil {
			kept++
		} else {
			failed = o.failed
		}
	}
	if failed != nil && kept > 0 {
		own := *failed
		own.text += fmt.Sprintf("; %d of %d messages were accepted before: the same request with an Idempotency-Key sends what is missing", kept, len(all))
		failed = &own
	}
	return all, failed
}

// part is the key of one of several mails of a request.
func (k key) part(i int) key {
	if k.name != "" {
		k.name = fmt.Sprintf("%x/%d", sha256.Sum256([]byte(k.name)), i)
	}
	return k
}

// whenOf reads the time at which a mail is to be sent.
func whenOf(text string, now time.Time) (at time.Time, problem string) {
	if text == "" {
		return at, ""
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Sprintf("%q is not a time of ISO 8601 with an offset, such as 2026-11-28T08:00:00Z", wire.Line(text))
	}
	return at, tooLate(at, now)
}

// tooLate says what is wrong with a time to send something at; empty: nothing.
// One that is over is no time.
func tooLate(at, now time.Time) (problem string) {
	if at.Sub(now) > submission.MaxDelay {
		return "is more than 30 days ahead"
	}
	return ""
}

// notifyOf reads what a sender wants to be told of: words, or lists of such.
func notifyOf(words texts) (n spool.Notify, problem string) {
	if len(words) == 0 {
		return 0, ""
	}
	n, ok := submission.ReadNotify(strings.Join(words, ","))
	if !ok {
		return 0, wrongNotify
	}
	return n, ""
}

const wrongNotify = `is neither "never" nor a list of success, failure and delay`
