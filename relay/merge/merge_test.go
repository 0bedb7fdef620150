package merge

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"unicode/utf16"

	"postern/relay/compose"
)

var update = flag.Bool("update", false, "rewrite golden files")

// rendered makes every message of a plan.
func rendered(t *testing.T, p *Plan) []*Message {
	t.Helper()
	if err := p.Check(context.Background(), 2, nil); err != nil {
		t.Fatalf("check: %v", err)
	}
	var all []*Message
	err := Each(context.Background(), p, 2, func(ctx context.Context, r *Renderer, g *Group) *Message {
		m, _ := r.Render(ctx, g)
		return m
	}, func(_ *Group, m *Message) error {
		all = append(all, m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// planOf is prepared, of a step that is good.
func planOf(t *testing.T, files map[string]string, o Options) *Plan {
	t.Helper()
	p, err := prepared(t, files, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestGolden: the message file of docs/steps.md, each message as it is sent.
func TestGolden(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"logo.png": "not a picture", "pdf/INV-1.pdf": "one", "pdf/INV-2.pdf": "two", "pdf/INV-3.pdf": "three"}
	for _, name := range []string{"step.toml", "reminder.html", "due.csv"} {
		b, err := os.ReadFile(filepath.Join("testdata", "reminder", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(b)
	}
	for i, m := range rendered(t, planOf(t, files, Options{})) {
		m.Source.MessageID, m.Source.Boundary = fmt.Sprintf("%d@relay.example.com", m.N), "boundary"
		composed, err := m.Source.Compose()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "key: %s\nsave: %s\nto: %s\ndsn: %s\n\n", m.Key, filepath.ToSlash(m.Save), strings.Join(m.To, " "), strings.Join(m.DSN, " "))
		if _, err := composed.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(b.String(), "\r\n", "\n")
		path := filepath.Join(here, "testdata", "reminder", fmt.Sprintf("%d.eml", i+1))
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("message %d:\n%s\nwant\n%s", i+1, got, want)
		}
	}
}

// TestDocumentedSteps: the message files of docs/steps.md are good.
func TestDocumentedSteps(t *testing.T) {
	text, err := os.ReadFile("../../docs/steps.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 3 {
		t.Errorf("%d message files", len(blocks))
	}
	for _, b := range blocks {
		step := &Step{Path: "step.toml", Dir: t.TempDir(), InlineCSS: true}
		if err := step.parse(b[1]); err != nil {
			t.Error(err)
		}
		step.Rows = Rows{}
		step.Markdown.File = ""
		p, err := Prepare(context.Background(), step, Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		p.Close()
	}
}

// TestFormats: the same rows in every format and charset give the same message.
func TestFormats(t *testing.T) {
	const csv = "email,name\nb@example.com,\"Müller, \"\"B\"\"\"\nc@example.com,C\n"
	wide := func(s string, little bool) string {
		var b []byte
		for _, u := range utf16.Encode([]rune(s)) {
			if little {
				b = append(b, byte(u), byte(u>>8))
			} else {
				b = append(b, byte(u>>8), byte(u))
			}
		}
		return string(b)
	}
	for name, c := range map[string]struct{ file, rows, more string }{
		"CSV":               {"due.csv", csv, ""},
		"CSV with a mark":   {"due.csv", "\ufeff" + csv, ""},
		"CSV, semicolons":   {"due.csv", strings.NewReplacer("email,name", "email;name", "com,", "com;").Replace(csv), ""},
		"CSV, CRLF":         {"due.csv", strings.ReplaceAll(csv, "\n", "\r\n"), ""},
		"blanks in names":   {"due.csv", strings.Replace(csv, "email,name", " email , name", 1), ""},
		"UTF-16LE":          {"due.csv", "\xff\xfe" + wide(csv, true), ""},
		"UTF-16BE":          {"due.csv", "\xfe\xff" + wide(csv, false), ""},
		"UTF-16LE, named":   {"due.csv", wide(csv, true), "charset = 'utf-16le'"},
		"Windows-1252":      {"due.csv", strings.Replace(csv, "ü", "\xfc", 1), "charset = 'windows-1252'"},
		"Latin-1":           {"due.csv", strings.Replace(csv, "ü", "\xfc", 1), "charset = 'ISO-8859-1'"},
		"IBM850":            {"due.csv", strings.Replace(csv, "ü", "\x81", 1), "charset = 'cp850'"},
		"TSV":               {"due.tsv", "email\tname\nb@example.com\tMüller, \"B\"\nc@example.com\tC\n", ""},
		"tabs by content":   {"due.txt", "email\tname\nb@example.com\t\"Müller, \"\"B\"\"\"\nc@example.com\tC\n", ""},
		"JSON":              {"due.json", `[{"email":"b@example.com","name":"Müller, \"B\""},{"name":"C","email":"c@example.com"}]`, ""},
		"JSON in an object": {"due.json", `{"rows":[{"email":"b@example.com","name":"Müller, \"B\""},{"name":"C","email":"c@example.com"}]}`, ""},
		"NDJSON":            {"due.ndjson", "{\"email\":\"b@example.com\",\"name\":\"Müller, \\\"B\\\"\"}\n{\"name\":\"C\",\"email\":\"c@example.com\"}\n", ""},
		"NDJSON by content": {"due.txt", "{\"email\":\"b@example.com\",\"name\":\"Müller, \\\"B\\\"\"}\n{\"name\":\"C\",\"email\":\"c@example.com\"}\n", ""},
		"XLSX":              {"due.xlsx", workbook(t, [][]string{{"email", "name"}, {"b@example.com", `Müller, "B"`}, {}, {"c@example.com", "C"}}), ""},
		"XLSX by content":   {"due.dat", workbook(t, [][]string{{"email", "name"}, {"b@example.com", `Müller, "B"`}, {"c@example.com", "C"}}), "sheet = 'Due'"},
	} {
		t.Run(name, func(t *testing.T) {
			step := "from = 'a@example.com'\nto = ['{{.name}} <{{.email}}>']\nsubject = '{{.n}}'\ntext = 't'\n[rows]\nfile = '" + c.file + "'\n" + c.more
			all := rendered(t, planOf(t, map[string]string{"step.toml": step, c.file: c.rows}, Options{}))
			if len(all) != 2 {
				t.Fatalf("%d messages", len(all))
			}
			for i, want := range []compose.Address{{Name: `Müller, "B"`, Addr: "b@example.com"}, {Name: "C", Addr: "c@example.com"}} {
				if got := all[i].Source.To; len(got) != 1 || got[0] != want {
					t.Errorf("message %d goes to %v, want %v", i+1, got, want)
				}
			}
		})
	}
	if runtime.GOOS != "windows" {
		step := "from = 'a@example.com'\nto = '{{.email}}'\ntext = 't'\n[rows]\ncommand = ['sh', '-c', 'echo email; echo b@example.com']\n"
		if all := rendered(t, planOf(t, map[string]string{"step.toml": step}, Options{})); len(all) != 1 || all[0].To[0] != "b@example.com" {
			t.Errorf("a command: %v", all)
		}
	}
	step := "from = 'a@example.com'\nto = '{{.email}}'\ntext = 't'\n[rows]\nfile = '-'\n"
	if all := rendered(t, planOf(t, map[string]string{"step.toml": step}, Options{Stdin: strings.NewReader("email\nb@example.com\n")})); len(all) != 1 {
		t.Errorf("standard input: %v", all)
	}
}

// workbook is an XLSX file with one sheet.
func workbook(t *testing.T, rows [][]string) string {
	t.Helper()
	var sheet strings.Builder
	sheet.WriteString(`<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>`)
	for i, row := range rows {
		fmt.Fprintf(&sheet, `<row r="%d">`, i+1)
		for j, cell := range row {
			fmt.Fprintf(&sheet, `<c r="%c%d" t="inlineStr"><is><t>%s</t></is></c>`, 'A'+j, i+1, strings.ReplaceAll(cell, `"`, "&quot;"))
		}
		sheet.WriteString("</row>")
	}
	sheet.WriteString("</sheetData></worksheet>")
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range map[string]string{
		"xl/workbook.xml":            `<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="Due" sheetId="1" r:id="rId1"/></sheets></workbook>`,
		"xl/_rels/workbook.xml.rels": `<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>`,
		"xl/styles.xml":              `<?xml version="1.0"?><styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"/>`,
		"xl/worksheets/sheet1.xml":   sheet.String(),
	} {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestTemplates: what templates write, in text, HTML and Markdown.
func TestTemplates(t *testing.T) {
	const rows = "email,name,when,total,emails\nb@example.com,<i>B_1*,2026-03-05,11200.5,\"x@a.example; Y <y@a.example>\"\nb@example.com,<i>B_1*,2026-03-06,-0.25,\n"
	head := "from = 'a@example.com'\nto = ['{{.email}}']\nsubject = 's'\nlocale = 'LOCALE'\n"
	for name, c := range map[string]struct{ body, locale, text, html string }{
		"escaped":    {"html = '<p>{{.name}}</p>'", "", "<i>B_1*", "<p>&lt;i&gt;B_1*</p>"},
		"markdown":   {"markdown = '**{{.name}}** {{markdown \"*y*\"}}'", "", "**<i>B_1*** *y*", "<p><strong>&lt;i&gt;B_1*</strong> <em>y</em></p>\n"},
		"number":     {"text = '{{number 1234567.5}} {{number \"12\" 2}} {{number -1234}}'", "de-DE", "1.234.567,5 12,00 -1.234", ""},
		"India":      {"text = '{{number 1234567.5}}'", "hi-IN", "12,34,567.5", ""},
		"money":      {"text = '{{money (sum .rows \"total\") \"EUR\"}} {{money 5 \"JPY\"}}'", "de-DE", "11.200,25\u00a0€ 5\u00a0¥", ""},
		"money, en":  {"text = '{{money -1234.5 \"USD\"}} {{money 1 \"CHF\"}}'", "en-US", "-$1,234.50 CHF\u00a01.00", ""},
		"date":       {"text = '{{range .rows}}{{date \"2. January 2006\" .when}} {{end}}{{date \"Monday, Jan 2\" .now}}'", "de", "5. März 2026 6. März 2026 Samstag, Nov. 28", ""},
		"date, pl":   {"text = '{{date \"2 January 2006\" .now}}, {{date \"January\" .now}}'", "pl", "28 listopada 2026, listopad", ""},
		"table":      {"text = '''{{table .rows \"when\" \"total\"}}'''", "", "when        total\n2026-03-05  11200.5\n2026-03-06  -0.25", ""},
		"csv":        {"text = '''{{csv .rows \"when\" \"total\"}}'''", "", "when,total\r\n2026-03-05,11200.5\r\n2026-03-06,-0.25\r\n", ""},
		"strings":    {"text = '{{upper .email}} {{title \"ab cd\"}} {{truncate 3 \"abcd\"}} {{join \"-\" (split \",\" \"a,b\")}} {{replace \"a\" \"b\" \"aa\"}} {{contains \"b\" \"abc\"}} {{default \"d\" \"\"}} {{trim \" x \"}} {{json \"a\"}} {{lower \"A\"}}'", "", "B@EXAMPLE.COM Ab Cd ab… a-b bb true d x \"a\" a", ""},
		"row":        {"text = '{{index .row \"email\"}} {{.n}} {{len .rows}}'", "", "b@example.com 1 2", ""},
		"addresses":  {"text = '{{range .rows}}{{addresses .emails}}{{end}}'", "", "x@a.example, Y <y@a.example>", ""},
		"comparison": {"text = '{{if eq .email \"b@example.com\"}}yes{{end}}'", "", "yes", ""},
	} {
		t.Run(name, func(t *testing.T) {
			locale := c.locale
			if locale == "" {
				locale = "en"
			}
			files := map[string]string{"due.csv": rows, "step.toml": strings.Replace(head, "LOCALE", locale, 1) + c.body + "\n[rows]\nfile = 'due.csv'\nper = 'email'\n"}
			m := rendered(t, planOf(t, files, Options{}))[0]
			text := m.Source.Text
			if text == "" {
				text, _ = compose.TextOf(m.Source.HTML)
			}
			if strings.TrimSpace(text) != strings.TrimSpace(c.text) || c.html != "" && m.Source.HTML != c.html {
				t.Errorf("text %q, HTML %q", text, m.Source.HTML)
			}
		})
	}
}

// TestAddresses: how a recipient is written and what becomes of it.
func TestAddresses(t *testing.T) {
	rows := "email,name,emails,none\nb@example.com,\"Brown, Bob \"\"B\"\"\",\"x@a.example; Y <y@a.example>\",\n"
	for to, want := range map[string]string{
		`['{{.name}} <{{.email}}>']`:                         `"Brown, Bob \"B\"" <b@example.com>`,
		`['"Brown, Bob" <{{.email}}>; c@example.com,']`:      `"Brown, Bob" <b@example.com>|c@example.com`,
		`'{{addresses .emails}}'`:                            `x@a.example|Y <y@a.example>`,
		`['{{.email}}', '{{.none}}']`:                        `b@example.com`,
		`'{{if .none}}{{.none}}{{else}}{{.email}}{{end}}'`:   `b@example.com`,
		`'{{default "d@example.com" .none}}'`:                `d@example.com`,
		`'<{{.email}}>'`:                                     `b@example.com`,
		`'{{/* , <> */}}{{.email}}'`:                         `b@example.com`,
		`'{{print "e" "@" "example.com"}} , {{ .email -}} '`: `e@example.com|b@example.com`,
	} {
		files := map[string]string{"due.csv": rows, "step.toml": "from = 'a@example.com'\nto = " + to + "\ntext = 't'\n[rows]\nfile = 'due.csv'\n"}
		m := rendered(t, planOf(t, files, Options{}))[0]
		var got []string
		for _, a := range m.Source.To {
			got = append(got, a.String())
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%s: %s, want %s", to, strings.Join(got, "|"), want)
		}
	}
}

// TestRedirect: everything goes to one address, and counts as another message.
func TestRedirect(t *testing.T) {
	files := map[string]string{"due.csv": "email\nb@example.com\n", "step.toml": "from = 'a@example.com'\nto = '{{.email}}'\nbcc = 'c@example.com'\nkey = 'k{{.n}}'\ntext = 't'\n[rows]\nfile = 'due.csv'\n"}
	m := rendered(t, planOf(t, files, Options{Redirect: "me@example.com"}))[0]
	var b strings.Builder
	if _, err := m.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if len(m.To) != 1 || m.To[0] != "me@example.com" || m.Key != "to me@example.com: k1" || !strings.Contains(b.String(), "X-Postern-Original-To: b@example.com, c@example.com") {
		t.Errorf("%v, %s\n%s", m.To, m.Key, b.String())
	}
}

// TestKeepGoing: what is wrong is left out with its reason, the others stay.
func TestKeepGoing(t *testing.T) {
	var told []string
	files := map[string]string{"due.csv": "email,x\nb@example.com,1\nbob@,2\nc@example.com,3,4\nd@example.com,5\n", "step.toml": simple}
	p := planOf(t, files, Options{KeepGoing: true, Warn: func(w Problem) { told = append(told, w.String()) }})
	if err := p.Check(context.Background(), 2, nil); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := p.groups(func(g *Group) bool { got = append(got, fmt.Sprint(g.Row, " ", g.Bad)); return true })
	want := "1 |2 to: \"bob@\" is not an address|3 3 fields, the header has 2|4 "
	if err != nil || strings.Join(got, "|") != want {
		t.Errorf("%s, want %s; %v", strings.Join(got, "|"), want, err)
	}
	if len(told) != 2 {
		t.Errorf("told: %q", told)
	}
}

// TestManyRows: rows that do not fit into memory go to a file and come back.
func TestManyRows(t *testing.T) {
	var rows strings.Builder
	rows.WriteString("email,x\n")
	const n = 20_000
	for i := range n {
		fmt.Fprintf(&rows, "u%d@example.com,%s\n", i%(n/4), strings.Repeat("x", 400))
	}
	for _, per := range []string{"row", "email"} {
		p := planOf(t, map[string]string{"due.csv": rows.String(), "step.toml": simple + "per = '" + per + "'\n"}, Options{})
		if p.table.file == nil {
			t.Fatal("the rows are in memory")
		}
		count := map[string]int{}
		if err := p.groups(func(g *Group) bool { count[Cell(g.Rows[0]["email"])] += len(g.Rows); return true }); err != nil {
			t.Fatal(err)
		}
		if len(count) != n/4 || count["u7@example.com"] != 4 {
			t.Errorf("per %s: %d recipients, %d rows of one", per, len(count), count["u7@example.com"])
		}
	}
}

// TestSave: copies stay in their folder, whatever links lie in it.
func TestSave(t *testing.T) {
	files := map[string]string{"due.csv": "email\nb@example.com\n", "step.toml": strings.Replace(simple, "[rows]", "save = 'sent/{{.email}}.eml'\n[rows]", 1)}
	p := planOf(t, files, Options{})
	m := rendered(t, p)[0]
	save := func() error {
		s, err := p.Saver()
		if err != nil {
			return err
		}
		defer s.Close()
		keep, _, err := s.Write(context.Background(), m)
		if err != nil {
			return err
		}
		return keep()
	}
	if err := save(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("sent", "b@example.com.eml")
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Contains(b, []byte("To: b@example.com\r\n")) {
		t.Errorf("%v\n%s", err, b)
	}
	outside := t.TempDir()
	if err := errors.Join(os.RemoveAll("sent"), os.Symlink(outside, "sent")); err != nil {
		t.Skip(err)
	}
	if err := save(); err == nil {
		t.Error("a link led out of the folder")
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("written outside: %v", left)
	}
}
