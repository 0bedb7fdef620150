// Package notice writes delivery status notifications: what a sender is told of
// a message that failed, is late, or was handed on (RFC 3464 in the multipart of
// RFC 6522).
//
// It owns the text, and the rules of who wants one. All of it is functions from
// values to values, which may be called from several goroutines at once. It
// knows no store, no lane and no clock: the queue decides when a notice is due,
// and makes it durable.
//
// To read first: [Wanted], [Notice.Bytes], [Excerpt].
package notice

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"time"

	"postern/config/wire"
	"postern/queue/verdict"
	"postern/spool"
)

// Action is what a notice reports (RFC 3464 §2.3.3).
type Action string

// The actions that we report. A relay never reports "delivered": that is for
// the host of the mailbox.
const (
	Failed  Action = "failed"
	Delayed Action = "delayed"
	Relayed Action = "relayed"
)

// Notice is one notification. Its text depends on nothing but its fields.
type Notice struct {
	Action    Action
	Host      string // name of this relay
	Now       time.Time
	Envelope  *spool.Envelope // of the message that it is about
	About     []Recipient
	Returned  []byte // header or content of the message, from Excerpt
	Full      bool   // Returned is the whole content
	MessageID string // of the notice, with angle brackets
	Boundary  string // of its parts, from Boundary

	// Postmaster, where it is not empty, is told instead of the sender, which the
	// message does not have: it failed, and is kept until KeptUntil as KeptID.
	Postmaster string
	KeptID     spool.ID
	KeptUntil  time.Time
}

// Recipient is one recipient that a notice is about.
type Recipient struct {
	*spool.Recipient
	Outcome spool.Outcome // of the last attempt; zero: there was none
	Last    time.Time     // of the last attempt; zero: there was none
	Reason  string        // our own decision, where the upstream did not decide
	Status  string        // its enhanced status code; empty: that of the outcome
	Until   time.Time     // how long it will be tried; zero: unknown
}

// Wanted says whether a notice of this kind is due for a recipient.
func Wanted(kind Action, env *spool.Envelope, r *spool.Recipient, o *spool.Outcome) bool {
	if env.From == "" || r.Notify&spool.NotifyNever != 0 {
		return false // RFC 5321 §4.5.5, RFC 3461 §4.1: never about a notification
	}
	switch kind {
	case Failed:
		return r.Notify == 0 || r.Notify&spool.NotifyFailure != 0
	case Delayed:
		if by := env.DeliverBy; by != nil && !by.Return {
			return true // RFC 2852 §4.1: by-mode N asks for it
		}
		// Nobody reads what answers a machine's message, and a delay is not
		// final: only where it is asked for.
		return r.Notify == 0 && !env.Auto || r.Notify&spool.NotifyDelay != 0
	}
	if by := env.DeliverBy; by != nil && (by.Trace || !by.Return && !o.ByRelayed) {
		return true // RFC 2852 §4.1: handed on without the deadline, or traced
	}
	// RFC 3461 §5.2.3: the next hop doesn't take over the duty to report.
	return r.Notify&spool.NotifySuccess != 0 && !o.DSNRelayed
}

// Bytes writes the notification, with CRLF line ends. It is 7-bit, whatever
// was in the message, so that every upstream can carry it; only the address of
// the sender itself, in To, can make it 8-bit.
func (n *Notice) Bytes() (text []byte, has8Bit bool) {
	var b bytes.Buffer
	n.header(&b)
	b.WriteString("This is a MIME-encapsulated message.\r\n")
	n.part(&b, "Notification", "text/plain; charset=utf-8", n.explain())
	n.open(&b, "Delivery report", "message/delivery-status", "7bit")
	b.WriteString(n.fields())
	n.enclose(&b)
	fmt.Fprintf(&b, "\r\n--%s--\r\n", n.Boundary)
	return b.Bytes(), !wire.IsASCII(b.Bytes())
}

var subjects = map[Action]string{
	Failed:  "Undelivered mail returned to sender",
	Delayed: "Delayed mail (still being retried)",
	Relayed: "Mail handed on to the next server",
}

