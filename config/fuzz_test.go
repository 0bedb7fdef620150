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
		if doc.root != nil {
			doc.environment()
		}
		checkLines(t, text)
		if len(doc.problems.list) > 0 {
			checkProblems(t, text, doc.problems.list)
			return
		}
		cfg := doc.config()
		checkProblems(t, text, append(doc.problems.list, doc.warnings.list...))
		if _, err := json.Marshal(cfg.Redacted()); err != nil {
			t.Fatal(err)
		}
		if len(doc.problems.list) == 0 && (len(cfg.Routes) == 0 || len(cfg.Upstreams) == 0 || len(cfg.Listeners) == 0) {
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
	var err error = &Problems{List: problems}
	var got *Problems
	if !errors.As(err, &got) || strings.Count(err.Error(), "\n") != max(0, len(problems)-1) {
		t.Fatalf("%q", err)
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"*", "<>", "a@b", "*@b.c", "*@*.b", "a@*", `"a\"b"@c`, "a@[1]", "ü@ü.ü", "\u212a@\u212a",
		"a@" + strings.Repeat("p", 45) + "\u054e" + strings.Repeat("p", 10)} {
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

// FuzzQuantity: a duration, size or rate that is taken is in its bounds, and is
// written as something that is read as the same.
func FuzzQuantity(f *testing.F) {
	for _, s := range []string{"0", "1w2d", "1.5h", "90s", "256MiB", "35 MB", "30/1m", "10000 recipients/24h", "9223372036854775807ns",
		"99999999999999999999/1d", ".d", "1e9s", "1µs", "0.9999999999999999w", "8388608TiB", "5 /1m", "5/1m/1m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDuration(s); err == nil {
			if again, err := ParseDuration(formatDuration(d)); d < 0 || err != nil || again != d {
				t.Fatalf("duration %q: %v, written as %q, which is %v, %v", s, d, formatDuration(d), again, err)
			}
		}
		if n, err := parseSize(s); err == nil {
			if again, err := parseSize(FormatSize(n)); n < 0 || err != nil || again != n {
				t.Fatalf("size %q: %d, written as %q, which is %d, %v", s, n, FormatSize(n), again, err)
			}
		}
		if r, err := ParseRate(s); err == nil {
			if again, err := ParseRate(r.String()); err != nil || again != r || r.Count < 1 || r.Count > maxRateCount || r.Per < minRatePer || r.Per > maxRatePer {
				t.Fatalf("rate %q: %+v, written as %q, which is %+v, %v", s, r, r, again, err)
			}
		}
	})
}
