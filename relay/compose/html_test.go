package compose

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// TestTextOf compares with golden files: what stands above a line of "====" is
// HTML, and what stands below it the text.
func TestTextOf(t *testing.T) {
	files, err := filepath.Glob("testdata/text/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			doc, want, _ := strings.Cut(string(b), "====\n")
			got, err := TextOf(doc)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(doc+"====\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestTextOfBounds: what is hostile takes memory in proportion.
func TestTextOfBounds(t *testing.T) {
	for name, doc := range map[string]string{
		"wide cell":  "<table><tr><th>" + strings.Repeat("x", 10_000) + "<th>y</tr>" + strings.Repeat("<tr><td>1<td>2</tr>", 1000) + "</table>",
		"long cell":  "<table><tr><td>" + strings.Repeat("x", 10_000) + "<td>y</tr>" + strings.Repeat("<tr><td>1<td>2</tr>", 1000) + "</table>",
		"deep quote": strings.Repeat("<blockquote>", 400) + strings.Repeat("x<br>", 1000),
		"spans":      "<table>" + strings.Repeat("<tr><td colspan=1000000 rowspan=1000000>1<td>2</tr>", 1000) + "</table>",
		"deep lists": strings.Repeat("<ul><li>", 200) + strings.Repeat("x<br>", 1000),
	} {
		text, err := TextOf(doc)
		if err != nil || len(text) > 100*len(doc) {
			t.Errorf("%s: %d octets become %d, %v", name, len(doc), len(text), err)
		}
	}
}

// TestTextOfGrowth: what was left open is not opened again in each block that
// follows, and a document has no more than a million elements.
func TestTextOfGrowth(t *testing.T) {
	const blocks = 2000
	for name, doc := range map[string]string{
		"open fonts": "<div>" + fonts(480) + "</div>" + strings.Repeat("<p>x</p>", blocks),
		"bold":       strings.Repeat("<b><p>x", blocks),
		"links":      strings.Repeat("<a href='http://x.example'><p>x</p>", blocks),
		"tables":     strings.Repeat("<table><b><i>x", 100) + strings.Repeat("x<br>", blocks),
	} {
		var text string
		var err error
		if n := testing.AllocsPerRun(1, func() { text, err = TextOf(doc) }); n > 30*blocks {
			t.Errorf("%s: %v allocations for %d octets", name, n, len(doc))
		}
		if err != nil || strings.Count(text, "x") < blocks {
			t.Errorf("%s: %v, %.100q", name, err, text)
		}
	}
	full := &tree{root: &html.Node{Type: html.DocumentNode}, nodes: maxNodes - 1}
	if _, err := full.read("<p>x"); err != errNodes {
		t.Errorf("a document of too many elements: %v", err)
	}
}

// TestTextOfMore: whose text would be much longer is refused, before it takes
// much memory; what is looked at for each tag does not grow with its elements.
func TestTextOfMore(t *testing.T) {
	const size = 128 << 10
	lists := strings.Repeat("<ol start=-9000000000000000000><li>", 8)
	for name, c := range map[string]struct {
		doc  string
		want error
	}{
		"label":      {"<table><tr><th>a" + strings.Repeat("\u0301", size/4) + "<th>" + strings.Repeat("y", 101) + "</tr>" + strings.Repeat("<tr><td>x<td>y", size/28), errMore},
		"spans":      {"<table>" + strings.Repeat(strings.Repeat("<td rowspan=50 colspan=50>x", 4)+strings.Repeat("<tr>", 50), size/308), errMore},
		"rules":      {lists + strings.Repeat("<hr>", size/4), errMore},
		"lines":      {lists + strings.Repeat("<br>x", size/5), errMore},
		"style":      {"<table><tbody style='" + strings.Repeat("x ", size/4) + "'>" + strings.Repeat("<tr>", size/8), nil},
		"links":      {strings.Repeat("<table><td><a href='http:x'>", 120) + strings.Repeat("x", size), nil},
		"deep":       {strings.Repeat("<div>", 500) + strings.Repeat("</p>", size/4), nil},
		"deep items": {strings.Repeat("<div>", 500) + strings.Repeat("<li>", size/4), nil},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := TextOf(c.doc)
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) >> 20; err != c.want || n > 40 {
			t.Errorf("%s: %v, %d MB for %d KB", name, err, n, len(c.doc)>>10)
		}
	}
}

// attributes are elements with one attribute each, of different names.
func attributes(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func fonts(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "<font color=%d>", i)
	}
	return b.String()
}

// TestTextOfUntidy: what people leave open, cross or put in the wrong place.
func TestTextOfUntidy(t *testing.T) {
	for doc, want := range map[string]string{
		"<b>a<i>b</b>c</i>d":   "abcd\n",
		"<p>a<p>b</p>c":        "a\n\nb\n\nc\n",
		"<ul><li>a<li>b</ul>c": "- a\n- b\n\nc\n",
		"<table>a<tr><td>b<td>c<tr><td>d<td>e</table>f":        "a\n\nb  c\nd  e\n\nf\n",
		"<table><td>b<td>c</table>":                            "b  c\n",
		"<a href='http://x.example/'>a<a href='#'>b</a>c":      "a (http://x.example/)bc\n",
		"a<span style='display: none'>b<b>c</b></span>d":       "ad\n",
		"a<font hidden>b<font>c</font>d</font>e":               "ae\n",
		"a<x-y hidden>b<z-y>c</z-y></x-y>d":                    "ad\n",
		"<svg><title>a</title><text>b</text></svg>c":           "c\n",
		"<svg><path/><p>a":                                     "a\n",
		"<svg><foreignObject><p>a</p></foreignObject>b</svg>c": "c\n",
		"<head><title>a</title><style>b</style><p>c":           "c\n",
		"<html><body>a</body></html>b":                         "ab\n",
		"<body hidden>a":                                       "",
		"a</p>b":                                               "a\n\nb\n",
		"a</br>b":                                              "a\nb\n",
		"</div></td></table>a":                                 "a\n",
		"<td>a<tr>b":                                           "ab\n",
		"<select><option>a</select>b":                          "b\n",
		"<h1>a<h2>b":                                           "a\n\nb\n",
		"<dl><dt>a<dd>b<dt>c</dl>":                             "a\nb\nc\n",
	} {
		if got, err := TextOf(doc); got != want || err != nil {
			t.Errorf("%s\ngot  %q, %v\nwant %q", doc, got, err, want)
		}
	}
}

// TestInlineStrangeCSS: what takes a second at most is done as for ourselves.
func TestInlineStrangeCSS(t *testing.T) {
	rows := strings.Repeat("<tr><td class='a'><strong>x</strong></td><td><a href='#'>y</a></td></tr>", 400)
	rules := strings.Repeat("table td.a strong, .footer .content a{color:red}", 100)
	newsletter := "<style>" + rules + "</style><div class=footer><div class=content><table>" + rows + "</table></div></div>"
	want, err := InlineCSS(newsletter)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := InlineStrangeCSS(newsletter); got != want || err != nil {
		t.Errorf("a newsletter: %v", err)
	}
	if n := InlineWeight(newsletter); n < 1<<20 || n > 80<<20 {
		t.Errorf("it weighs %d", n)
	}
	many := strings.Repeat("<p>x", 3000)
	const q = "<style>q{color:red}</style>"
	for name, doc := range map[string]string{
		"descendants":  "<style>q div div div div div p{color:red}</style>" + strings.Repeat("<div>", 300) + "<p>x",
		"siblings":     "<style>q~p~p~p~p{color:red}</style>" + many,
		"last":         "<style>" + strings.Repeat("p:nth-last-child(7){color:red}", 100) + "</style>" + many,
		"search":       "<style>:has(:has(q)){color:red}</style>" + many,
		"many rules":   "<style>" + strings.Repeat("p{color:red}", 5000) + "</style>" + many,
		"long rule":    "<style>p{color:" + strings.Repeat("r", 50_000) + "}</style>" + many,
		"much CSS":     "<style>" + strings.Repeat("q{color:red}", 10_000) + "</style>",
		"url(":         "<style>" + strings.Repeat("url(", 10_000) + "</style>",
		"open fonts":   "<style>q{color:red}</style><div>" + fonts(480) + "</div>" + many,
		"hidden fonts": "<style>q{color:red}</style><svg><style>" + fonts(480) + "</style></svg>" + many,
		"agency":       "<style>q{color:red}</style>" + strings.Repeat("<a><b><p></a></b>", 10_000),
		"bodies":       q + attributes("<body a%x=b>", 2000),
		"SVG bodies":   q + attributes("<svg><body a%x=b>", 2000),
		"deep ends":    q + strings.Repeat("<x>", 500) + strings.Repeat("</y>", 45_000),
		"deep items":   q + strings.Repeat("<div>", 500) + strings.Repeat("<li>", 45_000),
		"deep SVG":     q + "<svg>" + strings.Repeat("<g>", 500) + strings.Repeat("</x>", 45_000),
		"sheets":       strings.Repeat("<style></style>", 200),
		"url( inside":  q + "<p style='" + strings.Repeat("url(", 1000) + "'>",
		"tiny rules":   "<style>" + strings.Repeat("p{a:b}", 200) + "</style>" + strings.Repeat("<p>x", 2000),
		"what stays":   "<style>" + strings.Repeat("*,", 10_000) + "*{" + strings.Repeat("a:b;", 5000) + "}</style><p>",
		"hover":        "<style>" + strings.Repeat("a:hover,", 3000) + "*{" + strings.Repeat("a:b;", 5000) + "}</style><p>",
		"escapes":      "<style>" + strings.Repeat("\\", 50_000) + "{a:b}</style><p>",
		"large":        "<style>q{color:red}</style>" + strings.Repeat("x", maxStrange),
	} {
		if _, err := InlineStrangeCSS(doc); err != errHeavy {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInlineCSS(t *testing.T) {
	for _, c := range []struct{ name, doc, want string }{
		{"no style", `<p class="a">x`, `<p class="a">x`},
		{"moved", `<style>p{color:red} .a{width:10px}</style><p class="a" style="color:blue">x</p>`,
			`<html><head></head><body><p class="a" style="width:10px;color:blue" width="10">x</p></body></html>`},
		{"kept", `<style>a:hover{color:red} @media (max-width:600px){p{width:100%}} p{margin:0}</style><p>x &amp; y</p>`,
			`<html><head><style type="text/css">a:hover {
color: red !important
}@media (max-width:600px){
p {
width: 100% !important
}
}
</style></head><body><p style="margin:0">x &amp; y</p></body></html>`},
		{"links and images", `<style>p{margin:0}</style><p><a href="https://x.example/?a=1&amp;b=2">x</a><img src="cid:logo.png"></p>`,
			`<html><head></head><body><p style="margin:0"><a href="https://x.example/?a=1&amp;b=2">x</a><img src="cid:logo.png"/></p></body></html>`},
	} {
		for range 10 { // no order is by chance
			got, err := InlineCSS(c.doc)
			if err != nil || got != c.want {
				t.Errorf("%s: %v, got\n%s\nwant\n%s", c.name, err, got, c.want)
				break
			}
		}
	}
	if _, err := InlineCSS(`<STYLE>p{x:y}</STYLE><p PR-el-id="7">`); err == nil {
		t.Error("a mark of the library's own is let through")
	}
}

func TestMarkdown(t *testing.T) {
	got, err := Markdown("# Report\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n- [x] done\n- ~~old~~ https://example.com\n\n<script>alert(1)</script> [x](javascript:alert(1))\n")
	want := `<h1>Report</h1>
<table>
<thead>
<tr>
<th>a</th>
<th style="text-align:right">b</th>
</tr>
</thead>
<tbody>
<tr>
<td>1</td>
<td style="text-align:right">2</td>
</tr>
</tbody>
</table>
<ul>
<li><input checked="" disabled="" type="checkbox"> done</li>
<li><del>old</del> <a href="https://example.com">https://example.com</a></li>
</ul>
<!-- raw HTML omitted -->
`
	if err != nil || got != want {
		t.Errorf("%v, got\n%s", err, got)
	}
}
