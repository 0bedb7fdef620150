package merge

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	charsets "postern/relay/charset"
)

// StandardInput is how rows from standard input are called in problems.
const StandardInput = "standard input"

// reader reads rows of one source into a table.
type reader struct {
	table    *table
	found    *Problems
	warn     func(Problem)
	cells    []any // of the row that is read
	had      []int // by column, the last row of JSON with it, from 1
	header   int   // columns of the header of CSV and XLSX
	ignored  []bool
	consumed *meter
}

// readRows reads all rows of a step. What is wrong with single lines goes to
// found; the error is that of ctx, or for what cannot be read at all.
func (s *Step) readRows(ctx context.Context, o *Options, found *Problems, warn func(Problem)) (*table, error) {
	in, name, err := s.openRows(ctx, o)
	if err != nil {
		p := s.problem("rows", err.Error(), "")
		p.Kind = NoInput
		return nil, one(p)
	}
	t := newTable(name)
	t.indexed = s.Rows.Per != "" && s.Rows.Per != PerRow && s.Rows.Per != PerAll
	t.keeps = o.KeepGoing
	r := &reader{table: t, found: found, warn: warn}
	// A pipe may be silent for ever; what a program prints ends with ctx by itself.
	stop := func() bool { return true }
	if f, ok := in.(*os.File); ok {
		stop = context.AfterFunc(ctx, func() { _ = f.Close() })
	}
	err = r.read(&source{ctx.Err, in, maxRows}, in, &s.Rows)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	var problems *Problems
	if c, ok := in.(*printed); ok && err != nil {
		c.abandon()
	} else if closing := in.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = t.done()
	}
	if err != nil {
		t.close()
		if errors.As(err, &problems) {
			return nil, err
		} else if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, one(Problem{Kind: NoInput, File: name, Text: "cannot be read: " + Reason(err)})
	}
	return t, nil
}

// openRows opens the file, standard input or a command.
func (s *Step) openRows(ctx context.Context, o *Options) (io.ReadCloser, string, error) {
	switch {
	case len(s.Rows.Command) > 0:
		c, err := start(ctx, s.Rows.Command, s.folder())
		return c, "the output of " + s.Rows.Command[0], err
	case s.Rows.File == "-":
		if o.Stdin == nil {
			return nil, "", errors.New("there is no standard input")
		}
		return io.NopCloser(o.Stdin), StandardInput, nil
	}
	f, err := openFile(s.path(s.Rows.File))
	if err != nil {
		return nil, "", fmt.Errorf("%s: %s", s.Rows.File, Reason(err))
	}
	return f, s.Rows.File, nil
}

// openFile opens a file and refuses a folder. A pipe is welcome: a shell hands
// over by it what another program writes.
func openFile(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, errors.New("is a folder")
	}
	return f, nil
}

// source is what rows come from. It ends where over has an error, and where there
// is more than left.
type source struct {
	over func() error
	r    io.Reader
	left int64
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.over(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	if s.left -= int64(n); s.left < 0 {
		return 0, fmt.Errorf("there are more than %d MiB of rows", maxRows>>20)
	}
	return n, err
}

// meter ends the reading where a single row takes more than maxRow, or has more
// than maxSigns between its cells, each of which takes memory.
type meter struct {
	r     io.Reader
	n     int
	sign  byte // of CSV; 0: none
	signs int
}

func (m *meter) reset() { m.n, m.signs = 0, 0 }

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if m.n += n; m.n > maxRow+64<<10 && err == nil {
		err = fmt.Errorf("a row has more than %d MiB: is a quote not closed?", maxRow>>20)
	}
	if m.sign != 0 {
		if m.signs += bytes.Count(p[:n], []byte{m.sign}); m.signs > maxSigns && err == nil {
			err = fmt.Errorf("a row has more than %d cells: is a quote not closed?", maxSigns)
		}
	}
	return n, err
}

// read reads rows of whatever format. in is what from reads, for an XLSX file, which
// is read here and there.
func (r *reader) read(from, in io.Reader, rows *Rows) error {
	head := bufio.NewReaderSize(from, 64<<10)
	format := rows.Format
	if format == "" || format == Auto {
		format = r.formatOf(rows, head)
	}
	if format == XLSX {
		return r.readXLSX(head, in, rows.Sheet)
	}
	if rows.Sheet != "" {
		r.warn(Problem{File: r.table.name, Text: "has no sheets, and rows.sheet names one", rows: true})
	}
	plain, err := decoded(head, rows.Charset)
	if err != nil {
		return one(Problem{Field: "rows.charset", Text: err.Error()})
	}
	r.consumed = &meter{r: plain}
	text := bufio.NewReaderSize(r.consumed, 64<<10)
	switch format {
	case JSON, NDJSON:
		return r.readJSON(text, format)
	case TSV:
		return r.readCSV(text, '\t')
	case CSV:
		return r.readCSV(text, delimiter(text, ",;"))
	}
	return r.readAny(text)
}

var byExtension = map[string]Format{
	".csv": CSV, ".tsv": TSV, ".tab": TSV, ".json": JSON, ".ndjson": NDJSON, ".jsonl": NDJSON, ".xlsx": XLSX, ".xlsm": XLSX,
}

// formatOf goes by the name of a file, then by how the content begins; Auto:
// only its text can tell.
func (r *reader) formatOf(rows *Rows, head *bufio.Reader) Format {
	if f, ok := byExtension[strings.ToLower(filepath.Ext(rows.File))]; ok {
		return f
	}
	if b, _ := head.Peek(4); string(b) == "PK\x03\x04" {
		return XLSX
	}
	return Auto
}

// readAny tells JSON from CSV by the first sign.
func (r *reader) readAny(text *bufio.Reader) error {
	b, _ := text.Peek(4 << 10)
	switch b = bytes.TrimLeft(b, " \t\r\n"); {
	case len(b) > 0 && b[0] == '[':
		return r.readJSON(text, JSON)
	case len(b) > 0 && b[0] == '{':
		return r.readJSON(text, NDJSON)
	}
	return r.readCSV(text, delimiter(text, ",;\t"))
}

// delimiter is the one of candidates that the first line has most often,
// outside of quotes.
func delimiter(text *bufio.Reader, candidates string) rune {
	line, _ := text.Peek(8 << 10)
	count, inQuotes := map[byte]int{}, false
	for _, c := range line {
		if c == '"' {
			inQuotes = !inQuotes
		}
		if c == '\n' && !inQuotes {
			break
		}
		if !inQuotes {
			count[c]++
		}
	}
	best := candidates[0]
	for i := range len(candidates) {
		if count[candidates[i]] > count[best] {
			best = candidates[i]
		}
	}
	return rune(best)
}

// decoded is text as UTF-8: a byte order mark decides, else charset.
func decoded(head *bufio.Reader, charset string) (io.Reader, error) {
	fallback, err := charsets.Decoder(charset)
	if err != nil {
		return nil, err
	}
	if b, _ := head.Peek(64); charset == "" && !bytes.HasPrefix(b, []byte("\xff\xfe")) && !bytes.HasPrefix(b, []byte("\xfe\xff")) && len(b) >= 8 && bytes.Count(b, []byte{0}) >= len(b)/4 {
		order := "utf-16le"
		if b[0] == 0 {
			order = "utf-16be"
		}
		return nil, fmt.Errorf("the rows look like UTF-16 without a byte order mark: rows.charset = '%s' reads them", order)
	}
	return transform.NewReader(head, unicode.BOMOverride(fallback)), nil
}
