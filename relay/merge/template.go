package merge

import (
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/template"
	"text/template/parse"
)

const (
	// maxField and maxBody bound what a template may write, in bytes; maxTicks
	// how many rounds its loops and calls may make.
	maxField = 64 << 10
	maxBody  = 16 << 20
	maxTicks = 1 << 20
)

// mode is what a template writes, which decides how values are made harmless.
type mode int

const (
	asText mode = iota
	asHTML
	asMarkdown // a value is escaped, so that it is text in HTML
	asCalendar // a value is escaped by RFC 5545 §3.3.11
)

// field is a template of the step, or the text of one that has no actions.
type field struct {
	key   string // as a problem names it
	file  string // where the template stands; empty: in the message file
	limit int
	mode  mode

	source string
	text   string // without tree
	plain  *template.Template
	html   *htmltemplate.Template
	fast   *field // html, in which the style sheet is inlined already; nil: it cannot be
}

func (f *field) constant() bool { return f.plain == nil && f.html == nil }

// compiler parses the templates of a step.
type compiler struct {
	step   *Step
	funcs  template.FuncMap // names only: see Renderer
	found  *Problems
	fields []*field

	mistaken map[string]bool
}

// ambiguous are names that stand for something else than a column, where they
// are used as the value of one would be.
var ambiguous = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`[\s({|]\$?\.(n|now|run)\b|\{\{-?\s*\$?\.(row|rows|var)\s*[|}-]`)
})

// compile parses one template. It is nil where it is wrong, which is recorded.
func (c *compiler) compile(key, source string, m mode, limit int) *field {
	return c.parse(&field{key: key, mode: m, limit: limit}, source)
}

func (c *compiler) parse(f *field, source string) *field {
	if !strings.Contains(source, "{{") {
		f.text = source
		return f
	}
	for _, m := range ambiguous().FindAllStringSubmatch(source, -1) {
		c.mistaken[m[1]+m[2]] = true
	}
	f.source = source
	var err error
	if f.mode == asHTML {
		f.html, err = htmltemplate.New(f.key).Option("missingkey=error").Funcs(c.funcs).Parse(source)
		if err == nil {
			for _, t := range f.html.Templates() {
				bound(t.Tree)
			}
			err = c.escapes(f)
		}
	} else {
		f.plain, err = template.New(f.key).Option("missingkey=error").Funcs(c.funcs).Parse(source)
		if err == nil {
			for _, t := range f.plain.Templates() {
				bound(t.Tree)
				if f.mode != asText {
					escapeValues(t.Root)
				}
			}
		}
	}
	if err != nil {
		p := c.step.problem(f.key, templateFault(err), "")
		if c.step.quiet {
			p.Text = "is no template that can be used"
		}
		if f.file != "" {
			p.File, p.Line, p.Field = f.file, templateLine(err), ""
		}
		c.found.add(p)
		return nil
	}
	c.fields = append(c.fields, f)
	return f
}

// escapes finds out whether html/template can escape the template, which it
// tells at the first use only.
func (c *compiler) escapes(f *field) error {
	copied, err := f.html.Clone()
	if err != nil {
		return err
	}
	var escape *htmltemplate.Error
	if err := copied.Execute(io.Discard, nil); errors.As(err, &escape) {
		return escape
	}
	return nil
}

