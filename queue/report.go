package queue

import (
	"bytes"
	"fmt"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"time"

	"postern/spool"
)

// subject is one recipient of a notification.
type subject struct {
	recipient *spool.Recipient
	outcome   spool.Outcome // of the last attempt; zero: there was none
	last      time.Time     // of the last attempt
	reason    string        // our own decision, where the upstream did not decide
	status    string        // its enhanced status code
	until     time.Time     // how long it will be tried; zero: unknown
}

// report is a delivery status notification: RFC 3464 in the multipart of
// RFC 6522. It depends on nothing but its fields.
type report struct {
	kind      Action
	host      string
	now       time.Time
	env       *spool.Envelope
	about     []subject
	returned  []byte // header or content of the message
	full      bool   // returned is the whole content
	messageID string
	boundary  string
}

// bytes writes the notification, with CRLF line ends. It is 7-bit, whatever
// was in the message, so that every upstream can carry it; only the address of
// the sender itself, in To, can make it 8-bit.
func (r *report) bytes() (text []byte, has8Bit bool) {
	var b bytes.Buffer
	r.header(&b)
	b.WriteString("This is a MIME-encapsulated message.\r\n")
	r.part(&b, "Notification", "text/plain; charset=utf-8", r.explain())
	r.open(&b, "Delivery report", "message/delivery-status", "7bit")
	b.WriteString(r.fields())
	r.enclose(&b)
	fmt.Fprintf(&b, "\r\n--%s--\r\n", r.boundary)
	return b.Bytes(), !isASCII(b.Bytes())
}

var subjects = map[Action]string{
	Failed:  "Undelivered mail returned to sender",
	Delayed: "Delayed mail (still being retried)",
	Relayed: "Mail handed on to the next server",
}

// unconfirmed reports whether a next server accepted the mail without taking
// over the duty to report (RFC 3461 §5.2.3).
func (r *report) unconfirmed() bool {
	return slices.ContainsFunc(r.about, func(s subject) bool { return !s.outcome.DSNRelayed })
}

