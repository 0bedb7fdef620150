package merge

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// xlsx is an XLSX file whose sheet and shared texts are written by functions:
// what a bomb holds need not be in memory.
func xlsx(t *testing.T, parts map[string]func(w io.Writer)) string {
	t.Helper()
	text := func(s string) func(io.Writer) { return func(w io.Writer) { io.WriteString(w, s) } }
	all := map[string]func(io.Writer){
		"xl/workbook.xml":            text(`<workbook xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="Due" r:id="rId1"/></sheets></workbook>`),
		"xl/_rels/workbook.xml.rels": text(`<Relationships><Relationship Id="rId1" Target="/xl/worksheets/sheet1.xml"/></Relationships>`),
	}
	for name, write := range parts {
		all[name] = write
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, write := range all {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		write(w)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const (
	sheetFile  = "xl/worksheets/sheet1.xml"
	sharedFile = "xl/sharedStrings.xml"
	headerRow  = `<row r="1"><c r="A1" t="inlineStr"><is><t>email</t></is></c></row>`
)

func sheetOf(rows string) func(io.Writer) {
	return func(w io.Writer) { fmt.Fprintf(w, "<worksheet><sheetData>%s</sheetData></worksheet>", rows) }
}

// repeated writes a piece very often.
func repeated(before, piece string, n int, after string) func(io.Writer) {
	return func(w io.Writer) {
		io.WriteString(w, before)
		block := strings.Repeat(piece, 1<<10)
		for range n >> 10 {
			io.WriteString(w, block)
		}
		io.WriteString(w, after)
	}
}

// lowered lowers what rows may take, by a factor, unless POSTERN_LONG is set: then
// what is too large is as large as it has to be outside of tests. The race detector
// would make minutes of it.
func lowered(t *testing.T) (by int) {
	if os.Getenv("POSTERN_LONG") != "" && !raceEnabled {
		return 1
	}
	const factor = 16
	for _, bound := range []*int{&maxRow, &maxSigns, &maxValues, &maxXLSXRow} {
		was := *bound
		*bound /= factor
		t.Cleanup(func() { *bound = was })
	}
	parts, texts := maxParts, maxTexts
	maxParts, maxTexts = maxParts/factor, 1<<20
	t.Cleanup(func() { maxParts, maxTexts = parts, texts })
	return factor
}

func megabytes(n int) string { return strconv.Itoa(n>>20) + " MiB" }

// TestBombs: rows that are small and would become large, or that would keep the
// program busy, are told of, within bounds of memory and time.
func TestBombs(t *testing.T) {
	by, most := lowered(t), uint64(400<<20)
	if by > 1 {
		most = 100 << 20
	}
	for name, c := range map[string]struct {
		file, rows string
		parts      map[string]func(io.Writer)
		want       string
	}{
		"XLSX: empty cells in a row": {file: "due.xlsx", parts: map[string]func(io.Writer){
			sheetFile: repeated("<worksheet><sheetData>"+headerRow+`<row r="2">`, `<c r="A2" s="1"/>`, 1<<21/by, "</row></sheetData></worksheet>"),
		}, want: "due.xlsx: row 1: cannot be read: a row has more than " + megabytes(maxRow)},
		"XLSX: rows without end": {file: "due.xlsx", parts: map[string]func(io.Writer){
			sheetFile: repeated("<worksheet><sheetData>"+headerRow, `<row/>`, 1<<21/by, "</sheetData></worksheet>"),
		}, want: "due.xlsx: has more than " + strconv.Itoa(maxXLSXRow) + " rows in its sheet"},
		"XLSX: one long text": {file: "due.xlsx", parts: map[string]func(io.Writer){
			sheetFile: repeated("<worksheet><sheetData>"+headerRow+`<row><c t="inlineStr"><is><t>`, "xxxxxxxxxxxxxxxx", 4<<20/by, "</t></is></c></row></sheetData></worksheet>"),
		}, want: "due.xlsx: row 1: cannot be read: a row has more than " + megabytes(maxRow)},
		"XLSX: shared texts": {file: "due.xlsx", parts: map[string]func(io.Writer){
			sheetFile: sheetOf(headerRow), sharedFile: repeated("<sst>", "<si><t>"+strings.Repeat("x", 1<<10)+"</t></si>", maxTexts>>10+maxTexts>>12, "</sst>"),
		}, want: "due.xlsx: is not an XLSX file that can be read: it holds more than " + megabytes(maxTexts) + " of texts (save it as CSV)"},
		"XLSX: shared texts without text": {file: "due.xlsx", parts: map[string]func(io.Writer){
			sheetFile: sheetOf(headerRow), sharedFile: repeated("<sst>", "<si/>", maxTexts/perText+maxTexts/perText/4, "</sst>"),
		}, want: "due.xlsx: is not an XLSX file that can be read: it holds more than " + megabytes(maxTexts) + " of texts (save it as CSV)"},
		"XLSX: styles": {file: "due.xlsx", parts: map[string]func(io.Writer){
			sheetFile: sheetOf(headerRow), "xl/styles.xml": repeated("<styleSheet><cellXfs>", "<xf numFmtId='14'/>", 1<<20/by, "</cellXfs></styleSheet>"),
		}, want: "due.xlsx: is not an XLSX file that can be read: xl/styles.xml: \"xl/styles.xml\" has too many bytes (save it as CSV)"},
		"XLSX: a text that is not there": {file: "due.xlsx", parts: map[string]func(io.Writer){
			sheetFile: sheetOf(headerRow + `<row r="7"><c r="A7" t="s"><v>-1</v></c></row>`),
		}, want: `due.xlsx: line 7: column 1 refers to text "-1" of 0`},
		"XLSX: cut off": {file: "due.xlsx", parts: map[string]func(io.Writer){
			sheetFile: func(w io.Writer) {
				io.WriteString(w, "<worksheet><sheetData>"+headerRow+`<row><c t="inlineStr"><is><t>b@example.com</t></is></c></row>`)
			},
		}, want: "due.xlsx: row 2: cannot be read: unexpected EOF"},
		"XLSX: a far column": {file: "due.xlsx", parts: map[string]func(io.Writer){
			sheetFile: sheetOf(headerRow + `<row r="2"><c r="ZZZZZZZZZZZZZZZZ2"><v>1</v></c></row>`),
		}, want: "due.xlsx: line 2: has more than 16384 columns"},
		"XLSX: no sheet": {file: "due.xlsx", want: `due.xlsx: there is no "xl/worksheets/sheet1.xml"`},
		"CSV: cells":     {file: "due.csv", rows: "email\n" + strings.Repeat(",", 3<<20/by) + "\n", want: "due.csv: cannot be read: a row has more than " + strconv.Itoa(maxSigns) + " cells: is a quote not closed?"},
		"CSV: columns":   {file: "due.csv", rows: "email" + strings.Repeat(",x", 20<<10) + "\n", want: `due.csv: line 1: column "x" is there twice`},
		"CSV: a quote":   {file: "due.csv", rows: "email\n\"" + strings.Repeat("x\n", 10<<20/by) + "\n", want: "due.csv: cannot be read: a row has more than " + megabytes(maxRow) + ": is a quote not closed?"},
		"JSON: a list":   {file: "due.json", rows: `[{"email":"b@example.com","x":[` + strings.Repeat("[],", 4<<20/by) + `1]}]`, want: "due.json: row 1: holds a list of more than " + strconv.Itoa(maxValues) + " values"},
		"JSON: in one":   {file: "due.json", rows: `{"rows":[{"email":"b@example.com","x":{"a":[` + strings.Repeat("[],", 4<<20/by) + `1]}}]}`, want: "due.json: row 1: holds a list of more than " + strconv.Itoa(maxValues) + " values"},
		"JSON: depth":    {file: "due.json", rows: `[{"email":"b@example.com","x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}]`, want: "due.json: row 1: is not JSON: invalid character '[' exceeded max depth"},
		"JSON: a text":   {file: "due.json", rows: `[{"email":"b@example.com","x":"` + strings.Repeat("x", 20<<20/by) + `"}]`, want: "due.json: cannot be read: a row has more than " + megabytes(maxRow)},
	} {
		t.Run(name, func(t *testing.T) {
			if c.rows == "" {
				c.rows = xlsx(t, c.parts)
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			begun := time.Now()
			got, _ := problemsOf(t, map[string]string{"step.toml": strings.Replace(simple, "due.csv", c.file, 1), c.file: c.rows}, Options{})
			took := time.Since(begun)
			runtime.ReadMemStats(&after)
			if first, _, _ := strings.Cut(got, "\n"); !strings.HasPrefix(first, c.want) {
				t.Errorf("got\n%s\nwant\n%s", first[:min(len(first), 500)], c.want)
			}
			// What grows with the square takes hours; the others up to a minute where
			// the machine is busy and races are looked for.
			if grown := after.Sys - before.Sys; took > 4*time.Minute || grown > most {
				t.Errorf("took %v and %d MiB", took, grown>>20)
			}
		})
	}
}

// TestSheets: what XLSX files of programs hold.
func TestSheets(t *testing.T) {
	parts := map[string]func(io.Writer){
		"xl/workbook.xml": func(w io.Writer) {
			io.WriteString(w, `<x:workbook xmlns:x="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><x:workbookPr date1904="false"/><x:sheets><x:sheet name="Due" sheetId="1" r:id="rId1"/></x:sheets></x:workbook>`)
		},
		"xl/styles.xml": func(w io.Writer) {
			io.WriteString(w, `<styleSheet><numFmts><numFmt numFmtId="170" formatCode="[Red]yyyy\-mm\-dd"/><numFmt numFmtId="171" formatCode="0.0 &quot;days&quot;"/></numFmts><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="170"/><xf numFmtId="171"/></cellXfs></styleSheet>`)
		},
		sharedFile: func(w io.Writer) {
			io.WriteString(w, `<sst><si><t>email</t></si><si><r><t>M</t></r><r><t xml:space="preserve">ü </t></r><rPh><t>no</t></rPh></si><si><t>x</t></si></sst>`)
		},
		sheetFile: func(w io.Writer) {
			io.WriteString(w, `<x:worksheet xmlns:x="m"><x:sheetData>`+
				`<x:row r="2"><x:c r="A2" t="s"><x:v>0</x:v></x:c><x:c r="B2" t="str"><x:f>1+1</x:f><x:v>name</x:v></x:c><x:c t="inlineStr"><x:is><x:r><x:t>da</x:t></x:r><x:r><x:t>te</x:t></x:r></x:is></x:c><x:c r="D2" t="s"><x:v>2</x:v></x:c></x:row>`+
				`<x:row><x:c r="A3" t="inlineStr"><x:is><x:t>b@example.com</x:t></x:is></x:c><x:c r="B3" t="s"><x:v>1</x:v></x:c><x:c r="C3" s="1"><x:v>45992</x:v></x:c><x:c r="D3" s="3"><x:v>1.5</x:v></x:c></x:row>`+
				`<x:row><x:c r="A4" t="inlineStr"><x:is><x:t>c@example.com</x:t></x:is></x:c><x:c r="C4" s="2"><x:v>45992.75</x:v></x:c><x:c r="D4" t="b"><x:v>1</x:v></x:c></x:row>`+
				`</x:sheetData></x:worksheet>`)
		},
	}
	p := planOf(t, map[string]string{"step.toml": strings.Replace(simple, "due.csv", "due.xlsx", 1), "due.xlsx": xlsx(t, parts)}, Options{})
	var got []string
	_ = p.groups(func(g *Group) bool {
		r := g.Rows[0]
		got = append(got, fmt.Sprint(r["email"], "|", r["name"], "|", r["date"], "|", r["x"]))
		return true
	})
	want := []string{"b@example.com|Mü |2025-12-01|1.5", "c@example.com||2025-12-01T18:00:00Z|1"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestWorkIsBounded: loops over functions that each work on much.
func TestWorkIsBounded(t *testing.T) {
	defer func(n int) { maxWork = n }(maxWork)
	maxWork = 1 << 20
	const loop = "{{range split \"\" .x}}"
	for name, text := range map[string]string{
		"replace":  loop + `{{$y := replace "x" "yy" $.x}}{{end}}`,
		"upper":    loop + `{{$y := upper $.x}}{{end}}`,
		"title":    loop + `{{$y := title $.x}}{{end}}`,
		"split":    loop + `{{$y := split "x" $.x}}{{end}}`,
		"printf":   loop + `{{$y := printf "%q" $.x}}{{end}}`,
		"json":     loop + `{{$y := json $.x}}{{end}}`,
		"csv":      loop + `{{$y := csv $.rows "x"}}{{end}}`,
		"table":    loop + `{{$y := table $.rows}}{{end}}`,
		"markdown": loop + `{{$y := markdown $.x}}{{end}}`,
		"file":     loop + `{{$y := file "due.csv"}}{{end}}`,
		"html":     loop + `{{$y := html $.x}}{{end}}`,
		"sum":      loop + `{{$y := sum $.rows "n0"}}{{end}}`,
	} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			step := "from = 'a@example.com'\nto = '{{.email}}'\nsubject = 's'\nhtml = '''" + text + "'''\n[rows]\nfile = 'due.csv'\n"
			rows := "email,n0,x\nb@example.com,1," + strings.Repeat("x", 1<<15) + "\n"
			got, _ := problemsOf(t, map[string]string{"step.toml": step, "due.csv": rows}, Options{})
			if want := "takes too long: its functions work on more than 1 MiB"; !strings.Contains(got, want) {
				t.Errorf("got %.300s", got)
			}
			t.Log(time.Since(begun))
			if took := time.Since(begun); took > time.Minute {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestToldOnce: nothing is told twice, and a short line is only that.
func TestToldOnce(t *testing.T) {
	files := map[string]string{
		"step.toml": strings.Replace(simple, "subject", "cc = ['group:Ops']\nsubject", 1) + "require = ['email', 'due']\n",
		"due.csv":   "email,due\nb@example.com\nbob@,2\nc@example.com,\n\"d\"x,\ne@example.com,5\n",
	}
	want := "cc: group:Ops: no address book is configured (write the addresses themselves)\n" +
		"due.csv: line 2: 1 field, the header has 2\n" +
		"due.csv: line 5: a quoted field is not closed, or text follows its end\n" +
		"due.csv: row 2: to: \"bob@\" is not an address\n" +
		"due.csv: row 3: due: is empty, and rows.require names it"
	if got, _ := problemsOf(t, files, Options{}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var warned []string
	p := planOf(t, files, Options{KeepGoing: true, Warn: func(w Problem) { warned = append(warned, w.String()) }})
	err := p.Check(context.Background(), 2, nil)
	if err == nil || err.Error() != strings.Split(want, "\n")[0] {
		t.Errorf("the error is %v", err)
	}
	for _, w := range warned {
		if strings.Contains(w, "group:Ops") {
			t.Errorf("also a warning: %s", w)
		}
	}
	files["step.toml"] = simple + "require = ['email', 'due']\n"
	p = planOf(t, files, Options{KeepGoing: true})
	if err := p.Check(context.Background(), 2, nil); err != nil {
		t.Fatal(err)
	}
	var left []string
	_ = p.groups(func(g *Group) bool { left = append(left, fmt.Sprint(g.Row, g.Bad != "")); return true })
	if got := strings.Join(left, " "); got != "1 true 2 true 3 true 4 true 5 false" {
		t.Errorf("left out: %s", got)
	}
}

// TestDoubts: what is told and is no reason not to send.
func TestDoubts(t *testing.T) {
	const rows = `{"n":1,"row":1,"to":["b@example.com","c@example.com"]}`
	for name, c := range map[string]struct{ step, rows, want string }{
		"result of send": {"from = 'a@example.com'\nto = '{{addresses .to}}'\nsubject = '{{index .row \"n\"}}'\ntext = 't'\n[rows]\nfile = 'due.json'\n", rows, ""},
		"mistaken":       {"from = 'a@example.com'\nto = '{{addresses .to}}'\nsubject = '{{.n}} {{.row}}'\ntext = 't'\n[rows]\nfile = 'due.json'\n", rows, "due.json: column \"n\" is reached by {{index .row \"n\"}} only: {{.n}} is something else|due.json: column \"row\" is reached by {{index .row \"row\"}} only: {{.row}} is something else"},
		"no subject":     {"from = 'a@example.com'\nto = 'b@example.com'\ntext = 't'\n", "", "the message has no subject"},
		"no text":        {"from = 'a@example.com'\nto = 'b@example.com'\nsubject = 's'\ntext = ''\n", "", "the message has neither text nor attachment"},
		"some":           {"from = 'a@example.com'\nto = 'b@example.com'\nsubject = '{{.s}}'\ntext = '{{.s}}'\n[rows]\nfile = 'due.json'\n", `[{"s":"x"},{"s":""},{"s":" "},{"s":""}]`, "2 messages have no subject, the first is message 2|3 messages have neither text nor attachment, the first is message 2"},
		"attached":       {"from = 'a@example.com'\nto = 'b@example.com'\nsubject = 's'\n[[attach]]\nfile = 'due.json'\n", "[]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var told []string
			p := planOf(t, map[string]string{"step.toml": c.step, "due.json": c.rows}, Options{Warn: func(w Problem) { told = append(told, w.String()) }})
			if err := p.Check(context.Background(), 2, nil); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(told, "|"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestFlagsAreNamed: a problem names what the user wrote.
func TestFlagsAreNamed(t *testing.T) {
	step := &Step{From: "a@", To: []string{"b@example.com"}, Text: Content{Set: true, Text: "{{.var.x"}, Attach: []Attach{{File: "gone"}, {File: "gone too"}},
		Flags: map[string]string{"from": "--from", "text": "--body", "attach[1]": "--attach"}}
	_, err := Prepare(context.Background(), step, Options{})
	if want := "--body: unclosed action"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	step.Text.Text = "t"
	p, err := Prepare(context.Background(), step, Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = p.Check(context.Background(), 1, nil)
	want := "--from: \"a@\" is not an address\nattach[0].file: gone: no such file\n--attach: gone too: no such file"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestMessageIDs: the relay adds one where no copy has to have the same.
func TestMessageIDs(t *testing.T) {
	for want, c := range map[string]struct {
		save string
		o    Options
	}{
		"@example.com>\r\n":       {"", Options{}},
		"@relay.example.net>\r\n": {"x.eml", Options{Domain: "relay.example.net", RelayAdds: true}},
		"@[192.0.2.1]>\r\n":       {"", Options{Domain: "[192.0.2.1]"}},
		"":                        {"", Options{Domain: "relay.example.net", RelayAdds: true}},
	} {
		step := &Step{From: "a@example.com", To: []string{"b@example.com"}, Subject: "s", Text: Content{Set: true, Text: "t"}, Save: c.save}
		p, err := Prepare(context.Background(), step, c.o)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := rendered(t, p)[0].WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		_, id, has := strings.Cut(b.String(), "Message-ID: <")
		if line, _, _ := strings.Cut(id, "\n"); has != (want != "") || !strings.HasSuffix(line+"\n", want) {
			t.Errorf("want %q in\n%s", want, b.String())
		}
	}
}
