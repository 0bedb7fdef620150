package api

import (
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
	m.inlineCSS = e.InlineCss != nil && *e.InlineCss
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
	var mails []*postmarkMail
	all, f := r.batch(maxPostmarkBatch, true, func() described {
		e := &postmarkMail{}
		mails = append(mails, e)
		return e
	})
	if f != nil {
		return f
	}
	answers := make([]postmarkAnswer, len(all))
	for i, one := range all {
		if one.failed != nil {
			answers[i] = postmarkAnswer{ErrorCode: one.failed.postmark(), Message: one.failed.text}
		} else {
			answers[i] = postmarkOK(one.accepted.ID, mails[i].To)
		}
	}
	write(w, http.StatusOK, answers)
	return nil
}
