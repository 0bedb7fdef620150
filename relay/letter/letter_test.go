package letter

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"postern/config/wire"
)

func message(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }

var whole = message(
	"From: =?utf-8?q?J=C3=BCrgen?= <j@example.com>", "To: a@example.org,", " b@example.org", "Subject: =?iso-8859-1?Q?Gr=FC=DFe?=", "MIME-Version: 1.0",
	`Content-Type: multipart/mixed; boundary="x"`, "", "preamble",
	"--x", `Content-Type: multipart/related; boundary=y`, "",
	"--y", `Content-Type: multipart/alternative; boundary="z z"`, "",
	"--z z", "Content-Type: text/plain; charset=iso-8859-15", "Content-Transfer-Encoding: quoted-printable", "", "Gr=FC=DFe, 5 =A4 =", "more", "--z z",
	"Content-Type: TEXT/HTML; charset=utf-8", "Content-Transfer-Encoding: base64", "", base64.StdEncoding.EncodeToString([]byte(`<p>Grüße <img src="cid:logo@x">`)), "--z z--",
	"--y", "Content-Type: image/png", "Content-ID: <logo@x>", "Content-Transfer-Encoding: base64", "", "AAEC", "AwQF", "!garbage?", "--y--",
	"--x", `Content-Disposition: attachment; filename*=utf-8''..%2F..%2Fr%C3%A9sum%C3%A9.pdf`, "Content-Type: application/pdf", "", "%PDF", "--x",
	"Content-Type: text/plain; name=notes.txt", "", "not the text", "--x", "Content-Type: message/rfc822", "", "Subject: inner", "", "x", "--x--", "epilogue")

func TestRead(t *testing.T) {
	l, err := Read(strings.NewReader(whole))
	if err != nil || l.Problem != "" {
		t.Fatal(err, l)
	}
	if l.Get("from") != "Jürgen <j@example.com>" || l.Get("Subject") != "Grüße" || l.Get("To") != "a@example.org, b@example.org" || l.Get("x") != "" {
		t.Errorf("%+v", l.Fields)
	}
	if l.Text != "Grüße, 5 € more" || l.HTML != `<p>Grüße <img src="cid:logo@x">` || l.TextCut || l.HTMLCut {
		t.Errorf("%q %q", l.Text, l.HTML)
	}
	got := ""
	for _, p := range l.Parts {
		got += fmt.Sprintf("%d %s %s %s %d\n", p.Number, p.Type, p.Name, p.ID, p.Size)
	}
	if want := "3 image/png part-3.png logo@x -1\n4 application/pdf résumé.pdf  4\n5 text/plain notes.txt  12\n6 message/rfc822 part-6.eml  19\n"; got != want {
		t.Errorf("%s", got)
	}
	var b bytes.Buffer
	for number, want := range map[int]string{4: "%PDF", 5: "not the text", 6: "Subject: inner\r\n\r\nx"} {
		b.Reset()
		err := Extract(strings.NewReader(whole), number, func(p *Part) (io.Writer, error) { return &b, nil })
		if err != nil || b.String() != want {
			t.Errorf("part %d: %q %v", number, b.String(), err)
		}
	}
	if err := Extract(strings.NewReader(whole), 7, func(*Part) (io.Writer, error) { return &b, nil }); err == nil {
		t.Error("there is a part 7")
	}
}

