package merge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"postern/config/wire"
	"postern/relay/compose"
)

// Message is one message of a plan.
type Message struct {
	N    int // from 1
	Row  int // its first row, from 1; 0: there are no rows
	Mail *compose.Composed
	From string
	To   []string // the recipients of the envelope
	UTF8 bool     // it needs SMTPUTF8
	DSN  []string // as in the Step
	Key  string   // empty: none
	Save string   // where a copy goes, below the folder of Plan.SaveFolder; empty: nowhere

	Source *compose.Message // what Mail was made from
	keys   []string         // of the attachments: "attach[0]"
}

// Renderer makes messages. It is for one goroutine at a time.
type Renderer struct {
	plan  *Plan
	bound map[*field]executable

	// of the template that is filled in
	mode   mode
	ticks  int
	work   int               // of its functions, see maxWork
	listed []compose.Address // by {{addresses}}
	out    output

	// of the message
	group    *Group
	problems []Problem
	failed   bool // a problem that is the same for every row
	embeds   []compose.Part
	marked   int              // bytes of Markdown so far
	memory   func(int64) bool // see Folder.Memory
	starved  bool             // it said no
}

func newRenderer(p *Plan) *Renderer {
	r := &Renderer{plan: p, bound: make(map[*field]executable, len(p.fields))}
	funcs := r.functions()
	for _, f := range p.fields {
		t, err := f.bind(funcs)
		if err != nil { // Prepare has executed none of them, so that each can be cloned
			panic("merge: " + err.Error())
		}
		r.bound[f] = t
	}
	return r
}

// at adds where the message comes from.
func (r *Renderer) at(p Problem) Problem {
	s := r.plan.step
	flag := s.flagOf(p.Field)
	switch {
	case r.group.Row > 0:
		p.File, p.Row, p.rows = r.plan.table.name, r.group.Row, true
	case flag == "" && p.File == "" && s.Path != "":
		p.File, p.Line = s.Path, s.line(p.Field)
	}
	if flag != "" {
		p.Field = flag
	}
	return p
}

// wrong records a problem of the message.
func (r *Renderer) wrong(key, text, hint string) {
	r.problems = append(r.problems, r.at(Problem{Field: key, Text: text, Hint: hint}))
}

// clean refuses what would end a line of a header, or hide in it.
func (r *Renderer) clean(key, value string) bool {
	switch {
	case strings.ContainsAny(value, "\r\n"):
		r.wrong(key, "holds a line break: "+quoted(value), "")
	case strings.ContainsRune(value, 0):
		r.wrong(key, "holds a NUL: "+quoted(value), "")
	default:
		return true
	}
	return false
}

// line is a field that has to stay on one line.
func (r *Renderer) line(f *field, data map[string]any) (string, bool) {
	if f == nil {
		return "", true
	}
	s, err := r.fill(f, data)
	if err != nil {
		r.wrong(f.key, err.Error(), "")
		return "", false
	}
	return s, r.clean(f.key, s)
}

// body is a field of any length.
func (r *Renderer) body(f *field, data map[string]any) string {
	if f == nil {
		return ""
	}
	s, err := r.fill(f, data)
	if err != nil {
		key := f.key
		if f.file != "" {
			key = f.file
		}
		r.wrong(key, err.Error(), "")
	}
	return s
}

// Render makes the message of some rows. It is nil where anything is wrong,
// which the problems tell.
func (r *Renderer) Render(ctx context.Context, g *Group) (*Message, []Problem) {
	p := r.plan
	m := r.render(ctx, g)
	if m == nil {
		return nil, r.problems
	}
	composed, err := m.Source.Compose()
	if err != nil {
		r.refused(m, err)
		return nil, r.problems
	}
	m.Mail = composed
	m.From, m.To, m.UTF8 = composed.Envelope()
	if size := composed.Size(); p.options.MaxSize > 0 && size > p.options.MaxSize {
		// Not at: it is about the message, not about what the row holds.
		return nil, []Problem{{Row: g.Row, Text: fmt.Sprintf("the message has %s, the relay takes %s", mib(size), mib(p.options.MaxSize))}}
	}
	return m, nil
}

// render fills in everything, and composes nothing. It is nil where anything is
// wrong.
func (r *Renderer) render(ctx context.Context, g *Group) *Message {
	p := r.plan
	r.group, r.problems, r.failed, r.embeds = g, nil, false, nil
	data := p.data(g)
	m := &Message{N: g.N, Row: g.Row, DSN: p.step.DSN}
	mail := &compose.Message{Date: p.now, Domain: p.options.Domain, NoMessageID: p.options.RelayAdds && p.save == nil}
	m.Source = mail
	r.envelope(ctx, mail, data)
	mail.Subject, _ = r.line(p.subject, data)
	r.bodies(mail, data)
	r.fields(mail, data)
	r.attach(m, data)
	m.Key, _ = r.line(p.key, data)
	m.Save = r.savedAs(data)
	r.checkKey(m)
	if len(r.problems) > 0 || r.failed {
		return nil
	}
	return m
}

// mib is a size as people say it.
func mib(n int64) string {
	if n < 10<<20 {
		return fmt.Sprintf("%d KiB", (n+1023)>>10)
	}
	return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20)
}

