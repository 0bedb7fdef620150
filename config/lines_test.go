package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"pgregory.net/rapid"
)

const linesSample = `# comment with [brackets] and "quotes
top = 1
"quoted key" = 'x' # trailing = comment
a.b . "c d" = [
  "one", # ] not the end
  "two",

  [ "three",
    "four" ],
]
text = """
[not.a.table]
key = 1 \""" still
"""" # four quotes: one belongs to the text
raw = '''
[[nor.this]] '' x
'''
[table]
inline = { x = 1, "y z" = { deep = [1, { deeper = 2 }] } }
date = 1979-05-27 07:32:00
[[listener]]
address = "a"
[[listener]]
address = "b"
users = { app = "x",
  other = "y" }
[listener.sub]
key = 1
[[listener.inner]]
n = 1
[[listener.inner]]
n = 2
[upstream."my office"]
host = "x"
[x.'lit eral'.y]
z = "\u00e9\\"
last = true`

func TestParts(t *testing.T) {
	var got []string
	for _, p := range Parts(linesSample) {
		got = append(got, fmt.Sprintf("%s:%d", p.Path, p.Line))
	}
	const want = `top:2 "quoted key":3 a.b."c d":4 text:11 raw:15 table:18 listener[0]:21 listener[1]:23 listener[1].sub:27 listener[1].inner[0]:29 listener[1].inner[1]:31 upstream."my office":33 x."lit eral".y:35`
	if strings.Join(got, " ") != want {
		t.Errorf("%q", got)
	}
	if parts := Parts("[a\n= [["); len(parts) > 2 {
		t.Errorf("%v", parts)
	}
}

func TestMapSource(t *testing.T) {
	if _, err := toml.Decode(linesSample, &map[string]any{}); err != nil {
		t.Fatalf("the sample is not TOML: %v", err)
	}
	m := mapSource(linesSample)
	for path, want := range map[string]int{
		"top": 2, `"quoted key"`: 3, "a": 4, "a.b": 4, `a.b."c d"`: 4,
		`a.b."c d"[0]`: 5, `a.b."c d"[1]`: 6, `a.b."c d"[2]`: 8, `a.b."c d"[2][0]`: 8, `a.b."c d"[2][1]`: 9,
		"text": 11, "raw": 15, "table": 18, "table.inline.x": 19, `table.inline."y z".deep[1].deeper`: 19, "table.date": 20,
		"listener[0]": 21, "listener[0].address": 22, "listener[1]": 23, "listener[1].address": 24,
		"listener[1].users.app": 25, "listener[1].users.other": 26, "listener[1].sub.key": 28,
		"listener[1].inner[0].n": 30, "listener[1].inner[1].n": 32,
		`upstream."my office".host`: 34, `x."lit eral".y.z`: 36, `x."lit eral".y.last`: 37,
		// What has no line of its own has that of what is around it.
		"listener[1].missing": 23, `upstream."my office".port`: 33, "listener[0].address[3].x": 22, "nothing": 0, "": 0,
	} {
		if got := m.line(path); got != want {
			t.Errorf("line(%s) = %d, want %d", path, got, want)
		}
	}
	for _, not := range []string{"not.a.table", "key", "nor"} {
		if _, ok := m.lines[not]; ok {
			t.Errorf("%s was read out of a string", not)
		}
	}
	if got := m.before("listener.address", 24); got != 22 {
		t.Errorf("before = %d, want 22", got)
	}
}

// Line ends of Windows and tabs change nothing.
func TestMapSourceWindows(t *testing.T) {
	m := mapSource("a = 1\r\n\r\n[t]\r\n\tb = [\r\n\t1,\r\n\t2]\r\n")
	for path, want := range map[string]int{"a": 1, "t": 3, "t.b": 4, "t.b[1]": 6} {
		if got := m.line(path); got != want {
			t.Errorf("line(%s) = %d, want %d", path, got, want)
		}
	}
}

// Every key that the decoder finds has a line of its own, and that line
// mentions the key.
func checkLines(t interface{ Fatalf(string, ...any) }, text string) {
	root := map[string]any{}
	if _, err := toml.Decode(text, &root); err != nil {
		return
	}
	m := mapSource(text)
	if m.refused > 0 {
		return
	}
	lines := strings.Split(text, "\n")
	var walk func(path string, v any)
	note := func(path string) {
		n, ok := m.lines[path]
		if !ok || n < 1 || n > len(lines) {
			t.Fatalf("%s has line %d of %d in:\n%s", path, n, len(lines), text)
		}
	}
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, inner := range v {
				note(joinKey(path, key))
				walk(joinKey(path, key), inner)
			}
		case []map[string]any:
			for i, inner := range v {
				note(joinIndex(path, i))
				walk(joinIndex(path, i), inner)
			}
		case []any:
			for i, inner := range v {
				note(joinIndex(path, i))
				walk(joinIndex(path, i), inner)
			}
		}
	}
	walk("", root)
}

// Documents made of random pieces, each key on a line that is known.
func TestMapSourceProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		line, want := 1, map[string]int{}
		table := ""
		write := func(s string) {
			b.WriteString(s)
			line += strings.Count(s, "\n")
		}
		values := []string{
			`"a # b"`, `'''x` + "\n" + `[y]'''`, `"""` + "\n" + `k = \"""` + "\n" + `"""`, `[1, 2]`, "[\n1,\n# ]\n]", "{ q = 1 }", "1979-05-27 07:32:00", "-1.5e3",
			`'it\'`, `"\\"`, "true # c",
		}
		for i := range rapid.IntRange(1, 20).Draw(t, "lines") {
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				write("\n")
			case 1:
				write("# k = 1 \" [\n")
			case 2:
				table = fmt.Sprintf("t%d", i)
				want[table] = line
				write("[" + table + "]\n")
			default:
				key := fmt.Sprintf("k%d", i)
				want[joinKey(table, key)] = line
				write(key + " = " + rapid.SampledFrom(values).Draw(t, "value") + "\n")
			}
		}
		checkLines(t, b.String())
		m := mapSource(b.String())
		for path, n := range want {
			if got := m.lines[path]; got != n {
				t.Fatalf("line(%s) = %d, want %d in:\n%s", path, got, n, b.String())
			}
		}
	})
}
