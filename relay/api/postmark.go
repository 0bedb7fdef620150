package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"postern/relay/compose"
)

// postmarkMail is a mail as Postmark's API has it. Tags and metadata become the
// header fields that Postmark reads by SMTP.
type postmarkMail struct {
	From, To, Cc, Bcc, ReplyTo string
	Subject, Tag               string
	HtmlBody, TextBody         string
	Headers                    []struct{ Name, Value string }
	Metadata                   map[string]string
	MessageStream              string
	TrackOpens                 *bool
	TrackLinks                 string
	InlineCss                  *bool
	Attachments                []postmarkAttachment
}

type postmarkAttachment struct {
	Name, ContentType, ContentID string
	ContentLength                int64
	Content                      base64Text
}

// postmarkNames are those of mail.go in Postmark's words.
var postmarkNames = map[string]string{"from": "From", "to": "To", "cc": "Cc", "bcc": "Bcc", "reply_to": "ReplyTo", "subject": "Subject", "text": "TextBody"}

func (e *postmarkMail) mail() (*mail, *failure) {
	var wrong compose.Problems
	refuse := func(field, text string) { wrong = append(wrong, compose.Problem{Field: field, Text: text}) }
	m := &mail{from: e.From, to: texts{e.To}, cc: texts{e.Cc}, bcc: texts{e.Bcc}, replyTo: texts{e.ReplyTo},
		subject: e.Subject, text: e.TextBody, html: e.HtmlBody}
	m.nameOf = func(field string) string {
		if own := postmarkNames[field]; own != "" {
			return own
		}
		return field
	}
	for _, h := range e.Headers {
		m.field(h.Name, h.Value)
	}
	if e.Tag != "" {
		m.field("X-PM-Tag", e.Tag)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Metadata)) {
		m.field("X-PM-Metadata-"+name, e.Metadata[name])
	}
	if e.MessageStream != "" {
		m.field("X-PM-Message-Stream", e.MessageStream)
	}
	if e.TrackOpens != nil && *e.TrackOpens {
		refuse("TrackOpens", "this relay tracks nobody")
	}
	if e.TrackLinks != "" && e.TrackLinks != "None" {
		refuse("TrackLinks", "this relay tracks nobody")
	}
	if e.InlineCss != nil && *e.InlineCss {
		html, err := compose.InlineCSS(e.HtmlBody)
		if err != nil {
			refuse("InlineCss", err.Error())
		}
		m.html = html
	}
	for _, a := range e.Attachments {
		m.attachments = append(m.attachments, attachment{a.Name, a.ContentType, strings.TrimPrefix(a.ContentID, "cid:"), a.Content})
	}
	if len(wrong) > 0 {
		return nil, fault(wrong, "")
	}
	return m, nil
}

// postmarkAnswer is that for one mail.
type postmarkAnswer struct {
	ErrorCode   int
	Message     string
	MessageID   string `json:",omitempty"`
	SubmittedAt string `json:",omitempty"`
	To          string `json:",omitempty"`
}

func postmarkOK(id, to string) postmarkAnswer {
	return postmarkAnswer{Message: "OK", MessageID: id, SubmittedAt: time.Now().UTC().Format(time.RFC3339Nano), To: to}
}

// postmark is POST /email.
func (r *request) postmark(w http.ResponseWriter) *failure {
	var e postmarkMail
	id, f := r.one(&e)
	if f != nil {
		return f
	}
	write(w, http.StatusOK, postmarkOK(id.ID, e.To))
	return nil
}

// maxPostmarkBatch is Postmark's own bound.
const maxPostmarkBatch = 500

// postmarkBatch is POST /email/batch: each mail on its own, as there.
func (r *request) postmarkBatch(w http.ResponseWriter) *failure {
	var list []json.RawMessage
	b, f := r.decode(&list)
	if f != nil {
		return f
	}
	if !r.hold(int64(len(b))) { // which list holds as well
		return noMemory
	}
	if len(list) == 0 || len(list) > maxPostmarkBatch {
		return invalid(fmt.Sprintf("a batch has 1 to %d mails, not %d", maxPostmarkBatch, len(list)))
	}
	k, f := r.key(b)
	if f != nil {
		return f
	}
	answers := make([]postmarkAnswer, len(list))
	var mails []*mail
	var at []int
	var to []string
	for i, one := range list {
		var e postmarkMail
		f := decode(one, &e)
		var m *mail
		if f == nil {
			m, f = e.mail()
		}
		if f != nil {
			answers[i] = postmarkAnswer{ErrorCode: f.postmark(), Message: f.text}
			continue
		}
		mails, at, to = append(mails, m), append(at, i), append(to, e.To)
	}
	all, f := r.sendAll(mails, k, "", true)
	if f != nil {
		return f
	}
	for i, o := range all {
		if o.failed != nil {
			answers[at[i]] = postmarkAnswer{ErrorCode: o.failed.postmark(), Message: o.failed.text}
		} else {
			answers[at[i]] = postmarkOK(o.accepted.ID, to[i])
		}
	}
	write(w, http.StatusOK, answers)
	return nil
}
