package merge

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzRows: whatever the rows are, reading ends, and no message has another
// recipient than one of a row, or a header field from a value.
func FuzzRows(f *testing.F) {
	for _, seed := range []string{"email,x\nb@example.com,1\n", "email;x\n\"b@example.com\";\"1\r\nBcc: v@z.example\"\n", `[{"email":"x@y>, <v@z.example","x":[1,{"a":null}]}]`, "\xff\xfee\x00", "PK\x03\x04", "{\"email\":1}\n{}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, rows []byte) {
		step := &Step{
			From: "a@example.com", To: []string{"Name {{.x}} <{{.email}}>"}, Subject: "s {{.x}}", Text: Content{Set: true, Text: "{{.x}}"},
			Headers: []Header{{"X-Class", "{{.x}}"}}, Rows: Rows{File: "-"}, Save: "sent/{{.x}}.eml", Key: "{{.email}}",
		}
		p, err := Prepare(context.Background(), step, Options{Stdin: bytes.NewReader(rows), KeepGoing: true})
		if err != nil {
			return
		}
		defer p.Close()
		if err := p.Check(context.Background(), 1, nil); err != nil {
			return
		}
		_ = Each(context.Background(), p, 1, func(ctx context.Context, r *Renderer, g *Group) *Message {
			if g.Bad != "" {
				return nil
			}
			m, _ := r.Render(ctx, g)
			if m != nil {
				checkHarmless(t, m, g.Rows[0])
			}
			return m
		}, func(*Group, *Message) error { return nil })
	})
}

func checkHarmless(t *testing.T, m *Message, row Row) {
	if len(m.To) != 1 {
		t.Fatalf("recipients: %q", m.To)
	}
	if !filepath.IsLocal(m.Save) {
		t.Fatalf("saved at %q", m.Save)
	}
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	header, _, _ := strings.Cut(b.String(), "\r\n\r\n")
	for line := range strings.SplitSeq(header, "\r\n") {
		name, _, ok := strings.Cut(line, ":")
		if line != "" && (line[0] == ' ' || line[0] == '\t') {
			continue
		}
		switch name {
		case "From", "To", "Subject", "Date", "Message-ID", "X-Class", "Auto-Submitted", "MIME-Version", "Content-Type", "Content-Transfer-Encoding":
		default:
			t.Fatalf("a field %q (%v) of the row %v:\n%s", name, ok, row, header)
		}
	}
}

// FuzzMessageFile: whatever a message file holds, it is read or refused.
func FuzzMessageFile(f *testing.F) {
	f.Add("from = 'a@example.com'\nto = ['{{.n}}@example.com']\ntext = '{{range .rows}}{{end}}'\n[[attach]]\nrows = 'csv'\n")
	f.Add("html = '<style>p{color:red}</style><p>{{.now}}'\nfrom='a@example.com'\nto='b@example.com'\n")
	f.Add("[rows]\nper = 7\n[[attach]]\n[[embed]]\nheaders = 1")
	f.Fuzz(func(t *testing.T, text string) {
		step := &Step{InlineCSS: true, Dir: t.TempDir()}
		if step.parse(text) != nil || len(step.Rows.Command) > 0 || step.Rows.File != "" {
			return
		}
		p, err := Prepare(context.Background(), step, Options{})
		if err != nil {
			return
		}
		defer p.Close()
		_ = p.Check(context.Background(), 1, nil)
	})
}
