package merge

import (
	"archive/zip"
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/thedatashed/xlsxreader"
)

// line records a problem with one line, which is that of the next row.
func (r *reader) line(n int, text, hint string) {
	r.found.add(Problem{File: r.table.name, Line: n, Text: text, Hint: hint, rows: true})
	r.table.wrong(r.table.n, text)
}

// readHeader takes the names of the columns. Blanks around them go.
func (r *reader) readHeader(names []string, line int) {
	r.header = len(names)
	r.ignored = make([]bool, len(names))
	for i, name := range names {
		trimmed := strings.TrimSpace(name)
		switch {
		case !utf8.ValidString(name):
			r.line(line, "the header is not UTF-8", "rows.charset = 'windows-1252', or what it is")
			return
		case trimmed == "":
			r.warn(Problem{File: r.table.name, Text: fmt.Sprintf("column %d has no name and is left out", i+1), rows: true})
			r.ignored[i] = true
			continue
		case trimmed != name:
			r.warn(Problem{File: r.table.name, Text: fmt.Sprintf("column %s has blanks around its name, which are left out", quoted(name)), rows: true})
		}
		if _, twice := r.table.at[trimmed]; twice {
			r.line(line, "column "+quoted(trimmed)+" is there twice", "")
			r.ignored[i] = true
			continue
		}
		if _, err := r.table.column(trimmed); err != nil {
			r.line(line, "the header "+err.Error(), "")
			return
		}
	}
}

// readRecord takes one row under a header.
func (r *reader) readRecord(record []string, line int) error {
	r.cells = r.cells[:0]
	for i, value := range record {
		if !utf8.ValidString(value) {
			r.line(line, fmt.Sprintf("column %d is not UTF-8", i+1), "rows.charset = 'windows-1252', or what it is")
			value = strings.ToValidUTF8(value, "\ufffd")
		}
		if i < r.header && !r.ignored[i] {
			r.cells = append(r.cells, strings.Clone(value))
		}
	}
	for len(r.cells) < len(r.table.columns) {
		r.cells = append(r.cells, "")
	}
	if err := r.table.add(r.cells); err != nil {
		return r.addFailed(err, line)
	}
	return nil
}

// addFailed tells a row that cannot be kept from a disk that cannot keep it.
func (r *reader) addFailed(err error, line int) error {
	var system *os.PathError
	if errors.As(err, &system) {
		return err
	}
	r.line(line, err.Error(), "")
	return nil
}

// readCSV reads RFC 4180, by lines of the file where a problem is told.
func (r *reader) readCSV(in *bufio.Reader, comma rune) error {
	c := csv.NewReader(in)
	c.Comma, c.FieldsPerRecord, c.ReuseRecord, c.LazyQuotes = comma, -1, true, comma == '\t'
	for first := true; ; {
		record, err := c.Read()
		var bad *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &bad):
			r.line(bad.StartLine, csvFault(bad), "")
			if r.found.Total > maxProblems {
				return nil
			}
			continue
		case err != nil:
			return err
		}
		r.consumed.n = 0
		line, _ := c.FieldPos(0)
		switch {
		case first:
			r.readHeader(record, line)
			first = false
			continue
		case len(record) != r.header:
			r.line(line, fmt.Sprintf("%s, the header has %d", plural(len(record), "field"), r.header), "")
		}
		if err := r.readRecord(record, line); err != nil {
			return err
		}
	}
}

func csvFault(e *csv.ParseError) string {
	switch e.Err {
	case csv.ErrBareQuote:
		return `a quote stands inside of a field that does not begin with one`
	case csv.ErrQuote:
		return `a quoted field is not closed, or text follows its end`
	}
	return e.Err.Error()
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// readJSON reads an array of objects, an object with one array of objects, one
// object, or an object a line.
func (r *reader) readJSON(in *bufio.Reader, format Format) error {
	d := json.NewDecoder(in)
	d.UseNumber()
	if format == NDJSON {
		return r.objects(d, func() bool { return true })
	}
	b, _ := in.Peek(4 << 10)
	if b := strings.TrimLeft(string(b), " \t\r\n"); strings.HasPrefix(b, "{") {
		return r.object(d)
	}
	if _, err := d.Token(); err != nil { // [
		return r.jsonFault(err)
	}
	return r.objects(d, d.More)
}

// objects reads one row after the other.
func (r *reader) objects(d *json.Decoder, more func() bool) error {
	for more() {
		err := r.jsonRow(d)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return r.jsonFault(err)
		}
		r.consumed.n = 0
	}
	return nil
}

// jsonFault makes a problem of JSON that is none; what cannot be read stays an
// error.
func (r *reader) jsonFault(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, errNoObject):
		r.found.add(Problem{File: r.table.name, Row: r.table.n + 1, Text: "is not JSON: " + err.Error(), rows: true})
		return nil
	}
	return err
}

