package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	netmail "net/mail"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"postern/config/wire"
	"postern/relay/submission"
	"postern/spool"
)

// envelope is who sends to whom. Addresses are in wire form.
type envelope struct {
	from  string
	to    []string
	utf8  bool // RFC 6531
	key   key
	after time.Time // nothing is sent before; zero: at once
	// What only a finished message can say.
	name, ret, id, remark string
	notify                spool.Notify
}

// messages is POST /v1/messages: a finished message, or a form.
func (r *request) messages(w http.ResponseWriter) *failure {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == mediaForm {
		return r.messageForm(w)
	}
	q, f := parseQuery(r.URL.RawQuery)
	if f != nil {
		return f
	}
	k, f := r.key(nil)
	if f != nil {
		return f
	}
	k.loose = true // it streams by, and is compared with nothing but other kinds
	id, f := r.rawFrom(r.body, q, k)
	if f != nil {
		return f
	}
	r.body.leave(w) // of a message that was taken before
	write(w, http.StatusOK, id)
	return nil
}

// messageForm takes a mail whose attachments are files of the form.
func (r *request) messageForm(w http.ResponseWriter) *failure {
	if r.URL.RawQuery != "" {
		return invalid("a form has from and to as fields, not in the query")
	}
	f, fail := r.form()
	if fail != nil {
		return fail
	}
	k, fail := r.formKey(f)
	if fail != nil {
		return fail
	}
	m, fail := f.mail(func(*mail, string, []string) (string, bool) { return "", false })
	if fail != nil {
		return fail
	}
	id, fail := r.send(m, k)
	if fail != nil {
		return fail
	}
	write(w, http.StatusOK, id)
	return nil
}

// accepted is the answer for one message, which is durable.
type accepted struct {
	ID string `json:"id"`
	// Repeated: by its Idempotency-Key, it was accepted before, under this ID.
	Repeated bool `json:"repeated,omitempty"`
}

var none accepted

// rawFrom takes a message as it is read. What the query does not say of the
// envelope is read from the header.
func (r *request) rawFrom(from io.Reader, q query, k key) (accepted, *failure) {
	text := wire.NewCRLF(from)
	var head []byte
	env := envelope{key: k}
	problems := &problems{}
	if !q.hasFrom || len(q.to) == 0 {
		var f *failure
		if head, f = header(text, r.body); f != nil {
			return none, f
		}
		fromHeader(head, q, &env, problems)
	}
	if q.hasFrom {
		env.from = problems.one("from", q.from, &env.utf8)
	}
	for _, list := range q.to {
		env.to = append(env.to, problems.all("to", list, &env.utf8)...)
	}
	q.report(&env, problems)
	if f := problems.failure(); f != nil {
		return none, f
	}
	m, f := r.begin(&env)
	if f != nil {
		return none, f
	}
	defer m.Discard()
	if m.Repeated() {
		return r.commit(m)
	}
	if _, err := m.Write(head); err != nil {
		return none, failureOf(err, submission.AtContent)
	}
	n, err := io.Copy(m, text)
	if err != nil {
		return none, r.cut(err)
	}
	if len(head) == 0 && n == 0 {
		return none, invalid("the message is empty")
	}
	return r.commit(m)
}

// cut is the failure of a message whose content broke off, or was refused.
func (r *request) cut(err error) *failure {
	var refusal *submission.Refusal
	if errors.As(err, &refusal) {
		return failureOf(refusal, submission.AtContent)
	}
	return r.body.broken()
}

// begin begins a message with all of its recipients, or with none.
func (r *request) begin(env *envelope) (*submission.Message, *failure) {
	e := submission.Envelope{From: env.from, Protocol: r.protocol(), SMTPUTF8: env.utf8, Key: env.key.name, Digest: env.key.digest, Loose: env.key.loose,
		Return: env.ret, EnvelopeID: env.id, Name: env.name, Remark: env.remark, NotBefore: env.after}
	m, err := r.server.submission.Begin(r.Context(), &r.client, e)
	if err != nil {
		return nil, failureOf(err, submission.AtSender)
	}
	var refused *failure
	for _, to := range env.to {
		err := m.Add(submission.Recipient{Address: to, Notify: env.notify})
		if err == nil {
			continue
		}
		f := failureOf(err, submission.AtRecipient)
		switch {
		case refused == nil:
			refused = f
		case f.text != refused.text:
			all := *refused
			all.text += "; " + f.text
			refused = &all
		}
		if f.retry > 0 || len(refused.text) > maxText {
			break
		}
	}
	if refused != nil {
		m.Discard()
		return nil, refused
	}
	return m, nil
}

