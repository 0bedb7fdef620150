package api

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"mime"
	"mime/multipart"

	"maps"
	"postern/config/wire"
	"postern/relay/compose"
	"postern/relay/submission"
	"slices"
	"strings"
	"time"
)

// form is a multipart/form-data body, held in memory.
type form struct {
	fields map[string][]string
	files  []file
	digest hash.Hash // tells one form from another, whose boundaries may differ
}

type file struct {
	field, name, kind, id string
	data                  []byte
}

// maxParts bounds the parts of a form.
const maxParts = 1000

// form reads a form. Its files are held, so they count as JSON does, but once.
func (r *request) form() (*form, *failure) {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || params["boundary"] == "" {
		return nil, invalid("the form has no boundary")
	}
	out := &form{fields: map[string][]string{}, digest: sha256.New()}
	reader := multipart.NewReader(r.body, params["boundary"])
	left := r.limits.cfg.MaxMessageSize
	for n := 0; ; n++ {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			return out, nil
		}
		switch {
		case err != nil && r.body.err != nil:
			return nil, r.body.broken()
		case err != nil:
			return nil, invalid("the form is broken: " + wire.Line(err.Error()))
		case n >= maxParts:
			return nil, invalid("the form has more than 1,000 parts")
		}
		if how := part.Header.Get("Content-Transfer-Encoding"); how != "" && !slices.Contains([]string{"7bit", "8bit", "binary"}, strings.ToLower(how)) {
			return nil, invalid(wire.Line(part.FormName()) + ": a part of a form has no Content-Transfer-Encoding (RFC 7578 §4.7)")
		}
		data, f := r.part(part, &left)
		if f != nil {
			return nil, f
		}
		one := file{part.FormName(), part.FileName(), part.Header.Get("Content-Type"), part.Header.Get("Content-Id"), data}
		fmt.Fprintf(out.digest, "%q %q %q %q %d\n", one.field, one.name, one.kind, one.id, len(data))
		out.digest.Write(data)
		if one.name != "" || one.kind == mediaMail {
			out.files = append(out.files, one)
		} else {
			out.fields[one.field] = append(out.fields[one.field], string(data))
		}
	}
}

// part reads one part of a form, of which left bytes may still come.
func (r *request) part(from io.Reader, left *int64) ([]byte, *failure) {
	buf := make([]byte, 0, 512)
	for {
		if len(buf) == cap(buf) {
			size := 2 * int64(cap(buf))
			if !r.hold(size) {
				return nil, noMemory
			}
			grown := make([]byte, len(buf), size)
			copy(grown, buf)
			buf = grown
		}
		n, err := from.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if *left -= int64(n); *left < 0 {
			return nil, r.tooLarge()
		}
		switch {
		case err == io.EOF:
			return buf, nil
		case err != nil && r.body.err != nil:
			return nil, r.body.broken()
		case err != nil:
			return nil, invalid("the form is broken: " + wire.Line(err.Error()))
		}
	}
}

// tooLarge is the failure of a message that is larger than its listener takes.
func (r *request) tooLarge() *failure {
	return failureOf(submission.TooLarge(0, r.limits.cfg.MaxMessageSize), submission.AtContent)
}

// mail is what a form asks for, in the names of the JSON: from, to, cc, bcc,
// reply_to, subject, text, html, scheduled_at and notify, and h:NAME for a field of the header. Files
// are attached, those of the field "inline" are embedded under their names.
// more takes any other field, and says what is wrong with it.
func (f *form) mail(more func(m *mail, name string, values []string) (problem string, known bool)) (*mail, *failure) {
	m := &mail{}
	single := map[string]*string{"from": &m.from, "subject": &m.subject, "text": &m.text, "html": &m.html}
	lists := map[string]*[]string{"to": &m.to, "cc": &m.cc, "bcc": &m.bcc, "reply_to": &m.replyTo}
	var wrong compose.Problems
	for _, name := range slices.Sorted(maps.Keys(f.fields)) {
		values := f.fields[name]
		header, isHeader := strings.CutPrefix(name, "h:")
		text, known := "", true
		switch {
		case single[name] != nil:
			if *single[name] = values[0]; len(values) > 1 {
				text = "is given twice"
			}
		case lists[name] != nil:
			*lists[name] = values
		case isHeader && strings.EqualFold(header, "Reply-To"):
			m.replyTo = append(m.replyTo, values...)
		case isHeader:
			for _, v := range values {
				m.field(header, v)
			}
		case name == "scheduled_at":
			if m.after, text = whenOf(values[0], time.Now()); len(values) > 1 {
				text = "is given twice"
			}
		case name == "notify":
			m.notify, text = notifyOf(values)
		default:
			text, known = more(m, name, values)
		}
		if !known {
			text = "unknown field"
		}
		if text != "" {
			wrong = append(wrong, compose.Problem{Field: wire.Line(name), Text: text})
		}
	}
	for _, one := range f.files {
		a := attachment{one.name, one.kind, strings.Trim(one.id, "<>"), one.data}
		if one.field == "inline" {
			if a.id == "" {
				a.id = a.name
			}
			m.embedded = append(m.embedded, a)
		} else {
			m.attachments = append(m.attachments, a)
		}
	}
	if len(wrong) > 0 {
		return nil, fault(wrong, "")
	}
	return m, nil
}

// key reads Idempotency-Key of a form.
func (r *request) formKey(f *form) (key, *failure) { return r.key(f.digest.Sum(nil)) }
