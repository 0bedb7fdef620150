package addressbook

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"postern/config/wire"
	"postern/relay/charset"
)

// Formats are those of files that are read.
var Formats = []string{"vcard", "csv", "ldif"}

// maxFile bounds a file with a whole book, in bytes.
const maxFile = 256 << 20

// maxColumns bounds a table.
const maxColumns = 1000

// Source says how a file is to be read.
type Source struct {
	Format  string            // empty: by the content
	Charset string            // where no byte order mark tells; empty: UTF-8, else Windows-1252
	Columns map[string]string // of a table, by the field; those that are missing are guessed
}

// Unreadable is the error of a file that isn't what it should be.
type Unreadable struct {
	Text  string
	Words string // what it holds instead, for who may read it; may be empty
}

func (e *Unreadable) Error() string {
	if e.Words == "" {
		return e.Text
	}
	return e.Text + "; " + e.Words
}

// Contents are those of a file.
type Contents struct {
	Format  string  `json:"format"`
	Charset string  `json:"charset"`
	Guesses []Guess `json:"columns,omitempty"` // of a table
	Cards   []Placed
	Faults  []Fault // whose names are lines
	// Lost is how many cards, rows and records are not in Cards, because of their
	// faults. A card that has lost no more than an address is in Cards.
	Lost int
}

// Placed is a card with the line that it begins at.
type Placed struct {
	Line int
	*Card
}

func (c *Contents) fault(line int, text string) {
	if len(c.Faults) < maxFaults {
		c.Faults = append(c.Faults, Fault{Name: fmt.Sprintf("line %d", line), Text: text})
	} else if len(c.Faults) == maxFaults {
		c.Faults = append(c.Faults, Fault{Text: "there are more faults"})
	}
}

// lose is a fault that leaves a card out.
func (c *Contents) lose(line int, text string) {
	c.Lost++
	c.fault(line, text)
}

// Read reads a file that another program has exported. The error is an
// *Unreadable, or one of the reader.
func (s Source) Read(r io.Reader) (*Contents, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(raw) > maxFile:
		return nil, &Unreadable{Text: fmt.Sprintf("it has more than %d MiB", maxFile>>20)}
	}
	text, name, err := s.decode(raw)
	if err != nil {
		return nil, &Unreadable{Text: err.Error()}
	}
	c := &Contents{Format: s.Format, Charset: name}
	if c.Format == "" {
		c.Format = formatOf(text)
	}
	switch c.Format {
	case "vcard":
		c.readCards(text)
	case "ldif":
		c.readLDIF(text)
	case "csv":
		err = c.readCSV(text, s.Columns)
	default:
		err = &Unreadable{Text: "the format " + wire.Quote(c.Format) + " is none of " + strings.Join(Formats, ", ")}
	}
	return c, err
}

// decode is the text as UTF-8, and the name of the charset that it was in.
func (s Source) decode(raw []byte) ([]byte, string, error) {
	name := s.Charset
	switch {
	case bytes.HasPrefix(raw, []byte("\xff\xfe")), bytes.HasPrefix(raw, []byte("\xfe\xff")):
		text, _, err := transform.Bytes(unicode.BOMOverride(unicode.UTF8.NewDecoder()), raw)
		return text, "utf-16", err
	case bytes.HasPrefix(raw, []byte("\xef\xbb\xbf")):
		return raw[3:], "utf-8", nil
	case name == "" && utf8.Valid(raw):
		return raw, "utf-8", nil
	case name == "" && formatOf(raw) == "vcard": // whose lines say it themselves
		return raw, "of the cards", nil
	case name == "": // what Windows calls ANSI, in the languages that are guessed
		text, err := charmap.Windows1252.NewDecoder().Bytes(raw)
		return text, "windows-1252", err
	}
	d, err := charset.Decoder(name)
	if err != nil {
		return nil, "", err
	}
	text, _, err := transform.Bytes(d, raw)
	return bytes.ToValidUTF8(text, []byte("\ufffd")), name, err
}

func formatOf(text []byte) string {
	head := text[:min(len(text), 4096)]
	for line := range bytes.Lines(head) {
		line = bytes.ToLower(bytes.TrimSpace(line))
		switch {
		case len(line) == 0 || line[0] == '#':
		case bytes.HasPrefix(line, []byte("begin:vcard")):
			return "vcard"
		case bytes.HasPrefix(line, []byte("dn:")), bytes.HasPrefix(line, []byte("version:")):
			return "ldif"
		default:
			return "csv"
		}
	}
	return "csv"
}

// readCards cuts the cards apart first: one that can't be read spoils no other.
func (c *Contents) readCards(text []byte) {
	begin, at, line := -1, 0, 0
	from := 0
	for one := range bytes.Lines(text) {
		line++
		word := bytes.ToUpper(bytes.TrimSpace(one))
		if bytes.Equal(word, []byte("BEGIN:VCARD")) && begin < 0 {
			begin, from = at, line
		}
		at += len(one)
		if begin < 0 && len(word) > 0 {
			c.lose(line, "stands outside of a card")
		}
		if bytes.Equal(word, []byte("END:VCARD")) && begin >= 0 {
			c.take(from, text[begin:at])
			begin = -1
		}
	}
	if begin >= 0 {
		c.lose(from, "the card has no end")
	}
}

func (c *Contents) beyond(line int) {
	c.lose(line, fmt.Sprintf("is beyond the %d cards that are read", maxCards))
}

func (c *Contents) take(line int, text []byte) {
	if len(c.Cards) >= maxCards {
		c.beyond(line)
		return
	}
	card, err := ParseCard(text)
	if err != nil {
		c.lose(line, err.Error())
		return
	}
	for _, f := range card.Faults() {
		c.fault(line, f)
	}
	c.Cards = append(c.Cards, Placed{line, card})
}

func (c *Contents) readCSV(text []byte, named map[string]string) error {
	first, _, _ := bytes.Cut(text, []byte("\n"))
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord, r.LazyQuotes, r.ReuseRecord, r.Comma = -1, true, true, ','
	for _, comma := range ";\t" {
		if bytes.Count(first, []byte(string(comma))) > bytes.Count(first, []byte(string(r.Comma))) {
			r.Comma = comma
		}
	}
	header, err := r.Read()
	switch {
	case err == io.EOF:
		return &Unreadable{Text: "it is empty"}
	case err != nil:
		return &Unreadable{Text: "its header cannot be read: " + err.Error()}
	case len(header) > maxColumns:
		return &Unreadable{Text: fmt.Sprintf("it has more than %d columns", maxColumns)}
	}
	at, guesses, err := guess(slices.Clone(header), named)
	if err != nil {
		return err
	}
	c.Guesses = guesses
	for {
		row, err := r.Read()
		if err == io.EOF {
			return nil
		}
		var bad *csv.ParseError
		if errors.As(err, &bad) {
			c.lose(bad.StartLine, bad.Err.Error())
			continue
		} else if err != nil {
			return err
		}
		line, _ := r.FieldPos(0)
		card, faults := at.card(row, func(v string) string { return wire.Quote(wire.Line(v)) })
		for _, f := range faults {
			c.fault(line, f)
		}
		switch {
		case card == nil && len(faults) > 0:
			c.Lost++
		case card == nil: // an empty row
		case len(c.Cards) >= maxCards:
			c.beyond(line)
			return nil
		default:
			c.Cards = append(c.Cards, Placed{line, card})
		}
	}
}
