package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

var tomlBlock = regexp.MustCompile("(?s)```toml\n(.*?)```")

// The files that the documents show can be loaded.
func TestDocumentedFiles(t *testing.T) {
	shown := 0
	for _, doc := range append(list(t, "../docs/*.md", 10), list(t, "../docs/upstreams/*.md", 4)...) {
		content, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		blocks := tomlBlock.FindAllStringSubmatch(string(content), -1)
		shown += len(blocks)
		dir := furnish(t)
		for _, block := range blocks {
			file := filepath.Join(dir, "postern.toml")
			if err := os.WriteFile(file, []byte(settle(t, dir, block[1])), 0o600); err != nil {
				t.Fatal(err)
			}
			if cfg, err := Load(file); err != nil {
				t.Errorf("%s: %v", doc, err)
			} else if len(cfg.Warnings) > 0 {
				t.Errorf("%s: %v", doc, cfg.Warnings)
			}
		}
	}
	if shown < 30 {
		t.Errorf("the documents show %d files", shown)
	}
}

// settle makes the files that a documented configuration names in
// /etc/postern and /run/secrets, in dir.
func settle(t *testing.T, dir, text string) string {
	t.Helper()
	from := map[string]string{".pem": "tls/cert.pem", ".key": "tls/key.pem"}
	return regexp.MustCompile(`/(etc/postern|run/secrets)/[a-z0-9.-]+`).ReplaceAllStringFunc(text, func(path string) string {
		model := from[filepath.Ext(path)]
		if model == "" {
			model = "office.pw"
		}
		content, err := os.ReadFile(filepath.Join(dir, model))
		if err != nil {
			t.Fatal(err)
		}
		own := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(own, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return own
	})
}

// Each provider has a whole file in the documents.
func TestEveryProviderIsShown(t *testing.T) {
	index, err := os.ReadFile("../docs/upstreams.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := ""
	for _, doc := range append(list(t, "../docs/upstreams/*.md", 4), "../docs/upstreams.md") {
		content, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range tomlBlock.FindAllStringSubmatch(string(content), -1) {
			shown += block[1]
		}
	}
	for _, name := range append(slices.Collect(maps.Keys(knownProviders().Provider)), CaptureProvider) {
		if !strings.Contains(shown, "provider = \""+name+"\"") {
			t.Errorf("no document has a file with provider = %q", name)
		}
		if !strings.Contains(string(index), "| `"+name+"` |") {
			t.Errorf("docs/upstreams.md does not list %q", name)
		}
	}
}

// Each mechanism is shown in use: in a whole file, or, where it is written as
// another one is, beside that.
func TestEveryMechanismIsShown(t *testing.T) {
	shown := ""
	for _, doc := range append(list(t, "../docs/*.md", 10), list(t, "../docs/upstreams/*.md", 4)...) {
		content, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		shown += string(content)
	}
	for _, m := range mechanisms {
		if !strings.Contains(shown, `auth = `+m.name.quoted()) && !strings.Contains(shown, `auth     = `+m.name.quoted()) {
			t.Errorf("no document shows auth = %q", m.name)
		}
	}
}

// tables are all keys, under the headings that docs/configuration.md has for
// their tables.
func tables() map[string][]key {
	cfg := &Config{}
	all := map[string][]key{
		"Top level": cfg.keys(), "`[[listener]]`": (&Listener{}).keys(), "`[upstream.NAME]`": (&Upstream{}).keys(),
		"`[upstream.NAME.oauth]`": (&OAuth{}).keys(), "`[[route]]`": (&Route{}).keys(), "`[[sender]]`": (&Sender{}).keys(),
		"`[http.token.NAME]`": (&HTTPToken{}).keys(),
	}
	for _, k := range cfg.keys() {
		if s, ok := k.value.(section); ok {
			all["`["+k.name+"]`"] = s.keys
		}
	}
	return all
}

// documented reads the tables of docs/configuration.md: heading → key → what
// stands beside it for its default, without the marks of code.
func documented(t *testing.T) map[string]map[string]string {
	content, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]map[string]string{}
	heading := ""
	for line := range strings.Lines(string(content)) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && line[0] == '#' {
			heading = strings.TrimSpace(title)
			found[heading] = map[string]string{}
		}
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if name, ok := strings.CutPrefix(cells[0], "| `"); ok && len(cells) > 1 {
			found[heading][strings.TrimRight(name, "`…")] = strings.ReplaceAll(cells[1], "`", "")
		}
	}
	return found
}

