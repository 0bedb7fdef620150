package compose

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestMarkdownBombs: marks that are nothing, each of which the library looks for
// the end of, are refused or made text within seconds.
func TestMarkdownBombs(t *testing.T) {
	size := 64 << 10
	if os.Getenv("POSTERN_LONG") != "" {
		size = 1 << 20
	}
	ticks := ""
	for i := 1; len(ticks) < size/4; i++ {
		ticks += strings.Repeat("`", i) + " "
	}
	docs := map[string]string{"ticks": ticks, "parentheses": "[a](" + strings.Repeat("(", size), "attributes": "<a " + strings.Repeat(`x="" `, size/5),
		"deep quotes": strings.Repeat(strings.Repeat(">", 600)+"a\n", size/600), "rows of nothing": strings.Repeat("a|", size/8) + "\n" + strings.Repeat("-|", size/8) + "\n" + strings.Repeat("|\n", size/4),
		"table": strings.Repeat("a|", size/4) + "\n" + strings.Repeat("-|", size/4) + "\n"}
	for _, mark := range []string{"[", "![", "[a](<", `[a](b "`, "*a_ ", "*a **a ", "*", "_a", "> a\n", "[^a]", "<a ", "<!--", "<![CDATA[", "<?", "&a", "~~a", "~", "http://a.b ",
		"www.", "a@", "a@b ", " a.", "(a", " http://", " www.a(", "# a\n", "a\n=\n", "\\", "1. ", "- ", "- [ ] a\n", "[a]: b\n", "]", "[a][b]", "a*b_c~d", "\x00", "\t", "<b>", "`a"} {
		docs[mark] = strings.Repeat(mark, size/len(mark))
	}
	for name, doc := range docs {
		began := time.Now()
		html, err := Markdown(doc)
		if took := time.Since(began); took > 20*time.Second || len(html) > 40*len(doc) {
			t.Errorf("%q: %d bytes after %v, %v", name, len(html), took, err)
		} else if took > time.Second/2 {
			t.Logf("%q: %d bytes after %v, %v", name, len(html), took, err)
		}
	}
	// An ordinary report of the same length is nothing of that.
	report := strings.Repeat("A *report* of [numbers](https://example.com/) with `code`, **two** and a_b_c lines.\nAnd more.\n\n", size/100) +
		strings.Repeat("| *a* | [b](https://example.com/) |\n", 1) + "|---|---|\n" + strings.Repeat("| *a* | [b](https://example.com/) |\n", size/40)
	report += "\n" + strings.Repeat("[12:34:56] an ordinary line of a log, of `code`, x_y and 5 * 3\n", 4<<10)
	report += "\n" + strings.Repeat("1. a\n   - b\n   - - ) * c\n", size/30) + strings.Repeat("\n* * *\n***\n- - -\n----------\n", 20)
	if html, err := Markdown(report); err != nil || strings.Count(html, "<hr>") < 60 {
		t.Error(err)
	}
}