// What a message is like never keeps what can be read of it from being read.
func TestReadOfWhatIsOdd(t *testing.T) {
	nested, deep := "", "text"
	for i := range 40 {
		nested += fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	many := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", 2*maxParts)
	for name, c := range map[string]struct{ in, text, problem string }{
		"nothing":           {"", "", ""},
		"a header alone":    {"Subject: x", "", ""},
		"no header":         {"\r\nHello\r\n", "Hello\n", ""},
		"bare LF":           {"Subject: x\n\nHello\nyou\n", "Hello\nyou\n", ""},
		"of an mbox":        {"From a@b Mon\r\nSubject: x\r\n\r\nHello", "Hello", ""},
		"no boundary":       {"Content-Type: multipart/mixed\r\n\r\nx", "", ""},
		"an odd type":       {"Content-Type: ;;;\r\n\r\nHello", "Hello", ""},
		"an odd charset":    {"Content-Type: text/plain; charset=klingon\r\n\r\nHello \xff", "Hello \ufffd", ""},
		"UTF-16":            {"Content-Type: text/plain; charset=utf-16le\r\n\r\nH\x00i\x00", "Hi", ""},
		"no end":            {"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello", "Hello", "cannot be read further"},
		"a header in parts": {"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nno field\r\n\r\nHello", "", "cannot be read further"},
		"deep":              {nested + "\r\n" + deep, "", "deeper"},
		"many parts":        {many, "", "more parts"},
		"a long header":     {strings.Repeat("X-Y: "+strings.Repeat("z", 90)+"\r\n", 4000) + "\r\nHello", "", "header is longer"},
		"NUL":               {"\r\na\x00b", "a\ufffdb", ""},
	} {
		l, err := Read(strings.NewReader(c.in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.text != "" && l.Text != c.text || !strings.Contains(l.Problem, c.problem) || c.problem == "" && l.Problem != "" {
			t.Errorf("%s: %.60q %q", name, l.Text, l.Problem)
		}
	}
	l, err := Read(io.MultiReader(strings.NewReader("\r\n"), strings.NewReader(strings.Repeat("é", maxText))))
	if err != nil || !l.TextCut || len(l.Text) > maxText+3 || !utf8.ValidString(l.Text) {
		t.Errorf("%v, %d bytes, cut %t", err, len(l.Text), l.TextCut)
	}
	endless := io.MultiReader(strings.NewReader("Content-Type: application/zip\r\n\r\n"), zeros{})
	if l, err := Read(endless); err != nil || !l.Sizeable || l.Parts[0].Size != -1 {
		t.Errorf("%+v %v", l, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestSafeName(t *testing.T) {
	for in, want := range map[string]string{
		"report.pdf": "report.pdf", "../../etc/passwd": "passwd", `C:\x\evil.exe`: "evil.exe", ".bashrc": "bashrc", "..": "part-2.png", "": "part-2.png",
		"con.txt": "part-2.png", "LPT1": "part-2.png", "a\x00b\r\nc": "abc", "invoice\u202egpj.exe": "invoicegpj.exe", "x.png. . ": "x.png", `a"b;c%d<e>`: "a_b_c_d_e_",
		"\xff\xfe": "part-2.png", "Grüße\u00a0vom.txt": "Grüße vom.txt", "a\u200bb": "ab", "-rf": "rf",
		strings.Repeat("ü", 80) + ".tar": strings.Repeat("ü", 48) + ".tar", strings.Repeat("x", 300): strings.Repeat("x", 100),
	} {
		if got := SafeName(in, "image/png", 2); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzRead: whatever a message is, it is read, its texts are valid, and the names
// of its files are good ones.
func FuzzRead(f *testing.F) {
	f.Add(whole)
	f.Add("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment; filename=\"/\"\r\n\r\nx\r\n--b--")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := Read(strings.NewReader(s))
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.ValidString(l.Text) || !utf8.ValidString(l.HTML) || strings.Contains(l.Text, "\x00") {
			t.Errorf("%q %q", l.Text, l.HTML)
		}
		for _, p := range l.Parts {
			if p.Name == "" || len(p.Name) > maxName || strings.ContainsAny(p.Name, "/\\\"\r\n") || strings.Trim(p.Name, ". ") != p.Name || wire.Text(p.Name, 1000) != p.Name {
				t.Errorf("name %q", p.Name)
			}
			if p.Size >= 0 {
				var b bytes.Buffer
				if err := Extract(strings.NewReader(s), p.Number, func(*Part) (io.Writer, error) { return &b, nil }); err != nil || int64(b.Len()) != p.Size {
					t.Errorf("part %d: %d bytes, not %d: %v", p.Number, b.Len(), p.Size, err)
				}
			}
		}
	})
}