// The page of the configuration has every key with its default, and nothing
// else.
func TestEveryKeyIsDocumented(t *testing.T) {
	pages := documented(t)
	for heading, keys := range tables() {
		page := pages[heading]
		for _, k := range keys {
			if k.unset == "" && k.def == nil {
				continue // a table, which has a heading of its own
			}
			switch v := k.value.(type) {
			case secretAt:
				if v.kind != secretLiteral && v.name != tokenKeyKey {
					continue // all are told of once: see below
				}
			case commandEnvAt:
				continue
			}
			want := k.unset
			switch def := k.def.(type) {
			case nil:
			case string:
				want = strconv.Quote(def)
			case []any:
				want = `["` + strings.ReplaceAll(strings.Trim(fmt.Sprint(def), "[]"), " ", `", "`) + `"]`
			default:
				want = fmt.Sprint(def)
			}
			got, ok := page[k.name]
			if !ok {
				t.Errorf("%s: %s is not documented", heading, k.name)
			} else if got != want {
				t.Errorf("%s: the default of %s is %s, and the page says %s", heading, k.name, want, got)
			}
			delete(page, k.name)
		}
		for name := range page {
			t.Errorf("%s: the page has %s, which is no key", heading, name)
		}
	}
	for _, k := range secretKeys(&Secret{}, passwordKey, "", secretKinds...) {
		if _, ok := pages["Passwords"][k.name]; !ok {
			t.Errorf("%s is not documented", k.name)
		}
	}
}

// Every value that a key can have is on the page, in the line of the key.
func TestEveryChoiceIsDocumented(t *testing.T) {
	content, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(content), "\n")
	for heading, keys := range tables() {
		for _, k := range keys {
			c, ok := k.value.(interface{ choices() []string })
			if !ok {
				continue
			}
			for _, choice := range c.choices() {
				if !slices.ContainsFunc(lines, func(line string) bool {
					return strings.HasPrefix(line, "| `"+k.name+"` ") && (strings.Contains(line, "`"+choice+"`") || strings.Contains(line, "`"+strconv.Quote(choice)+"`"))
				}) {
					t.Errorf("%s: %s = %q is not documented", heading, k.name, choice)
				}
			}
		}
	}
}

// ofTables is true of a key that holds tables with keys of their own.
func ofTables(k key) bool {
	_, one := k.value.(section)
	return one || slices.Contains([]string{"listener", "upstream", "route", "sender", "oauth", "token"}, k.name) && k.help == ""
}

// Each key says in a sentence what it is for, and what counts without it.
func TestEveryKeyIsDescribed(t *testing.T) {
	for heading, keys := range tables() {
		names := map[string]bool{}
		for _, k := range keys {
			if names[k.name] {
				t.Errorf("%s: %s stands there twice", heading, k.name)
			}
			names[k.name] = true
			if ofTables(k) {
				continue
			}
			if k.help == "" || !strings.HasSuffix(k.help, ".") || len(k.help) > 120 {
				t.Errorf("%s: %s is described as %q", heading, k.name, k.help)
			}
			if (k.def == nil) == (k.unset == "") {
				t.Errorf("%s: %s has the default %v, and without it %q", heading, k.name, k.def, k.unset)
			}
		}
	}
}

// No paragraph of a page is one line of more than 600 characters: it is broken
// into shorter ones, or into a list. Tables have rows of any length.
func TestParagraphsAreShort(t *testing.T) {
	const most = 600
	pages := list(t, "../*.md", 4)
	err := filepath.WalkDir("../docs", func(path string, _ os.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			pages = append(pages, path)
		}
		return err
	})
	if err != nil || len(pages) < 50 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, page := range pages {
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(content), "\n") {
			if n := utf8.RuneCountInString(line); n > most && !strings.HasPrefix(line, "|") {
				t.Errorf("%s:%d: a paragraph of %d characters in one line; break it up, %d is the most", page, i+1, n, most)
			}
		}
	}
}
