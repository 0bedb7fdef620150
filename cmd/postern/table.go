package main

import (
	"io"
	"strings"
	"time"

	"postern/config"
	"postern/config/wire"
)

// table prints columns of text, each as wide as its widest cell, two spaces
// apart. Rows are held back until flush, at most rowsAtOnce of them: the
// widths of a long list are those of its beginning.
type table struct {
	w     io.Writer
	rows  [][]string
	width []int
	err   error
}

const rowsAtOnce = 200

func newTable(w io.Writer, head ...string) *table {
	t := &table{w: w, width: make([]int, len(head))}
	t.row(head...)
	return t
}

// row adds a row; its cells are made safe for a terminal.
func (t *table) row(cells ...string) {
	for i := range cells {
		cells[i] = safe(cells[i])
	}
	t.rows = append(t.rows, cells)
	if len(t.rows) >= rowsAtOnce {
		t.print()
	}
}

func (t *table) print() {
	for _, r := range t.rows {
		for i, c := range r {
			t.width[i] = max(t.width[i], wire.Columns(c))
		}
	}
	for _, r := range t.rows {
		var b strings.Builder
		for i, c := range r {
			if i > 0 {
				b.WriteString("  ")
			}
			b.WriteString(c)
			if i < len(r)-1 {
				b.WriteString(strings.Repeat(" ", max(0, t.width[i]-wire.Columns(c))))
			}
		}
		if t.err == nil {
			_, t.err = io.WriteString(t.w, strings.TrimRight(b.String(), " ")+"\n")
		}
	}
	t.rows = t.rows[:0]
}

// flush prints what is left.
func (t *table) flush() error {
	t.print()
	return t.err
}

// ago is a duration as a person says it: "3m", "2h5m", "4d".
func ago(d time.Duration) string { return config.RoughDuration(d) }

// until says when a moment is, from now: "in 5m", "now".
func until(t *time.Time, now time.Time) string {
	if t == nil {
		return "-"
	}
	if d := t.Sub(now); d >= time.Second {
		return "in " + ago(d)
	}
	return "now"
}

// size is a number of bytes as a person says it.
func size(n int64) string { return config.RoughSize(n) }
