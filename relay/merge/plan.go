package merge

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/relay/compose"
)

// What [rows] per says beside a column.
const (
	PerRow = "row"
	PerAll = "all"
)

// Options are what a Step does not say.
type Options struct {
	Stdin     io.Reader       // for rows.file = "-"; may be nil
	Now       time.Time       // {{.now}}; zero: now
	Run       string          // {{.run}}: one name for everything of this run
	Book      Book            // nil: NoBook
	Domain    string          // of Message-IDs; empty: that of From
	RelayAdds bool            // the relay adds a Message-ID, so that none is made where no copy is kept
	Redirect  string          // every message goes to this address alone; empty: where it belongs
	MaxSize   int64           // bytes of a message that the relay takes; 0: not known
	Limit     int             // messages; 0: all
	KeepGoing bool            // what is wrong with a row is no reason to refuse the others
	Warn      func(w Problem) // what is doubtful; may be nil
}

// Plan is a step with its templates parsed and its rows read. Its methods may
// be called one after the other; Close removes what it holds.
type Plan struct {
	step     *Step
	options  Options
	now      time.Time
	table    *table // nil: no rows
	locale   *locale
	resolver *resolver
	shared   *compose.Shared
	fields   []*field
	redirect *compose.Address

	from, to, cc, bcc, replyTo addressField
	subject, save, key         *field
	text, html, markdown, ics  *field
	headers                    []headerField
	attached                   []attachment
	embedded                   []embedding

	first, next []int32         // with per a column: the first row of each message, and the next row of the same
	bad         map[int]string  // messages that can't be sent, by their number
	mistaken    map[string]bool // columns that templates may mean by what is something else
	wrong       Problems        // rows that can't be used, told with what Check finds

	mu       sync.Mutex
	constant Problems // of what is the same for every row
	told     map[string]bool
	spares   []*Renderer
}

type headerField struct {
	name  string
	value *field
}

