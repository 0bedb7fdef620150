package config

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever the text, reading it ends without a panic in a configuration or in
// a list of problems, each on one line and with a line of the file; keys are
// mapped to lines; and what was read can be shown.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.toml", "testdata/good/*.toml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds in %s: %v", pattern, err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(content))
		}
	}
	f.Add(linesSample)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "_file") || strings.Contains(text, "\\") {
			return // names files of this machine, perhaps devices
		}
		doc := &document{file: "fuzz.toml", source: &sourceMap{}}
		doc.parse(text)
		checkLines(t, text)
		if len(doc.problems) > 0 {
			checkProblems(t, text, doc.problems)
			return
		}
		cfg := doc.config()
		checkProblems(t, text, append(doc.problems, doc.warnings...))
		if _, err := json.Marshal(cfg.Redacted()); err != nil {
			t.Fatal(err)
		}
		if len(doc.problems) == 0 && (len(cfg.Routes) == 0 || len(cfg.Upstreams) == 0 || len(cfg.Listeners) == 0) {
			t.Fatalf("accepted, and cannot work: %+v", cfg)
		}
	})
}

func checkProblems(t *testing.T, text string, problems []Problem) {
	t.Helper()
	last := strings.Count(text, "\n") + 1
	for _, p := range problems {
		if p.Line < 0 || p.Line > last || p.Text == "" || strings.ContainsAny(p.String(), "\n\r\x00\x1b") {
			t.Fatalf("problem %q on line %d of %d", p.String(), p.Line, last)
		}
	}
	var err error = &Problems{problems}
	var got *Problems
	if !errors.As(err, &got) || strings.Count(err.Error(), "\n") != max(0, len(problems)-1) {
		t.Fatalf("%q", err)
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"*", "<>", "a@b", "*@b.c", "*@*.b", "a@*", `"a\"b"@c`, "a@[1]", "ü@ü.ü", "\u212a@\u212a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePattern(s)
		if err != nil {
			return
		}
		again, err := ParsePattern(p.String())
		if err != nil || again != p {
			t.Fatalf("%q is written as %q, which is read as %+v, %v", s, p.String(), again, err)
		}
	})
}
