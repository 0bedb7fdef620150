package addressbook

import (
	"bytes"
	"fmt"
	"io"
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
	Format  string   `json:"format"`
	Charset string   `json:"charset"`
	Guesses []Guess  `json:"columns,omitempty"` // of a table
	Unused  []string `json:"-"`                 // columns of a table of which nothing is taken
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
	text = lineEnds(text)
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
	case name == "" && wide(raw) != "": // as some write it, without a mark
		return Source{Charset: wide(raw)}.decode(raw)
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

// wide is the charset of a text in UTF-16 that has no mark; empty: it is none.
func wide(raw []byte) string {
	head := raw[:min(len(raw), 400)&^1]
	var zeros [2]int
	for i, c := range head {
		if c == 0 {
			zeros[i%2]++
		}
	}
	switch most := len(head) / 4; { // half of the characters
	case zeros[0] == 0 && zeros[1] > most:
		return "utf-16le"
	case zeros[1] == 0 && zeros[0] > most:
		return "utf-16be"
	}
	return ""
}

// lineEnds is the text with line ends of one byte, where its lines end by a CR
// alone: so wrote a Mac.
func lineEnds(text []byte) []byte {
	i := bytes.IndexAny(text, "\r\n")
	if i < 0 || text[i] == '\n' || bytes.HasPrefix(bytes.TrimLeft(text[i:], "\r"), []byte("\n")) {
		return text
	}
	return bytes.ReplaceAll(text, []byte("\r"), []byte("\n"))
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
	var card []byte // from its begin on; nil: outside of one
	line, from, size := 0, 0, 0
	agent := 0 // where the line of a card in this one begins; 0: there is none
	for one := range bytes.Lines(text) {
		line++
		word := bytes.ToUpper(bytes.TrimSpace(one))
		switch {
		case bytes.Equal(word, []byte("BEGIN:VCARD")):
			if within := len(card) - size; card != nil && bytes.HasPrefix(bytes.ToUpper(card[within:]), []byte("AGENT")) { // vCard 2.1
				agent = within
				break
			} else if card != nil {
				c.lose(from, "the card has no end")
			}
			card, from, agent = []byte{}, line, 0
		case card == nil && len(word) > 0:
			c.lose(line, "stands outside of a card")
		}
		if card == nil {
			continue
		}
		card, size = append(card, one...), len(one)
		switch {
		case !bytes.Equal(word, []byte("END:VCARD")):
		case agent > 0:
			c.lose(line, "the card in another one, its AGENT, is left out")
			card, agent, size = card[:agent], 0, 0
		default:
			c.take(from, card)
			card = nil
		}
	}
	if card != nil {
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
	for i := range card.lines { // as Outlook writes other versions too
		card.lines[i].ansi = true
	}
	for _, f := range card.Faults() {
		c.fault(line, f)
	}
	c.Cards = append(c.Cards, Placed{line, card})
}