// data is what templates see.
func (p *Plan) data(g *Group) map[string]any {
	data := map[string]any{}
	row := Row{}
	if len(g.Rows) > 0 {
		row = g.Rows[0]
		shared(data, g.Rows)
	}
	rows := g.Rows
	if rows == nil {
		rows = []Row{}
	}
	vars := p.step.Vars
	if vars == nil {
		vars = map[string]string{}
	}
	data["row"], data["rows"], data["var"], data["n"], data["now"], data["run"] = row, rows, vars, g.N, p.now, p.options.Run
	return data
}

// shared puts the columns on top that have one value in all rows.
func shared(data map[string]any, rows []Row) {
columns:
	for name, value := range rows[0] {
		if len(rows) > 1 {
			text := Cell(value)
			for _, other := range rows[1:] {
				if Cell(other[name]) != text {
					continue columns
				}
			}
		}
		data[name] = value
	}
}

// envelope fills in who writes to whom.
func (r *Renderer) envelope(ctx context.Context, mail *compose.Message, data map[string]any) {
	p := r.plan
	before := len(r.problems)
	from := r.people(ctx, &p.from, data)
	switch {
	case len(from) == 1:
		mail.From = from[0]
	case p.step.ForOthers && len(from) == 0:
	case len(r.problems) == before && !r.failed:
		r.wrong("from", fmt.Sprintf("is %s, and has to be one", addressCount(len(from))), "")
	}
	before = len(r.problems)
	mail.To, mail.Cc, mail.Bcc = r.people(ctx, &p.to, data), r.people(ctx, &p.cc, data), r.people(ctx, &p.bcc, data)
	mail.ReplyTo = r.people(ctx, &p.replyTo, data)
	if len(mail.To)+len(mail.Cc)+len(mail.Bcc) == 0 && len(r.problems) == before && !r.failed && !p.step.ForOthers {
		r.wrong("to", "is empty", "")
	}
	if p.redirect != nil {
		var were []string
		for _, a := range append(append(append([]compose.Address{}, mail.To...), mail.Cc...), mail.Bcc...) {
			were = append(were, a.Addr)
		}
		mail.Header = append(mail.Header, compose.Field{Name: "X-Postern-Original-To", Value: strings.Join(were, ", ")})
		mail.To, mail.Cc, mail.Bcc = []compose.Address{*p.redirect}, nil, nil
	}
}

func addressCount(n int) string {
	if n == 0 {
		return "empty"
	}
	return fmt.Sprintf("%d addresses", n)
}

// bodies fills in text, HTML and calendar.
func (r *Renderer) bodies(mail *compose.Message, data map[string]any) {
	p := r.plan
	mail.Text = r.body(p.text, data)
	inlined := false
	if p.html != nil && p.html.fast != nil {
		s, err := r.fill(p.html.fast, data)
		mail.HTML, inlined = s, err == nil
	}
	if !inlined { // with the line of the template in what is wrong
		mail.HTML = r.body(p.html, data)
	}
	mail.NoText = p.text != nil && mail.Text == ""
	var err error
	if p.markdown != nil {
		if mail.HTML, err = r.toHTML(r.body(p.markdown, data)); err != nil {
			r.wrong("markdown", err.Error(), "")
		}
	}
	if p.step.InlineCSS && !inlined {
		if mail.HTML, err = r.inline(mail.HTML); err != nil {
			r.wrong("html", "the style sheet: "+wire.Text(err.Error(), 200), "inline_css = false leaves it as it is")
		}
	}
	if p.ics != nil {
		mail.Calendar = []byte(r.body(p.ics, data))
	}
}

// fields fills in the header.
func (r *Renderer) fields(mail *compose.Message, data map[string]any) {
	for _, h := range r.plan.headers {
		value, _ := r.line(h.value, data)
		mail.Header = append(mail.Header, compose.Field{Name: h.name, Value: value})
	}
	switch r.plan.step.Priority {
	case "high":
		mail.Importance = compose.High
	case "low":
		mail.Importance = compose.Low
	}
}

// maxKey is the length of an idempotency key, in bytes.
const maxKey = 256

// checkKey holds the key to what the relay remembers. A copy that goes
// elsewhere must not count as the message itself.
func (r *Renderer) checkKey(m *Message) {
	p := r.plan
	if p.key == nil {
		return
	}
	if p.redirect != nil {
		m.Key = "to " + p.redirect.Addr + ": " + m.Key
	}
	switch {
	case strings.TrimSpace(m.Key) == "":
		r.wrong("key", "is empty", "")
	case len(m.Key) > maxKey:
		r.wrong("key", fmt.Sprintf("has %d bytes, %d are the most: %s", len(m.Key), maxKey, quoted(m.Key)), "")
	case !wire.IsASCII(m.Key) || strings.ContainsFunc(m.Key, func(c rune) bool { return !wire.Visible(c) }):
		r.wrong("key", "holds more than visible ASCII: "+quoted(m.Key), "")
	}
}

// refused puts what compose found into words of the step.
func (r *Renderer) refused(m *Message, err error) {
	var list compose.Problems
	if !errors.As(err, &list) {
		r.wrong("", err.Error(), "")
		return
	}
	for _, one := range list {
		key := one.Field
		var i int
		if n, _ := fmt.Sscanf(key, "attach[%d]", &i); n == 1 && i < len(m.keys) {
			_, rest, _ := strings.Cut(key, "]")
			key = m.keys[i] + rest
		}
		r.wrong(key, one.Text, "")
	}
}

// WriteTo writes the message.
func (m *Message) WriteTo(w io.Writer) (int64, error) { return m.Mail.WriteTo(w) }
