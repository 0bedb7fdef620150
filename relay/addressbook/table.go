package addressbook

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"postern/config/wire"
)

// maxColumns bounds a table.
const maxColumns = 1000

// maxResumed is how often the rows of a table are begun again behind a quote that
// is not closed: each time costs the rest of the table.
const maxResumed = 20

// table is one that is being read.
type table struct {
	*Contents
	text  []byte // the rest of it
	line  int    // of the file, before the rest
	comma rune
	at    columns
}

func (c *Contents) readCSV(text []byte, named map[string]string) error {
	t := &table{Contents: c, text: text, comma: ','}
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	if comma := separator(first); comma != 0 { // which Excel writes, and no other program understands
		t.text, t.line, t.comma = rest, 1, comma
	} else {
		for _, comma := range ";\t" {
			if bytes.Count(first, []byte(string(comma))) > bytes.Count(first, []byte(string(t.comma))) {
				t.comma = comma
			}
		}
	}
	r := t.reader()
	header, err := r.Read()
	switch {
	case err == io.EOF:
		return &Unreadable{Text: "it is empty"}
	case err != nil:
		return &Unreadable{Text: "its header cannot be read: " + err.Error()}
	case len(header) > maxColumns:
		return &Unreadable{Text: fmt.Sprintf("it has more than %d columns", maxColumns)}
	}
	if t.at, c.Guesses, err = guess(slices.Clone(header), named); err != nil {
		return err
	}
	c.Unused = t.at.unused(header)
	t.pass(int(r.InputOffset()))
	for range maxResumed {
		if again, err := t.rows(); err != nil || !again {
			return err
		}
	}
	c.lose(t.line+1, "has a quote that is not closed, as many rows before: nothing is read from here on")
	return nil
}

// separator is that of a first line "sep=;"; 0: it is another line.
func separator(line []byte) rune {
	word := strings.ToLower(strings.Trim(strings.TrimRight(string(line[:min(len(line), 20)]), "\r\n "), `"`))
	if comma, ok := strings.CutPrefix(word, "sep="); ok && len(comma) == 1 && strings.Contains(",;|\t", comma) {
		return rune(comma[0])
	}
	return 0
}

func (t *table) reader() *csv.Reader {
	r := csv.NewReader(bytes.NewReader(t.text))
	r.FieldsPerRecord, r.LazyQuotes, r.ReuseRecord, r.Comma = -1, true, true, t.comma
	return r
}

// pass leaves bytes behind.
func (t *table) pass(n int) {
	t.line += bytes.Count(t.text[:n], []byte("\n"))
	t.text = t.text[n:]
}

// rows reads the rest of the rows. again: one of them has a quote that is not
// closed, and the rest begins behind its line.
func (t *table) rows() (again bool, err error) {
	r := t.reader()
	for began := 0; ; {
		row, err := r.Read()
		if err == io.EOF {
			return false, nil
		}
		var bad *csv.ParseError
		if errors.As(err, &bad) {
			t.lose(t.line+bad.StartLine, bad.Err.Error())
			continue
		} else if err != nil {
			return false, err
		}
		line, _ := r.FieldPos(0)
		ended := int(r.InputOffset())
		if t.unclosed(row, t.text[began:ended]) {
			t.lose(t.line+line, "has a quote that is not closed")
			began += len(t.text[began:]) - len(bytes.TrimLeft(t.text[began:], "\r\n"))
			t.pass(began + bytes.IndexByte(t.text[began:ended], '\n') + 1)
			return true, nil
		}
		if began = ended; !t.take(t.line+line, row) {
			return false, nil
		}
	}
}

// unclosed tells whether a quote in a row has swallowed the rows behind it: it goes
// to the end of the table, or has an address in a name that has more than a line.
func (t *table) unclosed(row []string, raw []byte) bool {
	raw = bytes.Trim(raw, "\r\n")
	if bytes.IndexByte(raw, '\n') < 0 {
		return false
	}
	if bytes.HasSuffix(t.text, raw) || bytes.HasSuffix(bytes.TrimRight(t.text, "\r\n"), raw) {
		if bytes.Count(raw, []byte(`"`))%2 == 1 {
			return true
		}
	}
	for _, field := range []string{fieldName, fieldFirst, fieldMiddle, fieldLast, fieldNickname, fieldEmail} {
		for _, i := range t.at[field] {
			if i < len(row) && strings.Contains(row[i], "\n") && strings.Contains(row[i], "@") && (field != fieldEmail || strings.Contains(row[i], `"`)) {
				return true
			}
		}
	}
	return false
}

// take makes a card of a row; false: there are too many.
func (t *table) take(line int, row []string) bool {
	card, faults := t.at.card(row, func(v string) string { return wire.Quote(wire.Line(v)) })
	for _, f := range faults {
		t.fault(line, f)
	}
	switch {
	case card == nil && len(faults) > 0:
		t.Lost++
	case card == nil && slices.ContainsFunc(row, func(cell string) bool { return strings.TrimSpace(cell) != "" }):
		t.lose(line, "has neither a name nor an address")
	case card == nil: // an empty row
	case len(t.Cards) >= maxCards:
		t.beyond(line)
		return false
	default:
		t.Cards = append(t.Cards, Placed{line, card})
	}
	return true
}
