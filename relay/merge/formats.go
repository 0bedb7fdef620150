package merge

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// line records a problem with one line, which is that of the next row: what
// its cells hold is not to be trusted.
func (r *reader) line(n int, text, hint string) {
	r.found.add(Problem{File: r.table.name, Line: n, Text: text, Hint: hint, rows: true})
	r.table.unsound(r.table.n, text)
}

// lost records a line that makes no row. An empty one stands in its place.
func (r *reader) lost(n int, text, hint string) error {
	r.line(n, text, hint)
	return r.table.add(nil)
}

// heading records what is wrong with the header, and so with every row.
func (r *reader) heading(line int, text, hint string) {
	r.found.add(Problem{File: r.table.name, Line: line, Text: text, Hint: hint, rows: true, all: true})
}

// readHeader takes the names of the columns. Blanks around them go.
func (r *reader) readHeader(names []string, line int) {
	r.header = len(names)
	r.ignored = make([]bool, len(names))
	for i, name := range names {
		trimmed := strings.TrimSpace(name)
		r.ignored[i] = true // unless it is a column of its own
		switch {
		case !utf8.ValidString(name):
			r.heading(line, "the header is not UTF-8", "rows.charset = 'windows-1252', or what it is")
			r.ignoreFrom(i)
			return
		case trimmed == "":
			r.warn(Problem{File: r.table.name, Text: fmt.Sprintf("column %d has no name and is left out", i+1), rows: true})
			continue
		case trimmed != name:
			r.warn(Problem{File: r.table.name, Text: fmt.Sprintf("column %s has blanks around its name, which are left out", quoted(name)), rows: true})
		}
		if _, twice := r.table.at[trimmed]; twice {
			r.heading(line, "column "+quoted(trimmed)+" is there twice", "")
			continue
		}
		if _, err := r.table.column(trimmed); err != nil {
			r.heading(line, "the header "+err.Error(), "")
			r.ignoreFrom(i)
			return
		}
		r.ignored[i] = false
	}
}

