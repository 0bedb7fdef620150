package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	netmail "net/mail"
	"strings"
	"time"

	"postern/config/wire"
)

// mailgunField takes what is Mailgun's own in a form. Tags and variables become
// the header fields that Mailgun reads by SMTP.
func mailgunField(m *mail, name string, values []string) (problem string, known bool) {
	option, isOption := strings.CutPrefix(name, "o:")
	variable, isVariable := strings.CutPrefix(name, "v:")
	value := values[0]
	switch {
	case isVariable:
		text, _ := json.Marshal(map[string]string{variable: value})
		m.field("X-Mailgun-Variables", string(text))
	case !isOption:
		return "", false
	case option == "tag":
		for _, v := range values {
			m.field("X-Mailgun-Tag", v)
		}
	case option == "deliverytime":
		at, err := netmail.ParseDate(value)
		switch {
		case err != nil:
			return "is no time of RFC 5322", true
		case len(values) > 1:
			return "is given twice", true
		}
		m.after = at
		return tooLate(at, time.Now()), true
	case value == "no" || value == "false":
		// what is not wanted is not done
	case strings.HasPrefix(option, "tracking"):
		return "this relay tracks nobody", true
	default:
		return "", false
	}
	return "", true
}

// mailgun is POST /v3/{domain}/messages.
func (r *request) mailgun(w http.ResponseWriter) *failure {
	f, fail := r.form()
	if fail != nil {
		return fail
	}
	k, fail := r.formKey(f)
	if fail != nil {
		return fail
	}
	m, fail := f.mail(mailgunField)
	if fail != nil {
		return fail
	}
	return r.mailgunAnswer(w, m, k)
}

func (r *request) mailgunAnswer(w http.ResponseWriter, m *mail, k key) *failure {
	id, f := r.send(m, k)
	if f != nil {
		return f
	}
	r.mailgunOK(w, id)
	return nil
}

func (r *request) mailgunOK(w http.ResponseWriter, id accepted) {
	write(w, http.StatusOK, map[string]string{"id": "<" + id.ID + "@" + r.settings.hostname + ">", "message": "Queued. Thank you."})
}

// mailgunMIME is POST /v3/{domain}/messages.mime: a finished message and its
// recipients.
func (r *request) mailgunMIME(w http.ResponseWriter) *failure {
	f, fail := r.form()
	if fail != nil {
		return fail
	}
	k, fail := r.formKey(f)
	if fail != nil {
		return fail
	}
	q := query{}
	var content [][]byte
	for _, one := range f.files {
		if one.field != "message" {
			return invalid(wire.Line(one.field) + ": unknown field")
		}
		content = append(content, one.data)
	}
	for name, values := range f.fields {
		switch {
		case name == "to":
			q.to = values
		case name == "message":
			content = append(content, []byte(values[0]))
		case name == "from" && len(values) == 1:
			q.from, q.hasFrom = values[0], true
		case name == "o:deliverytime" && len(values) == 1:
			at, err := netmail.ParseDate(values[0])
			if err != nil || tooLate(at, time.Now()) != "" {
				return invalid("o:deliverytime: is no time of RFC 5322 within 30 days")
			}
			q.after = at
		case strings.HasPrefix(name, "o:") && (values[0] == "no" || values[0] == "false"):
		default:
			return invalid(wire.Line(name) + ": unknown field")
		}
	}
	if len(content) != 1 {
		return invalid("message: there has to be one")
	}
	id, fail := r.rawFrom(bytes.NewReader(content[0]), q, k)
	if fail != nil {
		return fail
	}
	r.mailgunOK(w, id)
	return nil
}