var errNoObject = errors.New("a row must be an object")

// jsonRow reads an object, its columns in their order.
func (r *reader) jsonRow(d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return errNoObject
	}
	r.cells = r.cells[:0]
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		var v any
		if err := d.Decode(&v); err != nil {
			return err
		}
		i, err := r.table.column(strings.TrimSpace(name))
		if err != nil {
			r.found.add(Problem{File: r.table.name, Row: r.table.n + 1, Text: err.Error(), rows: true})
			continue
		}
		for len(r.cells) <= i {
			r.cells = append(r.cells, nil)
		}
		r.cells[i] = v
	}
	if _, err := d.Token(); err != nil { // }
		return err
	}
	if err := r.table.add(slices.Clone(r.cells)); err != nil {
		return r.addFailed(err, 0)
	}
	return nil
}

// object reads {"rows": [ … ]}, or one object that is itself the row.
func (r *reader) object(d *json.Decoder) error {
	var whole map[string]any
	if err := d.Decode(&whole); err != nil {
		return r.jsonFault(err)
	}
	var lists [][]any
	for _, v := range whole {
		if list, ok := v.([]any); ok {
			lists = append(lists, list)
		}
	}
	rows := []any{whole}
	if len(lists) == 1 && len(whole) == 1 {
		rows = lists[0]
	}
	var text strings.Builder
	for _, row := range rows {
		b, err := json.Marshal(row)
		if err != nil {
			return err
		}
		text.Write(append(b, '\n'))
	}
	again := json.NewDecoder(strings.NewReader(text.String()))
	again.UseNumber()
	return r.objects(again, func() bool { return true })
}

// maxShared bounds the texts that an XLSX file keeps in one place, which are
// held in memory, in bytes.
const maxShared = 256 << 20

// readXLSX reads a sheet. The first row that is not empty is the header.
func (r *reader) readXLSX(head *bufio.Reader, in io.Reader, sheet string) error {
	file, size, done, err := seekable(head, in)
	if err != nil {
		return err
	}
	defer done()
	archive, err := zip.NewReader(file, size)
	if err != nil {
		return one(Problem{File: r.table.name, Text: "is not an XLSX file", rows: true})
	}
	for _, f := range archive.File {
		if strings.HasSuffix(f.Name, "sharedStrings.xml") && f.UncompressedSize64 > maxShared {
			return one(Problem{File: r.table.name, Text: "holds more than 256 MiB of texts", Hint: "save it as CSV", rows: true})
		}
	}
	book, err := xlsxreader.NewReaderZip(archive)
	if err != nil || len(book.Sheets) == 0 {
		return one(Problem{File: r.table.name, Text: "is not an XLSX file", rows: true})
	}
	if sheet == "" {
		sheet = book.Sheets[0]
	}
	if !slices.Contains(book.Sheets, sheet) {
		return one(Problem{File: r.table.name, Text: "has no sheet " + quoted(sheet), Hint: "it has " + strings.Join(book.Sheets, ", "), rows: true})
	}
	return r.sheet(book.ReadRows(sheet))
}

func (r *reader) sheet(rows chan xlsxreader.Row) error {
	var failed error
	first := true
	for row := range rows { // to the end, or its goroutine stays
		if failed != nil {
			continue
		}
		if row.Error != nil {
			r.line(row.Index, row.Error.Error(), "")
			continue
		}
		var record []string
		blank := true
		for _, c := range row.Cells {
			i := c.ColumnIndex()
			if i < 0 || i >= maxColumns {
				r.line(row.Index, fmt.Sprintf("has more than %d columns", maxColumns), "")
				break
			}
			for len(record) <= i {
				record = append(record, "")
			}
			record[i] = c.Value
			blank = blank && strings.TrimSpace(c.Value) == ""
		}
		switch {
		case blank:
		case first:
			first = false
			r.readHeader(record, row.Index)
		case len(record) > r.header && strings.Join(record[r.header:], "") != "":
			r.line(row.Index, fmt.Sprintf("%s, the header has %d", plural(len(record), "field"), r.header), "")
			failed = r.readRecord(record, row.Index)
		default:
			failed = r.readRecord(record, row.Index)
		}
	}
	return failed
}

// seekable is an XLSX file that can be read anywhere: the file itself, or a
// copy of what comes through a pipe.
func seekable(head *bufio.Reader, in io.Reader) (io.ReaderAt, int64, func(), error) {
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return f, info.Size(), func() {}, nil
		}
	}
	f, err := os.CreateTemp("", "postern-rows-*")
	if err != nil {
		return nil, 0, nil, err
	}
	done := func() { f.Close(); os.Remove(f.Name()) }
	n, err := io.Copy(f, head)
	if err != nil {
		done()
		return nil, 0, nil, err
	}
	return f, n, done, nil
}