func (r *request) commit(m *submission.Message) (accepted, *failure) {
	id, err := m.Commit(r.Context())
	if err != nil {
		return none, failureOf(err, submission.AtContent)
	}
	return accepted{id.String(), m.Repeated()}, nil
}

// protocol is the with-type of the Received field. None is registered for HTTP
// (RFC 3848); these are in use.
func (r *request) protocol() string {
	if r.client.TLS != nil {
		return "HTTPS"
	}
	return "HTTP"
}

// query is what the query of a request says of the envelope.
type query struct {
	from    string
	hasFrom bool
	to      []string // lists
	// name is that of the sender, for a message without From; notify, ret and
	// envid are those of RFC 3461; remark goes into the log.
	name, notify, ret, envid, remark, scheduledAt string
	after                                         time.Time // what scheduledAt says
}

func parseQuery(raw string) (q query, f *failure) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, invalid("the query is malformed")
	}
	for name, all := range values {
		if name == "to" {
			q.to = all
			continue
		}
		single := q.single(name)
		if single == nil {
			return q, invalid(fmt.Sprintf("unknown field %q in the query: it takes from, to, name, notify, ret, envid, remark and scheduled_at", wire.Line(name)))
		}
		if len(all) > 1 {
			return q, invalid(name + " is given twice")
		}
		*single = all[0]
		q.hasFrom = q.hasFrom || name == "from"
	}
	return q, nil
}

// single is where a field goes that may stand in the query once; nil: there is
// none of that name.
func (q *query) single(name string) *string {
	switch name {
	case "from":
		return &q.from
	case "name":
		return &q.name
	case "notify":
		return &q.notify
	case "ret":
		return &q.ret
	case "envid":
		return &q.envid
	case "remark":
		return &q.remark
	case "scheduled_at":
		return &q.scheduledAt
	}
	return nil
}

// maxName and maxRemark bound what a client may say beside addresses, in bytes.
const (
	maxName   = 200
	maxRemark = 400
)

// report reads what the sender is called, and what it wants to be told.
func (q *query) report(env *envelope, p *problems) {
	ok := true
	if env.name = q.name; len(q.name) > maxName || !utf8.ValidString(q.name) || wire.HasControl(q.name) {
		p.add("name", fmt.Sprintf("is not text of at most %d bytes without control characters", maxName))
	}
	if q.notify != "" {
		if env.notify, ok = submission.ReadNotify(q.notify); !ok {
			p.add("notify", wrongNotify)
		}
	}
	if q.ret != "" {
		if env.ret, ok = submission.ReadReturn(q.ret); !ok {
			p.add("ret", `is neither "full" nor "hdrs"`)
		}
	}
	if q.envid != "" {
		if env.id, ok = submission.ReadEnvelopeID(wire.EncodeXtext(q.envid), false); !ok {
			p.add("envid", "has more than 100 characters as xtext")
		}
	}
	env.remark = wire.Text(q.remark, maxRemark)
	env.after = q.after
	if q.scheduledAt != "" {
		var text string
		if env.after, text = whenOf(q.scheduledAt, time.Now()); text != "" {
			p.add("scheduled_at", text)
		}
	}
}

