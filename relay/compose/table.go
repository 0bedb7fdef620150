package compose

import (
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"postern/config/wire"
)

const (
	maxTable  = 100 // columns of text that a table may be wide
	maxLabel  = 40  // of the head of a column that is repeated
	maxSpan   = 50  // cells that one cell stands for
	maxCells  = 200 // of a row, as far as spans make them
	columnGap = 2
	perCell   = 8 // octets that it counts for, with those it has
)

// table writes a table of data in columns, or row by row where that would be
// too wide, and what is in one that is there for the layout.
func (w *plain) table(n *html.Node) {
	t := w.gather(n)
	if t.layout() {
		w.around(n, 1)
		return
	}
	w.block(2)
	if widths, ok := t.widths(); ok {
		w.columns(&t, widths)
	} else {
		w.records(&t)
	}
	w.block(2)
}

// A grid is a table in its columns.
type grid struct {
	caption string
	head    int // the first rows that are heads of columns
	rows    [][]cell
	nested  bool // a cell has a table, or the table says that it is no table
}

type cell struct {
	lines []string
	head  bool
}

func (t *grid) layout() bool {
	if t.nested {
		return true
	}
	for _, r := range t.rows {
		if len(r) > 1 {
			return false
		}
	}
	return true
}

// gather reads a table that has no other within.
func (w *plain) gather(n *html.Node) (t grid) {
	role, _ := attribute(n, "role")
	if t.nested = role == "presentation" || role == "none"; t.nested {
		return t
	}
	for d := range n.Descendants() {
		if d.DataAtom == atom.Table {
			t.nested = true
			return t
		}
	}
	var below []int // rows that a cell of a column goes on for
	for d := range n.Descendants() {
		switch {
		case *w.left < 0:
			return t
		case d.DataAtom == atom.Caption:
			t.caption = strings.Join(w.textLines(d), " ")
		case d.DataAtom == atom.Tr && !hidden(d) && !hidden(d.Parent):
			var r []cell
			r, below = w.row(d, below)
			heads := d.Parent.DataAtom == atom.Thead || allHeads(r)
			if heads && t.head == len(t.rows) {
				t.head++
			}
			t.rows = append(t.rows, r)
		}
	}
	if t.head == len(t.rows) { // nothing but heads are no heads
		t.head = 0
	}
	return t
}

func allHeads(r []cell) bool {
	for _, c := range r {
		if !c.head {
			return false
		}
	}
	return true
}

// row reads a row. below counts, for each column, the rows that a cell further
// up goes on for; there the row has an empty cell.
func (w *plain) row(n *html.Node, below []int) (cells []cell, after []int) {
	add := func(c cell, rows int) {
		at := len(cells)
		cells = append(cells, c)
		for len(below) <= at {
			below = append(below, 0)
		}
		below[at] = rows
	}
	skip := func() {
		for at := len(cells); at < min(len(below), maxCells) && below[at] > 0; at++ {
			add(cell{head: true}, below[at]-1)
		}
	}
	defer func() { w.spend(len(cells) * perCell) }()
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.DataAtom != atom.Td && c.DataAtom != atom.Th || hidden(c) {
			continue
		}
		skip()
		head := c.DataAtom == atom.Th
		rows := span(c, "rowspan") - 1
		add(cell{w.textLines(c), head}, rows)
		for range min(span(c, "colspan")-1, maxCells-len(cells)) {
			add(cell{head: head}, rows)
		}
	}
	skip()
	return cells, below
}

func span(n *html.Node, name string) int {
	s, _ := attribute(n, name)
	k, _ := strconv.Atoi(s)
	return min(max(k, 1), maxSpan)
}

// textLines is the text in n.
func (w *plain) textLines(n *html.Node) []string {
	if c := n.FirstChild; c != nil && c.NextSibling == nil && c.Type == html.TextNode && !strings.ContainsAny(c.Data, "\t\r\n\f\u00A0\u00AD\u200B\u202F\uFEFF") {
		if s := strings.TrimSpace(c.Data); s != "" && !strings.Contains(s, "  ") {
			return []string{s}
		}
	}
	in := plain{left: w.left}
	in.children(n)
	if len(in.out) == 0 {
		return nil
	}
	return strings.Split(string(in.out), "\n")
}

