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
	"strings"
	"sync"
	"time"
)

// What an XLSX file may hold. All of it is compressed, so that the size of the
// file says nothing.
const (
	maxSheet  = 1 << 30   // bytes of a sheet; it is read as a stream
	maxShared = 256 << 20 // bytes of the texts that cells share, with their elements
	perText   = 16        // bytes that each of them counts for beside its own, as it takes time
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

var inFormat = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\[[^\]]*\]|\\.|"[^"]*"`)
})

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
		dated[f.ID] = strings.ContainsAny(inFormat().ReplaceAllString(f.Code, ""), "dmhysDMHYS")
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
		if len(b.texts)+perText*len(b.ends) > maxTexts {
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