// ignoreFrom leaves out the columns that were not looked at.
func (r *reader) ignoreFrom(i int) {
	for ; i < len(r.ignored); i++ {
		r.ignored[i] = true
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
	return r.lost(line, err.Error(), "")
}

// readCSV reads RFC 4180, by lines of the file where a problem is told.
func (r *reader) readCSV(in *bufio.Reader, comma rune) error {
	r.consumed.sign = byte(comma)
	c := csv.NewReader(in)
	c.Comma, c.FieldsPerRecord, c.ReuseRecord, c.LazyQuotes = comma, -1, true, comma == '\t'
	for first := true; ; {
		record, err := c.Read()
		var bad *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &bad):
			if first {
				r.heading(bad.StartLine, csvFault(bad), "")
				return nil
			}
			if err := r.lost(bad.StartLine, csvFault(bad), ""); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		r.consumed.reset()
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
	begin, _ := in.Peek(4 << 10)
	d := json.NewDecoder(&oneBlank{r: in})
	d.UseNumber()
	if format == NDJSON {
		return r.jsonFault(r.objects(d, func() bool { return true }))
	}
	if b := strings.TrimLeft(string(begin), " \t\r\n"); strings.HasPrefix(b, "{") {
		return r.object(d)
	}
	if _, err := d.Token(); err != nil { // [
		return r.jsonFault(err)
	}
	err := r.objects(d, d.More)
	if err == nil {
		_, err = d.Token() // ]: what a program has half written is not all of its rows
	}
	return r.jsonFault(cmp.Or(unfinished(err), nothingBehind(d)))
}

// oneBlank leaves one blank of several that stand between values of JSON: a decoder
// would look at all of them again with each piece that it reads.
type oneBlank struct {
	r                    io.Reader
	text, escaped, blank bool
}

func (b *oneBlank) Read(p []byte) (int, error) {
	for {
		n, err := b.r.Read(p)
		left := p[:0]
		for _, c := range p[:n] {
			blank := !b.text && (c == ' ' || c == '\t' || c == '\n' || c == '\r')
			if blank && b.blank {
				continue
			}
			switch b.blank = blank; {
			case !b.text:
				b.text = c == '"'
			case b.escaped:
				b.escaped = false
			case c == '\\':
				b.escaped = true
			case c == '"':
				b.text = false
			}
			left = append(left, c)
		}
		if len(left) > 0 || n == 0 || err != nil {
			return len(left), err
		}
	}
}

// unfinished is an error within JSON, where no end is.
func unfinished(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// nothingBehind tells of what stands behind the last row.
func nothingBehind(d *json.Decoder) error {
	switch _, err := d.Token(); {
	case err == nil:
		return errMore
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// objects reads one row after the other, up to the end where more doesn't tell it.
func (r *reader) objects(d *json.Decoder, more func() bool) error {
	for more() {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && t != json.Delim('{') {
			err = errNoObject
		}
		if err == nil {
			err = unfinished(r.jsonRow(d))
		}
		if err != nil {
			return err
		}
		r.consumed.reset()
	}
	return nil
}

// jsonFault makes a problem of JSON that is none; what cannot be read stays an
// error.
func (r *reader) jsonFault(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, errNoObject), errors.Is(err, errMore):
		r.found.add(Problem{File: r.table.name, Row: r.table.n + 1, Text: "is not JSON: " + err.Error(), rows: true})
		return nil
	}
	return err
}

var (
	errNoObject = errors.New("a row must be an object")
	errMore     = errors.New("something stands behind its end")
)

// jsonRow reads the rest of an object, its columns in their order.
func (r *reader) jsonRow(d *json.Decoder) error {
	r.cells = r.cells[:0]
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		i, err := r.table.column(strings.TrimSpace(name))
		if err == nil {
			err = r.once(i, name)
		}
		if err == nil {
			err = countJSON(raw)
		}
		if err != nil {
			r.found.add(Problem{File: r.table.name, Row: r.table.n + 1, Text: err.Error(), rows: true})
			r.table.unsound(r.table.n, err.Error())
			continue
		}
		var v any = raw
		if raw[0] == '"' || raw[0] == 'n' { // a text, or null
			v = nil
			var text string
			if raw[0] == '"' {
				if err := json.Unmarshal(raw, &text); err != nil {
					return err
				}
				v = text
			}
		}
		for len(r.cells) <= i {
			r.cells = append(r.cells, nil)
		}
		r.cells[i] = v
	}
	if _, err := d.Token(); err != nil { // }
		return err
	}
	if err := r.table.add(r.cells); err != nil {
		return r.addFailed(err, 0)
	}
	return nil
}

// once refuses a column that the row has already: who wrote it meant one of them.
func (r *reader) once(i int, name string) error {
	for len(r.had) <= i {
		r.had = append(r.had, 0)
	}
	if r.had[i] == r.table.n+1 {
		return fmt.Errorf("column %s is there twice", quoted(name))
	}
	r.had[i] = r.table.n + 1
	return nil
}

func countJSON(raw []byte) error {
	n, inText := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '\\' && inText:
			i++
		case c == '"':
			inText = !inText
		case !inText && (c == ',' || c == '[' || c == '{'):
			n++
		}
	}
	if n > maxValues {
		return fmt.Errorf("holds a list of more than %d values", maxValues)
	}
	return nil
}

// object reads {"rows": [ … ]}, or one object that is itself the row.
func (r *reader) object(d *json.Decoder) error {
	var whole json.RawMessage
	if err := d.Decode(&whole); err != nil {
		return r.jsonFault(err)
	}
	r.consumed.reset()
	if err := nothingBehind(d); err != nil {
		return r.jsonFault(err)
	}
	keys := json.NewDecoder(bytes.NewReader(whole))
	_, _ = keys.Token()
	_, _ = keys.Token() // the first key: the whole is JSON
	var list json.RawMessage
	if keys.More() && keys.Decode(&list) == nil && !keys.More() && list[0] == '[' {
		again := json.NewDecoder(bytes.NewReader(list))
		_, _ = again.Token()
		return r.jsonFault(r.objects(again, again.More))
	}
	return r.jsonFault(r.objects(json.NewDecoder(bytes.NewReader(whole)), func() bool { return r.table.n == 0 }))
}
