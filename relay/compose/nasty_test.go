package compose

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// pieces is what names and subjects are made from: quotes, separators, all that
// means something in a header, many scripts, and what has no width.
var pieces = []string{
	" ", " ", " ", "a", "Z", "0", "-", "_", ".", ",", ";", ":", "'", `"`, `\`, "(", ")", "<", ">", "[", "]", "@", "=", "?", "=?", "?=", "%", "%20", "*", "&", "$", "#", "!", "|", "~", "^", "{", "}", "+", "`",
	"ü", "ß", "é", "e\u0301", "№", "€", "Счёт", "请付款", "日本", "محمد", "\u200f", "שלום", "👩\u200d💻", "❤\ufe0f", "🏴\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F", "𝒳",
	"Invoice", "=?utf-8?q?x?=", strings.Repeat("long", 30), strings.Repeat("ü", 40), "  ", "''", "utf-8''x", "filename*=x",
}

func nastyText(t *rapid.T, what string, max int, not string) string {
	var b strings.Builder
	for _, p := range rapid.SliceOfN(rapid.SampledFrom(pieces), 0, max).Draw(t, what) {
		if not == "" || !strings.ContainsAny(p, not) {
			b.WriteString(p)
		}
	}
	return strings.TrimSpace(b.String())
}

func nastyAddress(t *rapid.T) Address {
	return Address{nastyText(t, "name", 12, ""), rapid.SampledFrom([]string{
		"a@example.org", "first.last+tag@sub.example.org", `"a b"@example.org`, `"a@b,c"@example.org`, "o'neil@example.org", "x@bücher.example", "x@[192.0.2.1]",
		strings.Repeat("x", 64) + "@" + strings.Repeat("y", 60) + ".example",
	}).Draw(t, "address")}
}

// bodies is what texts are made from.
var bodies = []string{
	"Dear Bob,", " ", "\n", "\n", "\n\n", "\r\n", "\r", "\t", ".", "\n.\n", "\nFrom ", "--", "\n-- \n", "--=_1golden", "=", "=3D", "=\n", "ü", "Счёт", "请付款", "👩\u200d💻", strings.Repeat("x", 77), strings.Repeat("long ", 30), strings.Repeat("ä", 200),
	"\x1b[0m", "\f", "\x7f", "\u2028", "<b>", "&amp;",
}

func nastyBody(t *rapid.T, what string) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(bodies), 0, 20).Draw(t, what), "")
}

// nastyPart has no name that looks encoded: programs decode that, however it is
// written. What is embedded is no text, which programs show as text.
func nastyPart(t *rapid.T, i int, embedded bool) Part {
	ends, types := []string{".pdf", ".csv", ".txt", "", ".PNG", ".unknown", ".tar.gz"}, []string{"", "", "application/pdf", "text/csv; charset=us-ascii; header=present", "image/png; x=\"a b\""}
	if embedded {
		ends, types = ends[4:5], []string{"", "image/png"}
	}
	name := strings.TrimSpace(strings.ReplaceAll(nastyText(t, "file", 12, `/\`), "=?", "")) + rapid.SampledFrom(ends).Draw(t, "end")
	if strings.Trim(name, ".") == "" {
		name = fmt.Sprintf("part %d", i)
	}
	data := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "data")
	p := BytesPart(name, rapid.SampledFrom(types).Draw(t, "type"), data)
	p.Gzip = !embedded && rapid.IntRange(0, 9).Draw(t, "gzip") == 0
	return p
}

func nastyMessage(t *rapid.T) Message {
	list := func(what string, least int) []Address {
		return rapid.SliceOfN(rapid.Custom(nastyAddress), least, 4).Draw(t, what)
	}
	m := Message{
		From: nastyAddress(t), To: list("to", 1), Cc: list("cc", 0), Bcc: []Address{{"Hidden", "hidden@example.org"}}, ReplyTo: list("reply", 0),
		Subject: nastyText(t, "subject", 30, ""), Text: nastyBody(t, "text"),
		Importance: rapid.SampledFrom([]Importance{Normal, High, Low}).Draw(t, "importance"),
		Header:     []Field{{"X-Nasty", nastyText(t, "header", 30, "")}},
	}
	if rapid.Bool().Draw(t, "html") {
		m.HTML = "<p>" + nastyBody(t, "html") + "</p>"
	}
	if rapid.Bool().Draw(t, "calendar") {
		m.Calendar = []byte(invitation)
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "attached") {
		m.Attached = append(m.Attached, nastyPart(t, i, false))
	}
	if m.HTML != "" {
		for i := range rapid.IntRange(0, 2).Draw(t, "embedded") {
			p := nastyPart(t, i, true)
			p.ID = fmt.Sprintf("id%d@x", i)
			m.HTML += "<img src='cid:" + p.ID + "'>"
			m.Embedded = append(m.Embedded, p)
		}
	}
	return completed(m)
}

// TestRead: what is composed and read again is the same.
func TestRead(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := nastyMessage(rt)
		msg := compose(t, m)
		got, err := read(msg)
		if err != nil {
			rt.Fatalf("%v\n%s", err, msg)
		}
		wellFormed(t, msg)
		same(t, "go-message", got, expected(t, m))
		if t.Failed() {
			rt.Fatalf("%s", msg)
		}
	})
}
