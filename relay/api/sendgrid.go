package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"postern/relay/compose"
)

// sendgridMail is a mail as SendGrid's v3 API has it: one for each of its
// personalizations. Categories and arguments become the header field that
// SendGrid reads by SMTP.
type sendgridMail struct {
	Personalizations []sendgridPersonalization `json:"personalizations"`
	From             *sendgridAddress          `json:"from"`
	ReplyTo          *sendgridAddress          `json:"reply_to"`
	ReplyToList      []sendgridAddress         `json:"reply_to_list"`
	Subject          string                    `json:"subject"`
	Content          []sendgridContent         `json:"content"`
	Attachments      []sendgridAttachment      `json:"attachments"`
	Headers          map[string]string         `json:"headers"`
	Categories       []string                  `json:"categories"`
	CustomArgs       map[string]string         `json:"custom_args"`
	SendAt           int64                     `json:"send_at"`
}

type sendgridPersonalization struct {
	To            []sendgridAddress `json:"to"`
	Cc            []sendgridAddress `json:"cc"`
	Bcc           []sendgridAddress `json:"bcc"`
	From          *sendgridAddress  `json:"from"`
	Subject       string            `json:"subject"`
	Headers       map[string]string `json:"headers"`
	CustomArgs    map[string]string `json:"custom_args"`
	SendAt        int64             `json:"send_at"`
	Substitutions map[string]string `json:"substitutions"`
}

type sendgridAddress struct {
	Email string `json:"email"`
	Name  string `json:"name"`
}

type sendgridContent struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

type sendgridAttachment struct {
	Content     base64Text `json:"content"`
	Type        string     `json:"type"`
	Filename    string     `json:"filename"`
	Disposition string     `json:"disposition"`
	ContentID   string     `json:"content_id"`
}

// maxPersonalizations is SendGrid's own bound.
const maxPersonalizations = 1000

// mails are what it asks for.
func (e *sendgridMail) mails(now time.Time) (all []*mail, f *failure) {
	var wrong compose.Problems
	refuse := func(field, text string) { wrong = append(wrong, compose.Problem{Field: field, Text: text}) }
	if n := len(e.Personalizations); n == 0 || n > maxPersonalizations {
		refuse("personalizations", fmt.Sprintf("there have to be 1 to %d, not %d", maxPersonalizations, n))
	}
	later := func(field string, at int64) (t time.Time) {
		if at == 0 {
			return t
		}
		t = time.Unix(at, 0)
		if text := tooLate(t, now); text != "" {
			refuse(field, text)
		}
		return t
	}
	after := later("send_at", e.SendAt)
	text, html := "", ""
	for i, c := range e.Content {
		switch c.Type {
		case "text/plain":
			text = c.Value
		case "text/html":
			html = c.Value
		default:
			refuse(fmt.Sprintf("content[%d].type", i), "is neither text/plain nor text/html")
		}
	}
	for i := range e.Personalizations {
		p := &e.Personalizations[i]
		at := fmt.Sprintf("personalizations[%d].", i)
		own := later(at+"send_at", p.SendAt)
		if len(p.Substitutions) > 0 {
			refuse(at+"substitutions", "this relay fills nothing in")
		}
		m := &mail{subject: p.Subject, text: text, html: html,
			to: addressTexts(p.To), cc: addressTexts(p.Cc), bcc: addressTexts(p.Bcc), replyTo: addressTexts(e.ReplyToList)}
		if m.after = after; p.SendAt != 0 {
			m.after = own
		}
		if p.Subject == "" {
			m.subject = e.Subject
		}
		if p.From != nil {
			m.from = p.From.text()
		} else if e.From != nil {
			m.from = e.From.text()
		}
		if e.ReplyTo != nil {
			m.replyTo = append(m.replyTo, e.ReplyTo.text())
		}
		header := maps.Clone(e.Headers)
		if header == nil {
			header = map[string]string{}
		}
		maps.Copy(header, p.Headers)
		for _, name := range slices.Sorted(maps.Keys(header)) {
			m.field(name, header[name])
		}
		e.arguments(m, p)
		for _, a := range e.Attachments {
			one := attachment{a.Filename, a.Type, a.ContentID, a.Content}
			if a.Disposition != "inline" {
				one.id = ""
			}
			m.attachments = append(m.attachments, one)
		}
		all = append(all, m)
	}
	if len(wrong) > 0 {
		return nil, fault(wrong, "")
	}
	return all, nil
}

// arguments writes what SendGrid reads from a field of its own.
func (e *sendgridMail) arguments(m *mail, p *sendgridPersonalization) {
	own := map[string]any{}
	if len(e.Categories) > 0 {
		own["category"] = e.Categories
	}
	args := maps.Clone(e.CustomArgs)
	if args == nil {
		args = map[string]string{}
	}
	if maps.Copy(args, p.CustomArgs); len(args) > 0 {
		own["unique_args"] = args
	}
	if len(own) > 0 {
		text, _ := json.Marshal(own) // texts alone
		m.field("X-SMTPAPI", string(text))
	}
}

// text is the address as compose reads it.
func (a sendgridAddress) text() string { return compose.Address{Name: a.Name, Addr: a.Email}.String() }

func addressTexts(list []sendgridAddress) (out []string) {
	for _, a := range list {
		out = append(out, a.text())
	}
	return out
}

// sendgrid is POST /v3/mail/send.
func (r *request) sendgrid(w http.ResponseWriter) *failure {
	var e sendgridMail
	b, f := r.decode(&e)
	if f != nil {
		return f
	}
	k, f := r.key(b)
	if f != nil {
		return f
	}
	mails, f := e.mails(time.Now())
	if f != nil {
		return f
	}
	all, f := r.sendAll(mails, k, "personalizations", false)
	if f != nil {
		return f
	}
	w.Header().Set("X-Message-Id", all[0].accepted.ID)
	w.WriteHeader(http.StatusAccepted)
	return nil
}
