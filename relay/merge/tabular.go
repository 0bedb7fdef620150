package merge

import (
	"encoding/csv"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"slices"
	"strings"
	"text/template"
	"unicode/utf8"
)

// rowsOf takes .rows, or a list of tables from JSON.
func rowsOf(v any) ([]Row, error) {
	switch v := v.(type) {
	case []Row:
		return v, nil
	case Row:
		return []Row{v}, nil
	case []any:
		rows := make([]Row, len(v))
		for i := range v {
			row, ok := v[i].(map[string]any)
			if !ok {
				return nil, errors.New("these are not rows")
			}
			rows[i] = row
		}
		return rows, nil
	}
	return nil, errors.New("these are not rows: use .rows")
}

// value is the cell of a column that has to be there.
func (row Row) value(column string) (string, error) {
	v, ok := row[column]
	if !ok {
		return "", fmt.Errorf("no column %s", quoted(column))
	}
	return Cell(v), nil
}

// columnsOf are the given ones, or all of the table in its order.
func (r *Renderer) columnsOf(rows []Row, columns []string) []string {
	if len(columns) > 0 {
		return columns
	}
	if r.plan.table != nil {
		return r.plan.table.columns
	}
	var all []string
	for _, row := range rows {
		for c := range row {
			if !slices.Contains(all, c) {
				all = append(all, c)
			}
		}
	}
	slices.Sort(all)
	return all
}

func toCSV(of any, columns ...string) (string, error) {
	rows, err := rowsOf(of)
	if err != nil {
		return "", err
	}
	if len(columns) == 0 {
		return "", errors.New("csv wants the names of columns")
	}
	var b output
	b.limit = maxBody
	err = writeCSV(&b, rows, columns)
	return string(b.b), err
}

// writeCSV is RFC 4180, CRLF included.
func writeCSV(to io.Writer, rows []Row, columns []string) error {
	w := csv.NewWriter(to)
	w.UseCRLF = true
	if err := w.Write(columns); err != nil {
		return err
	}
	record := make([]string, len(columns))
	for _, row := range rows {
		for i, c := range columns {
			var err error
			if record[i], err = row.value(c); err != nil {
				return err
			}
		}
		if err := w.Write(record); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// tableOf is a table of rows, as HTML, Markdown or text.
func (r *Renderer) tableOf(of any, columns ...string) (any, error) {
	rows, err := rowsOf(of)
	if err != nil {
		return nil, err
	}
	columns = r.columnsOf(rows, columns)
	cells := make([][]string, 1, len(rows)+1)
	cells[0] = columns
	total := 0
	for _, row := range rows {
		line := make([]string, len(columns))
		for i, c := range columns {
			if line[i], err = row.value(c); err != nil {
				return nil, err
			}
			if total += len(line[i]); total > maxBody {
				return nil, errTooLong
			}
		}
		cells = append(cells, line)
	}
	switch r.mode {
	case asHTML:
		return htmltemplate.HTML(htmlTable(cells)), nil
	case asMarkdown:
		return raw(markdownTable(cells)), nil
	}
	return textTable(cells), nil
}

func htmlTable(cells [][]string) string {
	var b strings.Builder
	line := func(of []string, tag string) {
		b.WriteString("<tr>")
		for _, c := range of {
			b.WriteString("<" + tag + ">")
			template.HTMLEscape(&b, []byte(c))
			b.WriteString("</" + tag + ">")
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("<table>\n<thead>")
	line(cells[0], "th")
	b.WriteString("</thead>\n<tbody>\n")
	for _, row := range cells[1:] {
		line(row, "td")
	}
	b.WriteString("</tbody>\n</table>")
	return b.String()
}

func markdownTable(cells [][]string) string {
	var b strings.Builder
	line := func(of []string, shown func(string) string) {
		b.WriteString("|")
		for _, c := range of {
			b.WriteString(" " + shown(c) + " |")
		}
		b.WriteString("\n")
	}
	value := func(s string) string { return strings.ReplaceAll(escapeMarkdown(s), "\\\n", " ") }
	b.WriteString("\n\n")
	line(cells[0], value)
	line(cells[0], func(string) string { return "---" })
	for _, row := range cells[1:] {
		line(row, value)
	}
	b.WriteString("\n")
	return b.String()
}

// textTable is columns of text, each as wide as its widest cell.
func textTable(cells [][]string) string {
	width := make([]int, len(cells[0]))
	for _, row := range cells {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for _, row := range cells {
		line := ""
		for i, c := range row {
			line += c + strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)+2)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
