package compose

import (
	"bytes"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"unicode/utf8"

	"postern/config/wire"
)

// FuzzNames: whatever stands in a name, a file name or a subject, it is refused
// or comes back as it was, and adds nothing.
func FuzzNames(f *testing.F) {
	for _, s := range append(pieces, "a\r\nBcc: v@example.org", "a\u202eb", "\xff", "\x00", `"; filename="x`, `x"@y`, "a, b <v@example.org>", strings.Repeat("=?", 500), strings.Repeat("\U0001F3F4", 300)) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m := completed(good())
		m.From.Name, m.To[0].Name, m.Subject = s, s, s
		m.Attached = []Part{BytesPart("x"+s, "", []byte("x"))}
		problems := m.Check()
		for _, p := range problems {
			if !utf8.ValidString(p.Text) || strings.ContainsAny(p.Text, "\r\n\x00\u202e") || len(p.Text) > 600 {
				t.Errorf("a problem isn't harmless: %q", p)
			}
		}
		if len(problems) > 0 {
			return
		}
		msg := compose(t, m)
		wellFormed(t, msg)
		if !wire.IsASCII(msg) {
			t.Error("the header is not ASCII")
		}
		got, err := read(msg)
		if strings.Contains(s, "=?") { // go-message decodes file names once more
			got.Files, err = nil, nil
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, msg)
		}
		want := expected(t, m)
		if got.Files == nil {
			want.Files = nil
		}
		same(t, "go-message", got, want)
	})
}

// FuzzHeader: a field is refused, or is one field.
func FuzzHeader(f *testing.F) {
	f.Add("X-Class", "reminder")
	f.Add("List-Unsubscribe", "<https://example.com/"+strings.Repeat("x", 200)+"> , <mailto:x@y>")
	f.Add("X-A:\r\nBcc", "x")
	f.Add("References", " \t<a@b>  <c@d>")
	f.Add("Postern-Idempotency-Key", strings.Repeat("k", 256))
	f.Add("X-Long-Name-Of-A-Field-That-Takes-Nearly-A-Line-By-Itself-Xxx", strings.Repeat("Größe ", 50))
	f.Fuzz(func(t *testing.T, name, value string) {
		m := completed(good())
		plain, _, _ := bytes.Cut(compose(t, m), headerEnd)
		m.Header = []Field{{name, value}}
		if len(m.Check()) > 0 {
			return
		}
		msg := compose(t, m)
		header, _, _ := bytes.Cut(msg, headerEnd)
		if fieldsOf(header) != fieldsOf(plain)+1 {
			t.Fatalf("%q: %q makes\n%s", name, value, header)
		}
		wellFormed(t, msg)
		if !wire.IsASCII(msg) {
			t.Error("the header is not ASCII")
		}
	})
}

func fieldsOf(header []byte) (n int) {
	for line := range bytes.SplitSeq(header, []byte("\r\n")) {
		if len(line) == 0 || !wire.IsContinuation(line) {
			n++
		}
	}
	return n
}

// FuzzBody: a text comes back as it was, in every encoding.
func FuzzBody(f *testing.F) {
	for _, s := range bodies {
		f.Add(s)
	}
	f.Add(strings.Join(bodies, ""))
	f.Fuzz(func(t *testing.T, s string) {
		if bodyFault(s) != "" {
			return
		}
		m := completed(good())
		m.Text = s
		msg := compose(t, m)
		wellFormed(t, msg)
		if got, err := read(msg); err != nil || s != "" && got.Text != normal(s) {
			t.Errorf("%q comes back as %q, %v", s, got.Text, err)
		}
		quoted := appendText(nil, s, quotedPrintable)
		if got, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(quoted))); err != nil || s != "" && strings.ReplaceAll(string(got), "\r\n", "\n") != normal(s) {
			t.Errorf("%q comes back as %q, %v", s, got, err)
		}
	})
}

// FuzzHTML: no document makes these fail in another way than by an error, take
// more than in proportion, or give what is no text.
func FuzzHTML(f *testing.F) {
	f.Add(page)
	f.Add(`<table><tr><td rowspan=3 colspan=99999>a<td>b</tr><tr><td>c</table><ol start=-5><li>x<ul><li>y</ul></ol><blockquote><pre> a
 b</pre></blockquote>`)
	f.Add(`<style>p{color:red}*{x:y}@media x{p{y:z}}a:hover{b:c}</style><p pr-el-id=1>x<a href="mailto:a@b?x">y</a><img src="cid:a%zz">`)
	f.Add("<style>}{@@@media{{{</style><p>")
	f.Add("<style>a,b>c[d=e]:not(f){color:red !important;width:10px}</style><p style='x:y'>")
	f.Fuzz(func(t *testing.T, doc string) {
		if text, err := TextOf(doc); err == nil {
			if len(text) > 100*len(doc)+1000 {
				t.Errorf("%d octets become %d", len(doc), len(text))
			}
			if text != "" && (!strings.HasSuffix(text, "\n") || strings.TrimSpace(text) == "") {
				t.Errorf("text is %q", text)
			}
		}
		InlineCSS(doc)
		InlineStrangeCSS(doc)
		references(doc)
	})
}

// FuzzParseList: what is read is an address, and is read again as the same.
func FuzzParseList(f *testing.F) {
	for _, s := range []string{"a@b.example", `"Brown, Bob" <b@x.example>; c@d.example,`, "<a@b.example>", `"a\"b" <x@y.example>`, "root", `"a b"@x.example`, "Müller, Hans <h@x.example>", `x <"a>b"@y.example>`, `<"a>b"@y.example>`, `"a<b"@y.example`, "a@[192.0.2.1]", "a(b)@c.example", "Team: a@b.example;", "\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ParseList(s)
		if err != nil {
			if e := err.Error(); !utf8.ValidString(e) || strings.ContainsAny(e, "\r\n\x00") {
				t.Errorf("the error isn't harmless: %q", e)
			}
			return
		}
		for _, a := range list {
			if again, err := ParseAddress(a.String()); err != nil || again != a {
				t.Errorf("%+q is read again as %+q from %q, %v", a, again, a.String(), err)
			}
			if fault := addressFault(a, true); fault != "" && !strings.Contains(fault, "octets") && !strings.Contains(fault, "ASCII") {
				t.Errorf("%+q: %s", a, fault)
			}
		}
	})
}
