package merge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/template/parse"
)

// Wanted is what a message file wants of whoever uses it.
type Wanted struct {
	Columns  []string // those that its templates use, those that have to have a value first
	Required []string
	Per      string // as in Rows
	From     bool   // it says who writes
	To       bool   // it says to whom
	Subject  string // as it stands in the file: a template
}

// maxWanted is how many columns of a message file are told.
const maxWanted = 200

// Wants tells what a message file wants. The error is ErrUnknown or a *Problems.
func (f Folder) Wants(ctx context.Context, name string) (*Wanted, error) {
	p, err := f.plan(ctx, name)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	s := p.step
	w := &Wanted{Required: s.Rows.Require, Per: s.Rows.Per, From: s.From != "", To: len(s.To)+len(s.Cc)+len(s.Bcc) > 0, Subject: s.Subject}
	for _, column := range s.Rows.Require {
		w.use(column)
	}
	if s.Rows.Per != "" && s.Rows.Per != PerRow && s.Rows.Per != PerAll {
		w.use(s.Rows.Per)
	}
	for _, one := range p.fields {
		switch {
		case one.plain != nil:
			for _, t := range one.plain.Templates() {
				w.tree(t.Tree)
			}
		case one.html != nil:
			for _, t := range one.html.Templates() {
				w.tree(t.Tree)
			}
		}
	}
	for i := range s.Attach {
		for _, column := range s.Attach[i].Columns {
			w.use(column)
		}
	}
	return w, nil
}

// own are the names that are no columns.
var own = []string{"row", "rows", "var", "n", "now", "run"}

func (w *Wanted) use(column string) {
	if !slices.Contains(own, column) && !slices.Contains(w.Columns, column) && len(w.Columns) < maxWanted {
		w.Columns = append(w.Columns, column)
	}
}

func (w *Wanted) tree(t *parse.Tree) {
	if t != nil && t.Root != nil {
		w.node(t.Root)
	}
}

// node takes the columns out of a part of a template: .email, $.email, the columns
// that {{index .row "First name"}} and {{table .rows "invoice"}} name.
func (w *Wanted) node(n parse.Node) {
	branch := func(b *parse.BranchNode) {
		w.pipe(b.Pipe)
		for _, list := range []*parse.ListNode{b.List, b.ElseList} {
			if list != nil {
				w.node(list)
			}
		}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, one := range n.Nodes {
			w.node(one)
		}
	case *parse.ActionNode:
		w.pipe(n.Pipe)
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	case *parse.TemplateNode:
		w.pipe(n.Pipe)
	case *parse.PipeNode:
		w.pipe(n)
	case *parse.FieldNode:
		w.use(n.Ident[0])
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			w.use(n.Ident[1])
		}
	case *parse.ChainNode:
		w.node(n.Node)
	}
}

func (w *Wanted) pipe(p *parse.PipeNode) {
	if p == nil {
		return
	}
	for _, c := range p.Cmds {
		for _, arg := range c.Args {
			w.node(arg)
		}
		if len(c.Args) < 3 {
			continue
		}
		of, ok := c.Args[1].(*parse.FieldNode)
		name, called := c.Args[0].(*parse.IdentifierNode)
		if !ok || !called || !(name.Ident == "index" && of.Ident[0] == "row" || slices.Contains([]string{"table", "csv", "sum"}, name.Ident) && of.Ident[0] == "rows") {
			continue
		}
		for _, arg := range c.Args[2:] {
			if text, ok := arg.(*parse.StringNode); ok {
				w.use(text.Text)
			}
		}
	}
}

// ReadRows reads rows that somebody has typed or pasted: CSV, TSV or JSON, at
// most so many. The error is a *Problems.
func ReadRows(text string, most int) ([]Row, error) {
	t := newTable("rows")
	defer t.close()
	found := &Problems{}
	r := &reader{table: t, found: found, warn: func(Problem) {}}
	in := strings.NewReader(text)
	if err := r.read(in, in, &Rows{}); err != nil {
		return nil, one(Problem{File: t.name, Text: "cannot be read: " + Reason(err)})
	}
	if err := t.done(); err != nil {
		return nil, one(Problem{Kind: NoInput, File: t.name, Text: "cannot be read: " + Reason(err)})
	}
	if found.Total > 0 {
		return nil, found.none()
	}
	if t.n > most {
		return nil, one(Problem{File: t.name, Text: fmt.Sprintf("there are %d, and %d are the most", t.n, most)})
	}
	var rows []Row
	err := t.all(func(_ int, row Row) bool { rows = append(rows, row); return true })
	if err != nil {
		return nil, one(Problem{Kind: NoInput, File: t.name, Text: "cannot be read: " + Reason(err)})
	}
	return rows, nil
}

// maxWrong is how many messages that are wrong FillRows looks at.
const maxWrong = 20

// FillRows makes the messages of a message file and rows: one for each, or as
// its rows.per says. It calls take with each, one after the other, and ends with
// the first error of it. The other errors are ErrUnknown, ErrMemory, a *Problems, whose rows
// count from 1, and that of ctx; take may have been called before.
func (f Folder) FillRows(ctx context.Context, name string, rows []Row, take func(*Filled) error) error {
	p, err := f.plan(ctx, name)
	if err != nil {
		return err
	}
	defer p.Close()
	found := &Problems{}
	for i, row := range rows {
		for _, column := range p.step.Rows.Require {
			if strings.TrimSpace(Cell(row[column])) == "" {
				found.add(Problem{File: p.step.Path, Row: i + 1, Field: column, Text: "is empty or missing, and rows.require names it"})
			}
		}
	}
	if found.Total > 0 {
		return found.none()
	}
	r, bad := newRenderer(p), 0
	r.memory = f.Memory
	for n, group := range grouped(rows, p.step.Rows.Per) {
		if err := ctx.Err(); err != nil {
			return err
		}
		chosen := make([]Row, len(group))
		for i, at := range group {
			chosen[i] = rows[at]
		}
		m := r.render(ctx, &Group{N: n + 1, Rows: chosen})
		if r.starved {
			return ErrMemory
		}
		if m != nil && found.Total == 0 {
			if err := take(&Filled{Mail: m.Source, Key: m.Key, DSN: m.DSN}); err != nil {
				return err
			}
		}
		if m != nil {
			continue
		}
		for _, problem := range r.problems {
			problem.Row = group[0] + 1
			found.add(problem)
		}
		if bad++; bad >= maxWrong {
			break
		}
	}
	found.add(p.constant.List...)
	if found.Total > 0 {
		return found.none()
	}
	return nil
}

// grouped are the numbers of the rows of each message, from 0.
func grouped(rows []Row, per string) (groups [][]int) {
	at := map[string]int{}
	for i, row := range rows {
		key := ""
		switch per {
		case "", PerRow:
			key = fmt.Sprint(i)
		case PerAll:
		default:
			key = Cell(row[per])
		}
		n, there := at[key]
		if !there {
			n = len(groups)
			at[key] = n
			groups = append(groups, nil)
		}
		groups[n] = append(groups[n], i)
	}
	return groups
}