// unconfirmed reports whether a next server accepted the mail without taking
// over the duty to report (RFC 3461 §5.2.3).
func (n *Notice) unconfirmed() bool {
	return slices.ContainsFunc(n.About, func(s Recipient) bool { return !s.Outcome.DSNRelayed })
}

func (n *Notice) header(b *bytes.Buffer) {
	fmt.Fprintf(b, "Date: %s\r\n", date(n.Now))
	fmt.Fprintf(b, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\n", n.Host)
	to, title := n.Envelope.From, subjects[n.Action]
	if n.Postmaster != "" {
		to, title = n.Postmaster, "Undelivered bounce is kept"
	}
	fmt.Fprintf(b, "To: <%s>\r\n", to)
	if n.Action == Relayed && n.unconfirmed() {
		title = "Mail handed on to a server that does not confirm delivery"
	}
	fmt.Fprintf(b, "Subject: %s\r\n", title)
	fmt.Fprintf(b, "Message-ID: %s\r\n", n.MessageID)
	if id := n.Envelope.MessageID; isMessageID(id) {
		fmt.Fprintf(b, "In-Reply-To: %s\r\nReferences: %s\r\n", id, id)
	}
	b.WriteString("Auto-Submitted: auto-replied\r\n") // RFC 3834 §5
	b.WriteString("MIME-Version: 1.0\r\n")
	b.WriteString("Content-Type: multipart/report; report-type=delivery-status;\r\n")
	fmt.Fprintf(b, " boundary=\"%s\"\r\n\r\n", n.Boundary)
}

func (n *Notice) open(b *bytes.Buffer, description, kind, encoding string) {
	fmt.Fprintf(b, "\r\n--%s\r\nContent-Description: %s\r\nContent-Type: %s\r\n", n.Boundary, description, kind)
	fmt.Fprintf(b, "Content-Transfer-Encoding: %s\r\n\r\n", encoding)
}

// part writes text as it is where it is plain, else quoted-printable.
func (n *Notice) part(b *bytes.Buffer, description, kind, text string) {
	if wire.SevenBit([]byte(text)) {
		n.open(b, description, kind, "7bit")
		b.WriteString(text)
		return
	}
	n.open(b, description, kind, "quoted-printable")
	w := quotedprintable.NewWriter(b)
	w.Write([]byte(text))
	w.Close()
}

// enclose returns the message or its header.
func (n *Notice) enclose(b *bytes.Buffer) {
	switch {
	case len(n.Returned) == 0:
	case n.Full:
		n.open(b, "Undelivered message", "message/rfc822", "7bit")
		b.Write(n.Returned)
	default:
		n.part(b, "Header of the message", "text/rfc822-headers; charset=utf-8", string(n.Returned))
	}
}

// fields is the part for machines: RFC 3464 §2.
func (n *Notice) fields() string {
	var b strings.Builder
	if id := wire.XtextShown(n.Envelope.EnvelopeID); id != "" {
		b.WriteString(wire.Field("Original-Envelope-Id", wire.FieldText(id)))
	}
	b.WriteString(wire.Field("Reporting-MTA", "dns; "+n.Host))
	b.WriteString(wire.Field("Arrival-Date", date(n.Envelope.Accepted)))
	for i := range n.About {
		b.WriteString("\r\n")
		n.recipientFields(&b, &n.About[i])
	}
	return b.String()
}

func (n *Notice) recipientFields(b *strings.Builder, s *Recipient) {
	if kind, addr, ok := strings.Cut(s.ORcpt, ";"); ok {
		b.WriteString(wire.Field("Original-Recipient", wire.FieldText(kind)+"; "+typed(wire.XtextShown(addr))))
	}
	kind := "rfc822"
	if !wire.IsASCII(s.Address) {
		kind = "utf-8" // RFC 6533 §3
	}
	b.WriteString(wire.Field("Final-Recipient", kind+"; "+typed(s.Address)))
	b.WriteString(wire.Field("Action", string(n.Action)))
	b.WriteString(wire.Field("Status", s.code(n.Action)))
	if host := remoteHost(s.Outcome.Remote); host != "" && !s.Outcome.Unsupported {
		b.WriteString(wire.Field("Remote-MTA", "dns; "+wire.FieldText(host)))
	}
	if s.Outcome.Code != 0 && !s.Outcome.Unsupported {
		b.WriteString(wire.Field("Diagnostic-Code", "smtp; "+wire.FieldText(replyText(&s.Outcome))))
	} else if s.Outcome.Cause != "" || s.Outcome.Text != "" {
		// RFC 3464 §2.3.6: only what the remote side said is of type smtp.
		b.WriteString(wire.Field("Diagnostic-Code", "x-postern; "+wire.FieldText(causeText(&s.Outcome))))
	}
	if !s.Last.IsZero() {
		b.WriteString(wire.Field("Last-Attempt-Date", date(s.Last)))
	}
	if n.Action == Delayed && !s.Until.IsZero() {
		b.WriteString(wire.Field("Will-Retry-Until", date(s.Until)))
	}
}

// code is the Status field: the code that was given where its class agrees
// with the action (RFC 3464 §2.3.4), else the general one of that class.
func (s *Recipient) code(kind Action) string {
	if s.Status != "" {
		return s.Status
	}
	class := map[Action]int{Failed: 5, Delayed: 4, Relayed: 2}[kind]
	if e := verdict.EnhancedOf(&s.Outcome); e.Class == class {
		return fmt.Sprintf("%d.%d.%d", e.Class, e.Subject, e.Detail)
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

// Answer is an outcome in one line: the reply of the upstream with its codes,
// or why there was none; empty: nothing is known.
func Answer(o *spool.Outcome) string {
	if o.Code != 0 {
		return replyText(o)
	}
	return causeText(o)
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

// isMessageID says whether an identifier can stand in a header of ours.
func isMessageID(s string) bool {
	_, err := mail.ParseAddress(s)
	return err == nil && len(s) <= 250 && wire.IsMessageID(s)
}

// Boundary is one that the returned content does not hold.
func Boundary(returned []byte) string {
	for {
		var b [15]byte
		rand.Read(b[:])
		if s := "=_" + hex.EncodeToString(b[:]); !bytes.Contains(returned, []byte(s)) {
			return s
		}
	}
}

const (
	// maxHeader bounds the header that a notice returns, in bytes.
	maxHeader = 32 << 10
	// maxReturned bounds the content that a notice returns where RET=FULL asks
	// for it, in bytes; of a longer one the header has to do (RFC 3461 §6.2).
	maxReturned = 64 << 10
)

// Excerpt reads from content, of size bytes, what a notice returns of a
// message: the content where a failure asks for it by RET=FULL and it is small
// and clean enough to be enclosed as it is, else the header. What can't be read
// is left out, and the error told beside the rest.
func Excerpt(kind Action, env *spool.Envelope, content io.ReaderAt, size int64) (text []byte, full bool, err error) {
	want := int64(maxHeader)
	// RFC 3461 §4.3: RET applies to failures alone. RFC 8689 §5: what was to
	// travel by TLS only is not sent back by whatever way a notification takes.
	ask := kind == Failed && env.Return == "FULL" && !env.RequireTLS && size <= maxReturned
	if ask {
		want = maxReturned
	}
	text = make([]byte, min(want, size))
	n, err := content.ReadAt(text, 0)
	if err == io.EOF {
		err = nil
	}
	text = text[:n]
	if ask && int64(n) == size && wire.SevenBit(text) {
		return text, true, err
	}
	return header(text), false, err
}

// header is text up to the empty line; an incomplete last line is dropped.
func header(text []byte) []byte {
	if i := bytes.Index(text, []byte("\r\n\r\n")); i >= 0 {
		return text[:i+2]
	}
	return text[:bytes.LastIndexByte(text, '\n')+1]
}