// widths is how wide each column is; false where they are too wide together.
func (t *grid) widths() (widths []int, ok bool) {
	for _, r := range t.rows {
		for i, c := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			for _, line := range c.lines {
				widths[i] = max(widths[i], wire.Columns(line))
			}
		}
	}
	whole := 0
	for _, n := range widths {
		whole += n + columnGap
	}
	return widths, whole-columnGap <= maxTable
}

// columns writes rows with their cells below each other; numbers end where the
// others end.
func (w *plain) columns(t *grid, widths []int) {
	if t.caption != "" {
		w.words(t.caption)
		w.block(1)
	}
	right := t.numeric(len(widths))
	for i, r := range t.rows {
		if *w.left < 0 {
			return
		}
		if i == t.head && i > 0 {
			w.rule(widths)
		}
		height := 0
		for _, c := range r {
			height = max(height, len(c.lines))
		}
		for k := range height {
			w.rowLine(r, k, widths, right)
		}
	}
}

func (w *plain) rowLine(r []cell, k int, widths []int, right []bool) {
	w.flush()
	due := 0
	for i, c := range r {
		s := ""
		if k < len(c.lines) {
			s = c.lines[k]
		}
		pad := widths[i] - wire.Columns(s)
		if s == "" {
			due += widths[i] + columnGap
			continue
		}
		if right[i] {
			due += pad
			pad = 0
		}
		if !w.spend(due) {
			return
		}
		for range due {
			w.out = append(w.out, ' ')
		}
		w.out = append(w.out, s...)
		due = pad + columnGap
	}
	w.breaks = 1
}

func (w *plain) rule(widths []int) {
	w.flush()
	for i, n := range widths {
		if i > 0 {
			w.out = append(w.out, strings.Repeat(" ", columnGap)...)
		}
		w.out = append(w.out, strings.Repeat("-", n)...)
	}
	w.breaks = 1
}

// numeric tells of each column whether all of its cells are numbers.
func (t *grid) numeric(columns int) []bool {
	right := make([]bool, columns)
	for i := range right {
		any, all := false, true
		for _, r := range t.rows[t.head:] {
			if i < len(r) && len(r[i].lines) > 0 {
				any, all = true, all && len(r[i].lines) == 1 && isNumber(r[i].lines[0])
			}
		}
		right[i] = any && all
	}
	return right
}

// isNumber takes amounts with a sign, separators and a currency or unit.
func isNumber(s string) bool {
	digits, letters := 0, 0
	for _, r := range s {
		switch {
		case unicode.IsDigit(r):
			digits++
		case unicode.IsLetter(r):
			letters++
		case unicode.Is(unicode.Sc, r), strings.ContainsRune(" .,'’-+−%()", r):
		default:
			return false
		}
	}
	return digits > 0 && letters <= 3 && digits >= letters
}

// records writes each row by itself: its cells with the heads of their columns.
func (w *plain) records(t *grid) {
	if t.caption != "" {
		w.words(t.caption)
	}
	var labels []string // of columns
	if t.head > 0 {
		for _, c := range t.rows[t.head-1] {
			label := strings.Join(c.lines, " ")
			if wire.Columns(label) > maxLabel {
				label = ""
			}
			labels = append(labels, label)
		}
	}
	for _, r := range t.rows[t.head:] {
		w.block(2)
		for i, c := range r {
			if len(c.lines) == 0 {
				continue
			}
			if i < len(labels) && labels[i] != "" {
				if !w.spend(len(labels[i])) { // what is combined takes no column
					return
				}
				w.words(labels[i] + ": ")
			}
			for _, line := range c.lines {
				w.words(line)
				w.block(1)
			}
		}
	}
}