func (r *report) header(b *bytes.Buffer) {
	fmt.Fprintf(b, "Date: %s\r\n", date(r.now))
	fmt.Fprintf(b, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\n", r.host)
	fmt.Fprintf(b, "To: <%s>\r\n", r.env.From)
	title := subjects[r.kind]
	if r.kind == Relayed && r.unconfirmed() {
		title = "Mail handed on to a server that does not confirm delivery"
	}
	fmt.Fprintf(b, "Subject: %s\r\n", title)
	fmt.Fprintf(b, "Message-ID: %s\r\n", r.messageID)
	if id := r.env.MessageID; isMessageID(id) {
		fmt.Fprintf(b, "In-Reply-To: %s\r\nReferences: %s\r\n", id, id)
	}
	b.WriteString("Auto-Submitted: auto-replied\r\n") // RFC 3834 §5
	b.WriteString("MIME-Version: 1.0\r\n")
	b.WriteString("Content-Type: multipart/report; report-type=delivery-status;\r\n")
	fmt.Fprintf(b, " boundary=\"%s\"\r\n\r\n", r.boundary)
}

func (r *report) open(b *bytes.Buffer, description, kind, encoding string) {
	fmt.Fprintf(b, "\r\n--%s\r\nContent-Description: %s\r\nContent-Type: %s\r\n", r.boundary, description, kind)
	fmt.Fprintf(b, "Content-Transfer-Encoding: %s\r\n\r\n", encoding)
}

// part writes text as it is where it is plain, else quoted-printable.
func (r *report) part(b *bytes.Buffer, description, kind, text string) {
	if isPlain([]byte(text)) {
		r.open(b, description, kind, "7bit")
		b.WriteString(text)
		return
	}
	r.open(b, description, kind, "quoted-printable")
	w := quotedprintable.NewWriter(b)
	w.Write([]byte(text))
	w.Close()
}

// enclose returns the message or its header.
func (r *report) enclose(b *bytes.Buffer) {
	switch {
	case len(r.returned) == 0:
	case r.full:
		r.open(b, "Undelivered message", "message/rfc822", "7bit")
		b.Write(r.returned)
	default:
		r.part(b, "Header of the message", "text/rfc822-headers; charset=utf-8", string(r.returned))
	}
}

// fields is the part for machines: RFC 3464 §2.
func (r *report) fields() string {
	var b strings.Builder
	if id := xtext(r.env.EnvelopeID); id != "" {
		b.WriteString(fold("Original-Envelope-Id", ascii(id)))
	}
	b.WriteString(fold("Reporting-MTA", "dns; "+r.host))
	b.WriteString(fold("Arrival-Date", date(r.env.Accepted)))
	for i := range r.about {
		b.WriteString("\r\n")
		r.recipientFields(&b, &r.about[i])
	}
	return b.String()
}

func (r *report) recipientFields(b *strings.Builder, s *subject) {
	if kind, addr, ok := strings.Cut(s.recipient.ORcpt, ";"); ok {
		b.WriteString(fold("Original-Recipient", ascii(kind)+"; "+typed(xtext(addr))))
	}
	kind := "rfc822"
	if !isASCII([]byte(s.recipient.Address)) {
		kind = "utf-8" // RFC 6533 §3
	}
	b.WriteString(fold("Final-Recipient", kind+"; "+typed(s.recipient.Address)))
	b.WriteString(fold("Action", string(r.kind)))
	b.WriteString(fold("Status", s.code(r.kind)))
	if host := remoteHost(s.outcome.Remote); host != "" && !s.outcome.Unsupported {
		b.WriteString(fold("Remote-MTA", "dns; "+ascii(host)))
	}
	if s.outcome.Code != 0 && !s.outcome.Unsupported {
		b.WriteString(fold("Diagnostic-Code", "smtp; "+ascii(replyText(&s.outcome))))
	} else if s.outcome.Cause != "" || s.outcome.Text != "" {
		// RFC 3464 §2.3.6: only what the remote side said is of type smtp.
		b.WriteString(fold("Diagnostic-Code", "x-postern; "+ascii(causeText(&s.outcome))))
	}
	if !s.last.IsZero() {
		b.WriteString(fold("Last-Attempt-Date", date(s.last)))
	}
	if r.kind == Delayed && !s.until.IsZero() {
		b.WriteString(fold("Will-Retry-Until", date(s.until)))
	}
}

// code is the Status field: the code that was given where its class agrees
// with the action (RFC 3464 §2.3.4), else the general one of that class.
func (s *subject) code(kind Action) string {
	if s.status != "" {
		return s.status
	}
	class := map[Action]int{Failed: 5, Delayed: 4, Relayed: 2}[kind]
	if e := parseEnhanced(&s.outcome); e.known && e.class == class {
		return fmt.Sprintf("%d.%d.%d", e.class, e.subject, e.detail)
	}
	if kind == Delayed {
		return "4.4.7"
	}
	return fmt.Sprintf("%d.0.0", class)
}

// remoteHost strips the port.
func remoteHost(remote string) string {
	if i := strings.LastIndexByte(remote, ':'); i >= 0 && !strings.HasSuffix(remote, "]") {
		return strings.Trim(remote[:i], "[]")
	}
	return remote
}

func replyText(o *spool.Outcome) string {
	parts := []string{fmt.Sprint(o.Code)}
	if o.Enhanced != "" {
		parts = append(parts, o.Enhanced)
	}
	if o.Text != "" {
		parts = append(parts, o.Text)
	}
	return strings.Join(parts, " ")
}

func causeText(o *spool.Outcome) string {
	if o.Text != "" && o.Cause != "" {
		return o.Text + ": " + o.Cause
	}
	return o.Text + o.Cause
}

func date(t time.Time) string { return t.Format("Mon, 2 Jan 2006 15:04:05 -0700") }

// header is text up to the empty line; an incomplete last line is dropped.
func header(text []byte) []byte {
	if i := bytes.Index(text, []byte("\r\n\r\n")); i >= 0 {
		return text[:i+2]
	}
	return text[:bytes.LastIndexByte(text, '\n')+1]
}

func contains(b []byte, s string) bool { return bytes.Contains(b, []byte(s)) }

// isMessageID says whether an identifier can stand in a header of ours.
func isMessageID(s string) bool {
	if len(s) < 5 || len(s) > 250 || s[0] != '<' || s[len(s)-1] != '>' {
		return false
	}
	_, err := mail.ParseAddress(s)
	return err == nil && isASCII([]byte(s)) && !strings.ContainsAny(s, " \t\r\n")
}
