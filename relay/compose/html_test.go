package compose

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
