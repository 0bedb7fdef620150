package merge

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestJSONIsWhole: rows that another program has not written to the end, that have
// more behind them, or a column twice, are told, and none of them is lost in silence.
func TestJSONIsWhole(t *testing.T) {
	const row, other = `{"email":"b@example.com","x":"1"}`, `{"email":"c@example.com","x":"2"}`
	const cut, more = "is not JSON: unexpected EOF", "is not JSON: something stands behind its end"
	for _, c := range []struct{ format, rows, want string }{
		{"json", "[" + row + "," + other + "]", ""},
		{"json", "[]", ""},
		{"json", " [\n" + row + "\n]\n \n", ""},
		{"json", "[" + row, "row 2: " + cut},
		{"json", "[" + row + ",", "row 2: " + cut},
		{"json", "[" + row + `,{"email":"c@example.com"`, "row 2: " + cut},
		{"json", "[" + row + `,{"email":"c@example.com",`, "row 2: " + cut},
		{"json", "[" + row + `,{`, "row 2: " + cut},
		{"json", "[", "row 1: " + cut},
		{"json", "[" + row + "}", "row 2: is not JSON: invalid character '}' after array element"},
		{"json", "[" + row + "]" + row, "row 2: " + more},
		{"json", "[" + row + "][" + other + "]", "row 2: " + more},
		{"json", "[" + row + "] x", "row 2: is not JSON: invalid character 'x' looking for beginning of value"},
		{"json", row + other, "row 1: " + more},
		{"json", `{"rows":[` + row + `]} {}`, "row 1: " + more},
		{"json", `{"rows":[` + row + `]}`, ""},
		{"ndjson", row + "\n" + other + "\n", ""},
		{"ndjson", row + "\n" + `{"email":"c@example.com"`, "row 2: " + cut},
		{"ndjson", row + "\n" + `{"email":"c@exam`, "row 2: " + cut},
		{"ndjson", row + "\n" + `{`, "row 2: " + cut},
		{"json", `[{"email":"b@example.com","email":"c@example.com"}]`, `row 1: column "email" is there twice`},
		{"json", `[{"email":"b@example.com"," email":null}]`, `row 1: column " email" is there twice`},
		{"ndjson", row + "\n" + `{"x":null,"email":"c@example.com","x":"1"}`, `row 2: column "x" is there twice`},
		{"json", `[{"email":"b@example.com","x":"a  \"  \\  b"}]`, ""},
	} {
		step := strings.Replace(simple, "file = 'due.csv'", "file = 'due.csv'\nformat = '"+c.format+"'", 1)
		want := c.want
		if want != "" {
			want = "due.csv: " + want
		}
		if got, _ := problemsOf(t, map[string]string{"step.toml": step, "due.csv": c.rows}, Options{}); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.rows, got, want)
		}
	}
}

// TestManyBlanks: blanks between values, of a program that writes one at a time, are
// looked at once each; those of a text are kept.
func TestManyBlanks(t *testing.T) {
	const n = 20_000
	blanks := strings.Repeat(" \n", n/2)
	for name, rows := range map[string]string{
		"between rows":   `[{"email":"b@example.com","x":"a  \"  b"},` + blanks + `{"email":"c@example.com","x":"a  \"  b"}]`,
		"in rows":        `[{"email":` + blanks + `"b@example.com"` + blanks + `,"x":"a  \"  b"}]`,
		"around them":    blanks[:4000] + `[` + blanks + `{"email":"b@example.com","x":"a  \"  b"}` + blanks + `]` + blanks,
		"behind a table": `{"rows":[{"email":"b@example.com","x":"a  \"  b"}]}` + blanks,
	} {
		if seen, err := io.ReadAll(&oneBlank{r: iotest.OneByteReader(strings.NewReader(rows))}); err != nil || len(seen) > 120 {
			t.Errorf("%s: a decoder sees %d bytes, %v", name, len(seen), err)
		}
		step := strings.Replace(simple, "file = 'due.csv'", "file = '-'\nformat = 'json'", 1)
		p := planOf(t, map[string]string{"step.toml": step}, Options{Stdin: iotest.OneByteReader(strings.NewReader(rows))})
		_ = p.groups(func(g *Group) bool {
			if got := fmt.Sprint(g.Rows[0]["x"]); got != `a  "  b` || g.Bad != "" {
				t.Errorf("%s: %q %s", name, got, g.Bad)
			}
			return true
		})
	}
}

// TestWrongHeader: what is wrong with a header is told once, and no row is damaged.
func TestWrongHeader(t *testing.T) {
	for name, c := range map[string]struct{ rows, want string }{
		"too many": {"email" + numbered(20_000) + "\nb@example.com" + strings.Repeat(",1", 20_000) + "\n", "due.csv: line 1: the header has more than 16384 columns"},
		"no UTF-8": {"email,\xff,x\nb@example.com,1,2\n", "due.csv: line 1: the header is not UTF-8 (rows.charset = 'windows-1252', or what it is)"},
		"twice":    {"email,x,x\nb@example.com,1,2\n", `due.csv: line 1: column "x" is there twice`},
	} {
		if got, _ := problemsOf(t, map[string]string{"step.toml": simple, "due.csv": c.rows}, Options{}); got != c.want {
			t.Errorf("%s: got\n%.300s\nwant\n%s", name, got, c.want)
		}
	}
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ",c%d", i)
	}
	return b.String()
}