var templateAt = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:html/)?template: ?[^:]*:(\d+)(?::\d+)?: `)
})

// templateFault is an error of the template packages without what the name of
// the field tells.
func templateFault(err error) string {
	return templateAt().ReplaceAllString(err.Error(), "")
}

func templateLine(err error) int {
	n := 0
	if m := templateAt().FindStringSubmatch(err.Error()); m != nil {
		fmt.Sscan(m[1], &n)
	}
	return n
}

// ticking and escaping are nodes that are put into every tree: "{{if tick}}"
// where a loop goes round, and "| escape" behind a value.
var ticking, escaping = func() (*parse.IfNode, *parse.CommandNode) {
	names := template.FuncMap{"tick": func() bool { return false }, "escape": func() string { return "" }}
	t := template.Must(template.New("").Funcs(names).Parse("{{if tick}}{{end}}{{0 | escape}}"))
	action := t.Root.Nodes[1].(*parse.ActionNode)
	return t.Root.Nodes[0].(*parse.IfNode), action.Pipe.Cmds[1]
}()

// bound makes loops and calls of templates count their rounds.
func bound(t *parse.Tree) {
	if t == nil || t.Root == nil {
		return
	}
	walk(t.Root, func(l *parse.ListNode) { l.Nodes = append([]parse.Node{ticking.Copy()}, l.Nodes...) }, nil)
	t.Root.Nodes = append([]parse.Node{ticking.Copy()}, t.Root.Nodes...)
}

// escapeValues makes every value that is written pass through escape.
func escapeValues(l *parse.ListNode) {
	walk(l, nil, func(a *parse.ActionNode) {
		if len(a.Pipe.Decl) == 0 {
			a.Pipe.Cmds = append(a.Pipe.Cmds, escaping.Copy().(*parse.CommandNode))
		}
	})
}

// walk calls loop with the body of each {{range}}, and action with each value.
func walk(l *parse.ListNode, loop func(*parse.ListNode), action func(*parse.ActionNode)) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			if action != nil {
				action(n)
			}
		case *parse.IfNode:
			walk(n.List, loop, action)
			walk(n.ElseList, loop, action)
		case *parse.WithNode:
			walk(n.List, loop, action)
			walk(n.ElseList, loop, action)
		case *parse.RangeNode:
			walk(n.List, loop, action)
			walk(n.ElseList, loop, action)
			if loop != nil {
				loop(n.List)
			}
		}
	}
}

// executable is a template with the functions of one Renderer.
type executable interface {
	Execute(w io.Writer, data any) error
}

// bind is the template for one Renderer.
func (f *field) bind(funcs template.FuncMap) (executable, error) {
	if f.html != nil {
		t, err := f.html.Clone()
		if err != nil {
			return nil, err
		}
		return t.Funcs(funcs), nil
	}
	t, err := f.plain.Clone()
	if err != nil {
		return nil, err
	}
	return t.Funcs(funcs), nil
}

var errTooLong = errors.New("becomes too long")

// output collects what a template writes, up to a limit.
type output struct {
	b     []byte
	limit int
}

func (o *output) Write(p []byte) (int, error) {
	if len(o.b)+len(p) > o.limit {
		return 0, errTooLong
	}
	o.b = append(o.b, p...)
	return len(p), nil
}

// fill is the text of a field for one message.
func (r *Renderer) fill(f *field, data map[string]any) (string, error) {
	r.mode, r.ticks, r.work, r.listed = f.mode, 0, 0, nil
	if f.constant() {
		return f.text, nil
	}
	r.out.b, r.out.limit = r.out.b[:0], f.limit
	if err := r.bound[f].Execute(&r.out, data); err != nil {
		return "", r.explain(err, f, data)
	}
	return string(r.out.b), nil
}

var (
	missing = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`at <(.*)>: map has no entry for key "(.*)"$`)
	})
	atCalled = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^executing ".*" at <.*>: error calling [^:]*: `)
	})
	atNode = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^executing ".*" at <`)
	})
)

// explain turns an error of a template into words of rows and columns.
func (r *Renderer) explain(err error, f *field, data map[string]any) error {
	if errors.Is(err, errTooLong) {
		return fmt.Errorf("becomes longer than %s", sizeOf(int64(f.limit)))
	}
	text := templateFault(err)
	where := ""
	if f.file != "" {
		where = fmt.Sprintf("line %d: ", templateLine(err))
	}
	if m := missing().FindStringSubmatch(text); m != nil {
		return errors.New(where + r.absent(m[1], m[2], data))
	}
	text = atCalled().ReplaceAllString(text, "")
	return errors.New(where + atNode().ReplaceAllString(text, "<"))
}

// absent says what a template asked for that is not there.
func (r *Renderer) absent(node, key string, data map[string]any) string {
	if strings.Contains(node, ".var.") {
		return "no variable " + quoted(key)
	}
	t := r.plan.table
	switch {
	case r.plan.step.ForOthers:
		row, _ := data["row"].(Row)
		text := "no value " + quoted(key) + " is given"
		if hint := nearest(key, slices.Sorted(maps.Keys(row))); hint != "" {
			text += " (" + hint + ")"
		}
		return text
	case t == nil:
		return "no column " + quoted(key) + ": there are no rows"
	}
	if _, ok := t.at[key]; ok {
		rows, _ := data["rows"].([]Row)
		return fmt.Sprintf("%s has %d values in this message: use .rows", key, values(rows, key))
	}
	if strings.Count(node, ".") > 1 {
		return "no field " + quoted(key)
	}
	return "no column " + quoted(key) + " (" + near(key, t.columns) + ")"
}

// near names the column that was meant, or all.
func near(key string, columns []string) string {
	list := columns
	if len(list) > 20 {
		if n := nearest(key, columns); n != "" {
			return n
		}
		list = append(append([]string{}, list[:20]...), "…")
	}
	return "columns: " + strings.Join(list, ", ")
}

// values counts the different values of a column.
func values(rows []Row, column string) int {
	seen := map[string]bool{}
	for _, row := range rows {
		seen[Cell(row[column])] = true
	}
	return len(seen)
}

func sizeOf(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