// fromHeader reads what the query leaves open of the envelope.
func fromHeader(head []byte, q query, env *envelope, p *problems) {
	h := fields(head)
	if !q.hasFrom {
		author := "from"
		if len(h["sender"]) > 0 {
			author = "sender"
		}
		for _, list := range h[author] {
			if all := p.all(author, list, &env.utf8); len(all) > 0 && env.from == "" {
				env.from = all[0]
			}
		}
		if env.from == "" && p.none() {
			p.add("from", "there is none in the query, and no From: in the header")
		}
	}
	if len(q.to) > 0 {
		return
	}
	if len(h["resent-to"])+len(h["resent-cc"])+len(h["resent-bcc"]) > 0 {
		p.add("to", "the message is sent anew (Resent-): name the recipients in the query")
		return
	}
	for _, field := range []string{"to", "cc", "bcc"} {
		for _, list := range h[field] {
			env.to = append(env.to, p.all(field, list, &env.utf8)...)
		}
	}
	if len(env.to) == 0 && p.none() {
		p.add("to", "there is no recipient in the query, and none in the header")
	}
}

// fields are the values of the fields of a header that name somebody, unfolded,
// by their names in lower case.
func fields(head []byte) map[string][]string {
	h := map[string][]string{}
	for len(head) > 0 {
		n := wire.FieldName(head)
		if n == 0 {
			break // the end of the header
		}
		end := 0
		for {
			i := bytes.IndexByte(head[end:], '\n')
			if i < 0 {
				end = len(head)
				break
			}
			if end += i + 1; end == len(head) || !wire.IsContinuation(head[end:]) {
				break
			}
		}
		switch name := strings.ToLower(string(head[:n])); name {
		case "from", "sender", "to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc":
			_, value, _ := bytes.Cut(head[:end], []byte(":"))
			h[name] = append(h[name], strings.TrimSpace(wire.Unfold(value)))
		}
		head = head[end:]
	}
	return h
}

// problems collects what is wrong with a request, to be told at once.
type problems struct {
	list []string
	size int
}

func (p *problems) add(field, text string) {
	if p.size < maxText {
		line := field + ": " + text
		p.list = append(p.list, line)
		p.size += len(line)
	}
}

func (p *problems) none() bool { return len(p.list) == 0 }

func (p *problems) failure() *failure {
	if p.none() {
		return nil
	}
	return invalid(strings.Join(p.list, "; "))
}

// one is a single address, or the null reverse-path.
func (p *problems) one(field, text string, utf8 *bool) string {
	text = strings.TrimSpace(text)
	if text == "" || text == "<>" {
		return ""
	}
	switch all := p.all(field, text, utf8); {
	case len(all) > 1:
		p.add(field, "has more than one address")
	case len(all) == 1:
		return all[0]
	}
	return ""
}

// all are the addresses of a list, in wire form.
func (p *problems) all(field, text string, utf8 *bool) (out []string) {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	if whole := wire.CompleteNames([]byte(text), wire.Nowhere); whole != nil {
		text = string(whole)
	}
	list, err := netmail.ParseAddressList(text)
	if err != nil {
		p.add(field, fmt.Sprintf("%q is not an address", wire.Line(text)))
		return nil
	}
	for _, a := range list {
		address, needs, ok := mailbox(a.Address)
		if !ok {
			p.add(field, fmt.Sprintf("%q is not an address", wire.Line(a.Address)))
			continue
		}
		*utf8 = *utf8 || needs
		out = append(out, address)
	}
	return out
}

// mailbox is an address as net/mail has it, without quotes, in wire form. utf8:
// it needs SMTPUTF8. A domain alone never does.
func mailbox(text string) (address string, utf8, ok bool) {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return "", false, false
	}
	local, domain := text[:at], text[at+1:]
	if domain == wire.Nowhere {
		address = wire.QuoteLocal(local)
		return address, !wire.IsASCII(address), wire.CheckMailbox(address, true) == wire.NoDomain && len(address)+2 <= wire.MaxPath
	}
	if !wire.IsASCII(domain) {
		if domain, ok = wire.CanonicalDomain(domain); !ok {
			return "", false, false
		}
	}
	address = wire.QuoteLocal(local) + "@" + domain
	fault := wire.CheckMailbox(address, true)
	return address, !wire.IsASCII(address), fault == wire.NoFault && len(address)+2 <= wire.MaxPath
}
