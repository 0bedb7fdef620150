package merge

import (
	"archive/zip"
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What an XLSX file may hold. All of it is compressed, so that the size of the
// file says nothing.
const (
	maxSheet   = 1 << 30   // bytes of a sheet; it is read as a stream
	maxShared  = 256 << 20 // bytes of the texts that cells share, with their elements
	maxTexts   = 64 << 20  // bytes of these texts, which are held in memory
	maxParts   = 16 << 20  // bytes of each of the small files
	maxXLSXRow = 1 << 20   // rows of a sheet (ECMA-376, and Excel)
)

// book is an XLSX file (ECMA-376 part 1, §18).
type book struct {
	files  map[string]*zip.File
	sheets []bookSheet
	texts  []byte   // that cells share, one behind the other
	ends   []uint32 // where each of them ends
	dates  map[int]bool
	epoch  time.Time
}

type bookSheet struct{ name, file string }

// readXLSX reads a sheet. The first row that is not empty is the header.
func (r *reader) readXLSX(head *bufio.Reader, in io.Reader, sheet string) error {
	file, size, done, err := seekable(head, in)
	if err != nil {
		return err
	}
	defer done()
	wrong := func(text, hint string) error {
		return one(Problem{File: r.table.name, Text: text, Hint: hint, rows: true})
	}
	archive, err := zip.NewReader(file, size)
	if err != nil {
		return wrong("is not an XLSX file", "")
	}
	b := &book{files: map[string]*zip.File{}, dates: map[int]bool{}}
	for _, f := range archive.File {
		b.files[strings.ToLower(f.Name)] = f
	}
	if err := b.open(); err != nil {
		return wrong("is not an XLSX file that can be read: "+err.Error(), "save it as CSV")
	}
	names := make([]string, len(b.sheets))
	for i, s := range b.sheets {
		names[i] = s.name
	}
	at := 0
	if sheet != "" {
		at = slices.Index(names, sheet)
	}
	switch {
	case len(names) == 0:
		return wrong("is an XLSX file without a sheet", "")
	case at < 0:
		return wrong("has no sheet "+quoted(sheet), "it has "+strings.Join(names[:min(len(names), 20)], ", "))
	}
	return r.readSheet(b, b.sheets[at].file)
}

// open reads everything but the sheets.
func (b *book) open() error {
	var work struct {
		Pr struct {
			Date1904 string `xml:"date1904,attr"`
		} `xml:"workbookPr"`
		Sheets []struct {
			Name string `xml:"name,attr"`
			ID   string `xml:"http://schemas.openxmlformats.org/officeDocument/2006/relationships id,attr"`
			// The same of files in the strict form.
			Strict string `xml:"http://purl.oclc.org/ooxml/officeDocument/relationships id,attr"`
		} `xml:"sheets>sheet"`
	}
	var relations struct {
		List []struct {
			ID     string `xml:"Id,attr"`
			Target string `xml:"Target,attr"`
		} `xml:"Relationship"`
	}
	if err := errors.Join(b.decode("xl/workbook.xml", &work), b.decode("xl/_rels/workbook.xml.rels", &relations)); err != nil {
		return err
	}
	b.epoch = time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)
	if work.Pr.Date1904 == "1" || work.Pr.Date1904 == "true" {
		b.epoch = time.Date(1904, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	target := map[string]string{}
	for _, r := range relations.List {
		target[r.ID] = r.Target
	}
	for _, s := range work.Sheets {
		to := target[s.ID+s.Strict]
		if !strings.HasPrefix(to, "/") {
			to = path.Join("xl", to)
		}
		b.sheets = append(b.sheets, bookSheet{s.Name, strings.ToLower(strings.TrimPrefix(to, "/"))})
	}
	return errors.Join(b.styles(), b.shared())
}

// decode reads one of the small files.
func (b *book) decode(name string, into any) error {
	r, err := b.reader(name, maxParts)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := xml.NewDecoder(r).Decode(into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// part is a file of the archive, up to a number of bytes.
type part struct {
	io.ReadCloser
	name string
	left int64
}

func (p *part) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	if p.left -= int64(n); p.left < 0 {
		return 0, fmt.Errorf("%s has too many bytes", p.name)
	}
	return n, err
}

func (b *book) reader(name string, most int64) (io.ReadCloser, error) {
	f, ok := b.files[strings.ToLower(name)]
	if !ok {
		return nil, fmt.Errorf("there is no %s", quoted(name))
	}
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	return &part{r, quoted(name), most}, nil
}

var inFormat = regexp.MustCompile(`\[[^\]]*\]|\\.|"[^"]*"`)

// styles finds out which styles are of dates: by the numbers of ECMA-376 part
// 1, §18.8.30, and by the signs of a format.
func (b *book) styles() error {
	if b.files["xl/styles.xml"] == nil {
		return nil
	}
	var sheet struct {
		Formats []struct {
			ID   int    `xml:"numFmtId,attr"`
			Code string `xml:"formatCode,attr"`
		} `xml:"numFmts>numFmt"`
		Cells []struct {
			Format int `xml:"numFmtId,attr"`
		} `xml:"cellXfs>xf"`
	}
	if err := b.decode("xl/styles.xml", &sheet); err != nil {
		return err
	}
	dated := map[int]bool{}
	for id := 14; id <= 22; id++ {
		dated[id] = true
	}
	for _, f := range sheet.Formats {
		dated[f.ID] = strings.ContainsAny(inFormat.ReplaceAllString(f.Code, ""), "dmhysDMHYS")
	}
	for i, c := range sheet.Cells {
		if dated[c.Format] {
			b.dates[i] = true
		}
	}
	return nil
}

// shared reads the texts that cells share. One may be of several pieces, with
// what tells how it is pronounced beside it.
func (b *book) shared() error {
	const name = "xl/sharedStrings.xml"
	if b.files[strings.ToLower(name)] == nil {
		return nil
	}
	r, err := b.reader(name, maxShared)
	if err != nil {
		return err
	}
	defer r.Close()
	d := xml.NewDecoder(bufio.NewReaderSize(r, 64<<10))
	inText, spoken, whole := false, false, false
	for {
		t, err := d.RawToken()
		if errors.Is(err, io.EOF) && whole {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, noEOF(err))
		}
		switch t := t.(type) {
		case xml.StartElement:
			inText = t.Name.Local == "t" && !spoken
			spoken = spoken || t.Name.Local == "rPh"
		case xml.EndElement:
			inText = false
			switch t.Name.Local {
			case "rPh":
				spoken = false
			case "si":
				b.ends = append(b.ends, uint32(len(b.texts)))
			case "sst":
				whole = true
			}
		case xml.CharData:
			if inText {
				b.texts = append(b.texts, t...)
			}
		}
		if len(b.texts)+4*len(b.ends) > maxTexts {
			return fmt.Errorf("it holds more than %d MiB of texts", maxTexts>>20)
		}
	}
}

// noEOF is the error of something that ends too early.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

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
	n, err := io.Copy(f, io.LimitReader(head, maxSheet))
	if err != nil {
		done()
		return nil, 0, nil, err
	}
	return f, n, done, nil
}
