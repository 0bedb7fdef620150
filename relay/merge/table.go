package merge

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

const (
	// inMemory is how many bytes of rows are held before they go to a file.
	inMemory = 4 << 20
	// maxColumns bounds one row, in cells.
	maxColumns = 16384
)

// Row is one row: its values by column. They are texts or, from JSON, numbers
// (json.Number), truths, lists and tables; what is missing or null is "".
type Row map[string]any

// table holds the rows in the order in which they came: in memory, or in a
// file where there are many.
type table struct {
	name    string // where they come from, for people
	columns []string
	at      map[string]int // column → index
	n       int            // rows

	mem     []byte
	file    *os.File
	out     *bufio.Writer
	size    int64
	starts  []int64 // of each row, where keepStarts
	indexed bool    // rows are read out of order
	keeps   bool    // every row that is wrong is known, and not only some
	bad     map[int]*badRow
}

// badRow tells what is wrong with a row.
type badRow struct {
	why     string
	unsound bool // its cells are not where they belong, so that nothing more is to be said of it
}

// maxBad is how many wrong rows a run that keeps going takes.
const maxBad = 100_000

// wrong tells why the row of that number, from 0, can't be used.
func (t *table) wrong(i int, why string) *badRow {
	b := t.bad[i]
	switch {
	case b != nil:
		return b
	case !t.keeps && len(t.bad) >= maxProblems, len(t.bad) > maxBad:
		return &badRow{}
	}
	b = &badRow{why: why}
	t.bad[i] = b
	return b
}

// unsound tells why the cells of a row are not where they belong.
func (t *table) unsound(i int, why string) { t.wrong(i, why).unsound = true }

// isUnsound reports whether more about a row would be told in vain.
func (t *table) isUnsound(i int) bool {
	b := t.bad[i]
	return b != nil && b.unsound
}

func newTable(name string) *table {
	return &table{name: name, at: map[string]int{}, bad: map[int]*badRow{}}
}

// column is the index of a column, which is added where it is new.
func (t *table) column(name string) (int, error) {
	i, ok := t.at[name]
	if !ok {
		if i = len(t.columns); i >= maxColumns {
			return 0, fmt.Errorf("has more than %d columns", maxColumns)
		}
		t.at[name] = i
		t.columns = append(t.columns, name)
	}
	return i, nil
}

// add takes the cells of a row, by the index of their columns: string or
// whatever JSON has.
func (t *table) add(cells []any) error {
	var row []byte
	for _, c := range cells {
		kind, text := byte('s'), ""
		switch v := c.(type) {
		case nil:
		case string:
			text = v
		default:
			b, err := json.Marshal(v)
			if err != nil {
				return err
			}
			kind, text = 'j', string(b)
		}
		row = append(row, kind)
		row = binary.AppendUvarint(row, uint64(len(text)))
		row = append(row, text...)
	}
	if len(row) > maxRow {
		return fmt.Errorf("has more than %d MiB", maxRow>>20)
	}
	if t.indexed {
		t.starts = append(t.starts, t.size)
	}
	t.n++
	head := binary.AppendUvarint(make([]byte, 0, binary.MaxVarintLen64), uint64(len(row)))
	return errors.Join(t.write(head), t.write(row))
}

func (t *table) write(b []byte) error {
	t.size += int64(len(b))
	if t.out == nil && len(t.mem)+len(b) <= inMemory {
		t.mem = append(t.mem, b...)
		return nil
	}
	if t.out == nil {
		f, err := os.CreateTemp("", "postern-rows-*")
		if err != nil {
			return err
		}
		os.Remove(f.Name()) // a kill leaves nothing behind; Windows waits for close
		t.file, t.out = f, bufio.NewWriterSize(f, 256<<10)
		if _, err := t.out.Write(t.mem); err != nil {
			return err
		}
		t.mem = nil
	}
	_, err := t.out.Write(b)
	return err
}

// done ends the adding of rows.
func (t *table) done() error {
	if t.out == nil {
		return nil
	}
	return t.out.Flush()
}

// close removes the file, if there is one.
func (t *table) close() {
	if t.file != nil {
		t.file.Close()
		os.Remove(t.file.Name())
	}
}

// content is everything that was written.
func (t *table) content() io.ReaderAt {
	if t.file != nil {
		return t.file
	}
	return bytes.NewReader(t.mem)
}

// all calls visit with each row, numbered from 0, until it returns false.
func (t *table) all(visit func(i int, row Row) bool) error {
	r := bufio.NewReaderSize(io.NewSectionReader(t.content(), 0, t.size), 64<<10)
	for i := range t.n {
		row, err := t.read(r)
		if err != nil {
			return fmt.Errorf("the rows could not be read again: %w", err)
		}
		if !visit(i, row) {
			return nil
		}
	}
	return nil
}

// row is the one of that number, from 0. Rows are indexed.
func (t *table) row(i int) (Row, error) {
	r := bufio.NewReaderSize(io.NewSectionReader(t.content(), t.starts[i], t.size-t.starts[i]), 4<<10)
	return t.read(r)
}

func (t *table) read(r *bufio.Reader) (Row, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if n > uint64(maxRow) {
		return nil, errors.New("a row is damaged")
	}
	var b strings.Builder
	b.Grow(int(n))
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return nil, err
	}
	return t.decode(b.String())
}

// decode makes a Row of what add has written. Its texts share memory.
func (t *table) decode(s string) (Row, error) {
	row := make(Row, len(t.columns))
	for i := 0; s != ""; i++ {
		kind := s[0]
		n, used := uvarint(s[1:])
		if used <= 0 || i >= len(t.columns) || uint64(len(s)-1-used) < n {
			return nil, errors.New("a row is damaged")
		}
		text := s[1+used : 1+used+int(n)]
		s = s[1+used+int(n):]
		if kind == 's' {
			row[t.columns[i]] = text
			continue
		}
		v, err := fromJSON(text)
		if err != nil {
			return nil, err
		}
		row[t.columns[i]] = v
	}
	for _, c := range t.columns {
		if _, ok := row[c]; !ok {
			row[c] = ""
		}
	}
	return row, nil
}

func uvarint(s string) (uint64, int) {
	return binary.Uvarint([]byte(s[:min(len(s), binary.MaxVarintLen64)]))
}

func fromJSON(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return withoutNull(v), err
}

// withoutNull is v, in which null is "": a template would print <no value>.
func withoutNull(v any) any {
	switch v := v.(type) {
	case nil:
		return ""
	case []any:
		for i := range v {
			v[i] = withoutNull(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = withoutNull(v[k])
		}
	}
	return v
}

// Cell is a value as text, for CSV, tables and comparison.
func Cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case float64: // of a template
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any, map[string]any:
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		return string(b)
	}
	return fmt.Sprint(v)
}
