package api

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"postern/config/wire"
	"postern/relay/compose"
	"postern/relay/merge"
)

// resendMail is a mail in the shape of Resend, which is Postern's own.
type resendMail struct {
	From        string             `json:"from"`
	To          texts              `json:"to"`
	Cc          texts              `json:"cc"`
	Bcc         texts              `json:"bcc"`
	ReplyTo     texts              `json:"reply_to"`
	Subject     string             `json:"subject"`
	Text        string             `json:"text"`
	HTML        string             `json:"html"`
	Headers     map[string]string  `json:"headers"`
	Tags        []resendTag        `json:"tags"`
	Attachments []resendAttachment `json:"attachments"`
	ScheduledAt string             `json:"scheduled_at"`
	Notify      texts              `json:"notify"`
	Template    *resendTemplate    `json:"template"`
}

type resendTag struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type resendAttachment struct {
	Filename    string     `json:"filename"`
	Content     base64Text `json:"content"`
	Path        string     `json:"path"`
	ContentType string     `json:"content_type"`
	ContentID   string     `json:"content_id"`
}

type resendTemplate struct {
	ID        string          `json:"id"`
	Variables json.RawMessage `json:"variables"`
}

// maxBatch is how many mails one request may bring.
const maxBatch = 100

// mail is what it asks for.
func (e *resendMail) mail() (*mail, *failure) {
	m := &mail{
		from: e.From, to: e.To, cc: e.Cc, bcc: e.Bcc, replyTo: e.ReplyTo,
		subject: e.Subject, text: e.Text, html: e.HTML,
	}
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		m.field(name, e.Headers[name])
	}
	for _, t := range e.Tags {
		m.field("X-Tag-"+t.Name, t.Value)
	}
	var wrong compose.Problems
	for i, a := range e.Attachments {
		at := fmt.Sprintf("attachments[%d].", i)
		switch {
		case a.Path != "":
			wrong = append(wrong, compose.Problem{Field: at + "path", Text: "this relay fetches nothing: give the content"})
		case a.Content == nil:
			wrong = append(wrong, compose.Problem{Field: at + "content", Text: "there is none"})
		}
		m.attachments = append(m.attachments, attachment{a.Filename, a.ContentType, a.ContentID, a.Content})
	}
	var text string
	if m.after, text = whenOf(e.ScheduledAt, time.Now()); text != "" {
		wrong = append(wrong, compose.Problem{Field: "scheduled_at", Text: text})
	}
	if m.notify, text = notifyOf(e.Notify); text != "" {
		wrong = append(wrong, compose.Problem{Field: "notify", Text: text})
	}
	if t := e.Template; t != nil {
		var err error
		m.template = t.ID
		if m.values, err = merge.Values(t.Variables); err != nil {
			wrong = append(wrong, compose.Problem{Field: "template.variables", Text: err.Error()})
		}
		if t.ID == "" {
			wrong = append(wrong, compose.Problem{Field: "template.id", Text: "is missing"})
		}
		if e.Text != "" || e.HTML != "" {
			wrong = append(wrong, compose.Problem{Field: "template", Text: "has the text: leave out text and html"})
		}
	}
	if len(wrong) > 0 {
		return nil, fault(wrong, "")
	}
	return m, nil
}

// described is the description of a mail in a dialect.
type described interface{ mail() (*mail, *failure) }

// one takes in the mail of a request whose body is described by e.
func (r *request) one(e described) (accepted, *failure) {
	b, f := r.decode(e)
	if f != nil {
		return none, f
	}
	k, f := r.key(b)
	if f != nil {
		return none, f
	}
	m, f := e.mail()
	if f != nil {
		return none, f
	}
	return r.send(m, k)
}

// email is POST /emails.
func (r *request) email(w http.ResponseWriter) *failure {
	id, f := r.one(&resendMail{})
	if f != nil {
		return f
	}
	write(w, http.StatusOK, id)
	return nil
}

// batchAnswer is that of a batch. Errors are those of a permissive one.
type batchAnswer struct {
	Data   []accepted   `json:"data"`
	Errors []batchError `json:"errors,omitempty"`
}

type batchError struct {
	Index int `json:"index"`
	answer
}

// emails is POST /emails/batch.
func (r *request) emails(w http.ResponseWriter) *failure {
	permissive := false
	switch mode := r.Header.Get("X-Batch-Validation"); mode {
	case "", "strict":
	case "permissive":
		permissive = true
	default:
		return invalid("x-batch-validation is strict or permissive")
	}
	all, f := r.batch(maxBatch, permissive, func() described { return &resendMail{} })
	if f != nil {
		return f
	}
	out := batchAnswer{Data: []accepted{}}
	for i, one := range all {
		if one.failed != nil {
			out.Errors = append(out.Errors, batchError{i, one.failed.answer()})
		} else {
			out.Data = append(out.Data, one.accepted)
		}
	}
	write(w, http.StatusOK, out)
	return nil
}

// key reads Idempotency-Key.
func (r *request) key(body []byte) (k key, f *failure) {
	all := r.Header.Values("Idempotency-Key")
	switch {
	case len(all) == 0:
		return k, nil
	case len(all) > 1 || !isKey(all[0]):
		return k, &failure{status: http.StatusBadRequest, name: nameKey, text: "Idempotency-Key has to be 1 to 256 printable ASCII characters"}
	}
	return key{name: all[0], digest: digestOf(r.URL.Path, body)}, nil
}

// maxKey is how long a key may be.
const maxKey = 256

func isKey(s string) bool {
	return s != "" && len(s) <= maxKey && wire.Printable(s)
}

// digestOf tells one request from another with the same key.
func digestOf(path string, body []byte) (d [sha256.Size]byte) {
	h := sha256.New()
	h.Write([]byte(path + "\n"))
	h.Write(body)
	h.Sum(d[:0])
	return d
}