// Prepare parses the templates of a step and reads its rows. The error is a
// *Problems.
func Prepare(ctx context.Context, step *Step, o Options) (*Plan, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.Book == nil {
		o.Book = NoBook{}
	}
	if o.Warn == nil {
		o.Warn = func(Problem) {}
	}
	p := &Plan{step: step, options: o, now: o.Now, told: map[string]bool{}, bad: map[int]string{}, mistaken: map[string]bool{}}
	p.resolver = &resolver{book: o.Book, known: map[string]resolved{}}
	p.shared = compose.NewShared(0)
	found := &Problems{}
	step.check(found)
	p.prepareLocale(found)
	p.prepareRedirect(found)
	p.compile(found)
	if found.Total > 0 {
		return nil, found.none()
	}
	if step.Rows.Given() {
		t, err := step.readRows(ctx, &o, found, o.Warn)
		if err != nil {
			return nil, err
		}
		p.table = t
		p.checkRows(found)
	}
	if err := p.refuse(found); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// refuse is the error for what was found in rows; those that are wrong are
// left out where the run keeps going. Where it doesn't, and there are rows to
// look at, Check tells of them, so that everything is told at once.
func (p *Plan) refuse(found *Problems) error {
	if !p.options.KeepGoing {
		ofRows := func(one Problem) bool { return one.Kind == Data && (one.Row > 0 || one.rows) }
		if p.table == nil || p.Messages() == 0 || slices.ContainsFunc(found.List, func(one Problem) bool { return one.all }) || slices.ContainsFunc(found.List, func(one Problem) bool { return !ofRows(one) }) {
			return found.none()
		}
		p.wrong = *found
		return nil
	}
	fatal := Problems{}
	if p.table != nil && len(p.table.bad) > maxBad {
		fatal.add(Problem{File: p.table.name, Text: fmt.Sprintf("more than %d rows are wrong", maxBad), rows: true})
	}
	for _, one := range found.List {
		if one.Row == 0 && !one.rows || one.all {
			fatal.add(one)
			continue
		}
		p.options.Warn(one)
	}
	return fatal.none()
}

// Close removes the file of the rows.
func (p *Plan) Close() {
	if p.table != nil {
		p.table.close()
	}
}

func (p *Plan) prepareLocale(found *Problems) {
	l, err := newLocale(p.step.Locale)
	if err != nil {
		found.add(p.step.problem("locale", err.Error(), ""))
		l, _ = newLocale("en")
	}
	p.locale = l
}

func (p *Plan) prepareRedirect(found *Problems) {
	if p.options.Redirect == "" {
		return
	}
	a, err := compose.ParseAddress(p.options.Redirect)
	if err != nil || !strings.Contains(a.Addr, "@") {
		found.add(Problem{Field: "--redirect", Text: quoted(p.options.Redirect) + " is not an address"})
		return
	}
	p.redirect = &a
}

// compile parses every template.
func (p *Plan) compile(found *Problems) {
	s := p.step
	c := &compiler{step: s, funcs: (&Renderer{plan: p}).functions(), found: found, mistaken: p.mistaken}
	if s.From != "" {
		p.from = c.addresses("from", []string{s.From})
	}
	p.to, p.cc, p.bcc = c.addresses("to", s.To), c.addresses("cc", s.Cc), c.addresses("bcc", s.Bcc)
	p.replyTo = c.addresses("reply_to", s.ReplyTo)
	p.subject = c.compile("subject", s.Subject, asText, maxField)
	p.text = c.content("text", s.Text, asText)
	p.html = c.content("html", s.HTML, asHTML)
	p.markdown = c.content("markdown", s.Markdown, asMarkdown)
	if p.markdown != nil && s.Text.none() {
		p.text = c.content("markdown", s.Markdown, asText)
	}
	p.ics = c.content("calendar", s.Calendar, asCalendar)
	for _, h := range s.Headers {
		p.headers = append(p.headers, headerField{h.Name, c.compile("headers."+h.Name, h.Value, asText, maxField)})
	}
	if s.Save != "" {
		p.save = c.compile("save", s.Save, asText, maxField)
	}
	if s.Key != "" {
		p.key = c.compile("key", s.Key, asText, maxField)
	}
	for i := range s.Attach {
		p.attached = append(p.attached, c.attachment(p, index("attach", i), &s.Attach[i]))
	}
	for i := range s.Embed {
		p.embedded = append(p.embedded, c.embedding(p, index("embed", i), &s.Embed[i]))
	}
	p.fields = c.fields
}

// content compiles a body; nil: there is none.
func (c *compiler) content(key string, of Content, m mode) *field {
	f := &field{key: key, mode: m, limit: maxBody}
	switch {
	case of.none():
		return nil
	case of.Literal:
		f.text = of.Text
		return f
	case of.Set:
		return c.inline(c.parse(f, of.Text), of.Text)
	}
	text, err := c.step.read(of.File)
	if err != nil {
		p := c.step.problem(key+"_file", of.File+": "+Reason(err), "")
		p.Kind = NoInput
		c.found.add(p)
		return nil
	}
	f.file = of.File
	return c.inline(c.parse(f, text), text)
}

// inline adds the form of a template that has its style sheet inlined.
func (c *compiler) inline(f *field, source string) *field {
	if f == nil || f.mode != asHTML || !c.step.InlineCSS {
		return f
	}
	if done, ok := inlined(source, c.step.ForOthers); ok {
		was := c.found.Total
		f.fast = c.parse(&field{key: f.key, file: f.file, mode: f.mode, limit: f.limit}, done)
		if c.found.Total > was { // what was HTML is none for the templates any more
			c.found.Total, c.found.List = was, c.found.List[:was]
			f.fast = nil
		}
	}
	return f
}

// checkRows looks for the columns that the step needs, and at each row for
// what it requires; it finds the rows of each message.
func (p *Plan) checkRows(found *Problems) {
	t, rows := p.table, &p.step.Rows
	for i, name := range rows.Require {
		if _, ok := t.at[name]; !ok && t.n > 0 {
			found.add(p.step.problem(index("rows.require", i), "no column "+quoted(name)+" in "+t.name, near(name, t.columns)))
			return
		}
	}
	if _, ok := t.at[rows.Per]; p.grouped() && !ok && t.n > 0 {
		found.add(p.step.problem("rows.per", "no column "+quoted(rows.Per)+" in "+t.name, near(rows.Per, append([]string{PerRow, PerAll}, t.columns...))))
		return
	}
	for _, name := range t.columns {
		if slices.Contains(reserved, name) && p.mistaken[name] {
			p.options.Warn(Problem{File: t.name, Text: fmt.Sprintf("column %s is reached by {{index .row %q}} only: {{.%s}} is something else", quoted(name), name, name), rows: true})
		}
	}
	groups := map[[16]byte]int32{}
	var last []int32
	err := t.all(func(i int, row Row) bool {
		for _, name := range rows.Require {
			if strings.TrimSpace(Cell(row[name])) == "" && !t.isUnsound(i) {
				p.rowWrong(found, Problem{File: t.name, Row: i + 1, Field: name, Text: "is empty, and rows.require names it", rows: true})
			}
		}
		if !p.grouped() {
			return true
		}
		value := Cell(row[rows.Per])
		if strings.TrimSpace(value) == "" && !t.isUnsound(i) {
			p.rowWrong(found, Problem{File: t.name, Row: i + 1, Field: rows.Per, Text: "is empty, and rows.per makes a message for each value", rows: true})
		}
		sum := sha256.Sum256([]byte(value))
		g, ok := groups[[16]byte(sum[:16])]
		p.next = append(p.next, -1)
		if ok {
			p.next[last[g]], last[g] = int32(i), int32(i)
			return true
		}
		groups[[16]byte(sum[:16])] = int32(len(p.first))
		p.first, last = append(p.first, int32(i)), append(last, int32(i))
		return true
	})
	if err != nil {
		found.add(Problem{Kind: NoInput, File: t.name, Text: err.Error()})
	}
}

// reserved are what templates call something else than a column.
var reserved = []string{"row", "rows", "var", "n", "now", "run"}

// rowWrong records what is wrong with a row, by the number of the row.
func (p *Plan) rowWrong(found *Problems, one Problem) {
	found.add(one)
	p.table.wrong(one.Row-1, one.brief())
}

// grouped reports whether a column decides which rows make a message.
func (p *Plan) grouped() bool {
	return p.step.Rows.Per != "" && p.step.Rows.Per != PerRow && p.step.Rows.Per != PerAll
}

// Columns are those of the rows, in their order; nil: there are no rows.
func (p *Plan) Columns() []string {
	if p.table == nil {
		return nil
	}
	return p.table.columns
}

// Rows is how many rows there are, and where they come from.
func (p *Plan) Rows() (n int, from string) {
	if p.table == nil {
		return 0, ""
	}
	return p.table.n, p.table.name
}

// Messages is how many there will be, those left out with KeepGoing included.
func (p *Plan) Messages() int {
	n := 1
	switch {
	case p.table == nil:
	case p.table.n == 0:
		if p.step.Rows.Empty != EmptySend {
			n = 0
		}
	case p.grouped():
		n = len(p.first)
	case p.step.Rows.Per != PerAll:
		n = p.table.n
	}
	if p.options.Limit > 0 {
		n = min(n, p.options.Limit)
	}
	return n
}

// once records a problem that is the same for every row.
func (p *Plan) once(one Problem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if text := one.String(); !p.told[text] {
		p.told[text] = true
		p.constant.add(one)
	}
}
