package merge

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cell is one of a sheet.
type cell struct {
	column int // from 0
	kind   string
	style  int
	value  []byte
	has    bool
}

// value is a cell as text: a date as 2006-01-02, with its time where it has one.
func (b *book) value(c *cell) (string, error) {
	v := string(c.value)
	switch {
	case c.kind == "s":
		i, err := strconv.Atoi(strings.TrimSpace(v))
		if err != nil || i < 0 || i >= len(b.ends) {
			return "", fmt.Errorf("column %d refers to text %s of %d", c.column+1, quoted(v), len(b.ends))
		}
		from := uint32(0)
		if i > 0 {
			from = b.ends[i-1]
		}
		return string(b.texts[from:b.ends[i]]), nil
	case (c.kind == "" || c.kind == "n") && b.dates[c.style] && v != "":
		days, err := strconv.ParseFloat(v, 64)
		if err != nil || days < 0 || days > 2958466 { // the year 9999
			return "", fmt.Errorf("column %d holds no date: %s", c.column+1, quoted(v))
		}
		whole := int(days)
		at := b.epoch.AddDate(0, 0, whole).Add(time.Duration((days - float64(whole)) * float64(24*time.Hour)).Round(time.Millisecond))
		if days == float64(whole) {
			return at.Format("2006-01-02"), nil
		}
		return at.Format(time.RFC3339), nil
	}
	return v, nil
}

// column is the number of "C7", from 0; -1: it has none that there can be.
func columnOf(reference string) int {
	n := 0
	for _, c := range []byte(reference) {
		switch {
		case c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		case c < 'A' || c > 'Z':
			return n - 1
		}
		if n = n*26 + int(c-'A') + 1; n > maxColumns {
			return maxColumns
		}
	}
	return n - 1
}

// sheetReader reads the rows of a sheet one after the other.
type sheetReader struct {
	r     *reader
	book  *book
	meter *meter
	d     *xml.Decoder

	index  int // of the row, as the file numbers them
	rows   int
	record []string
	fault  string // of the row
	cell   cell
	into   bool // what comes is the value of the cell
	begun  bool // the header is read
}

func (r *reader) readSheet(b *book, name string) error {
	in, err := b.reader(name, maxSheet)
	if err != nil {
		return one(Problem{File: r.table.name, Text: err.Error(), rows: true})
	}
	defer in.Close()
	s := &sheetReader{r: r, book: b, meter: &meter{r: in}}
	s.d = xml.NewDecoder(bufio.NewReaderSize(s.meter, 64<<10))
	whole := false
	for {
		t, err := s.d.RawToken()
		if errors.Is(err, io.EOF) && whole {
			return nil
		}
		if err != nil {
			return one(Problem{File: r.table.name, Row: r.table.n + 1, Text: "cannot be read: " + noEOF(err).Error(), rows: true})
		}
		if err := s.token(t); err != nil {
			return err
		}
		if end, ok := t.(xml.EndElement); ok && end.Name.Local == "worksheet" {
			whole = true
		}
	}
}

func (s *sheetReader) token(t xml.Token) error {
	switch t := t.(type) {
	case xml.StartElement:
		switch t.Name.Local {
		case "row":
			s.row(t)
		case "c":
			s.start(t)
		case "v", "t":
			s.into = true
			if t.Name.Local == "v" {
				s.cell.value = s.cell.value[:0]
			}
			s.cell.has = true
		case "rPh", "f":
			s.into = false
		}
	case xml.CharData:
		if s.into {
			s.cell.value = append(s.cell.value, t...)
		}
	case xml.EndElement:
		switch s.into = false; t.Name.Local {
		case "c":
			s.end()
		case "row":
			s.meter.n = 0
			return s.give()
		}
	}
	return nil
}

func (s *sheetReader) row(t xml.StartElement) {
	s.index++
	for _, a := range t.Attr {
		if n, err := strconv.Atoi(a.Value); a.Name.Local == "r" && err == nil && n > 0 {
			s.index = n
		}
	}
	s.record, s.fault, s.cell = s.record[:0], "", cell{column: -1, value: s.cell.value[:0]}
}

func (s *sheetReader) start(t xml.StartElement) {
	c := cell{column: s.cell.column + 1, value: s.cell.value[:0]} // the next one, where it doesn't say
	for _, a := range t.Attr {
		switch a.Name.Local {
		case "r":
			c.column = columnOf(a.Value)
		case "t":
			c.kind = a.Value
		case "s":
			c.style, _ = strconv.Atoi(a.Value)
		}
	}
	s.cell = c
}

func (s *sheetReader) end() {
	c := &s.cell
	if !c.has || len(c.value) == 0 {
		return
	}
	if c.column < 0 || c.column >= maxColumns {
		s.fault = fmt.Sprintf("has more than %d columns", maxColumns)
		return
	}
	text, err := s.book.value(c)
	if err != nil {
		s.fault = err.Error()
		return
	}
	for len(s.record) <= c.column {
		s.record = append(s.record, "")
	}
	s.record[c.column] = text
}

// give takes the row that has ended.
func (s *sheetReader) give() error {
	r := s.r
	if s.rows++; s.rows > maxXLSXRow {
		return one(Problem{File: r.table.name, Text: fmt.Sprintf("has more than %d rows in its sheet", maxXLSXRow), rows: true})
	}
	blank := !slices.ContainsFunc(s.record, func(v string) bool { return strings.TrimSpace(v) != "" })
	switch {
	case s.fault != "":
		return r.lost(s.index, s.fault, "")
	case blank:
		return nil
	case !s.begun:
		s.begun = true
		r.readHeader(s.record, s.index)
		return nil
	case len(s.record) > r.header && strings.Join(s.record[r.header:], "") != "":
		r.line(s.index, fmt.Sprintf("%s, the header has %d", plural(len(s.record), "field"), r.header), "")
	}
	return r.readRecord(s.record, s.index)
}
