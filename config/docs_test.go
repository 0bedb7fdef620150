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
		if filepath.Base(doc) == "steps.md" {
			continue // its files are message files, which relay/merge reads
		}
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
		if strings.HasPrefix(filepath.Base(path), "m1.") {
			model = "dkim/rsa.pem"
		}
		content, err := os.ReadFile(filepath.Join(dir, model))
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(path) == "aliases" {
			content = []byte("root: ops@example.com\n")
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

// heading is the one that docs/configuration.md has for a table.
func heading(s Setting) string {
	switch s.Kind {
	case "tables":
		return "`[[" + s.Name + "]]`"
	case "named tables":
		return "`[" + joinKey(s.Table, s.Name) + ".NAME]`"
	}
	return "`[" + joinKey(s.Table, s.Name) + "]`"
}

// documentedUnder are the settings, by the headings of their tables.
func documentedUnder() map[string][]Setting {
	headings, all := map[string]string{"": "Top level"}, map[string][]Setting{}
	for _, s := range Settings() {
		switch s.Kind {
		case "named tables":
			headings[joinKey(s.Table, s.Name)+".NAME"] = heading(s)
		case "table", "tables":
			headings[joinKey(s.Table, s.Name)] = heading(s)
		}
		if under := headings[s.Table]; under != "" {
			all[under] = append(all[under], s)
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

// oneOfMany is true of a key that gives a secret from elsewhere: the page tells
// of all of these once.
func oneOfMany(s Setting) bool {
	for _, name := range []string{passwordKey, clientSecretKey, urlKey} {
		if rest, ok := strings.CutPrefix(s.Name, name+"_"); ok && rest != "" && rest != "ends" {
			return true
		}
	}
	return false
}

// The page of the configuration has every key with its default, and nothing
// else.
func TestEveryKeyIsDocumented(t *testing.T) {
	pages := documented(t)
	for heading, all := range documentedUnder() {
		page := pages[heading]
		for _, s := range all {
			if strings.HasPrefix(heading, "`[") && page == nil {
				t.Errorf("no heading %s", heading)
			}
			if isTable(s) || oneOfMany(s) {
				continue
			}
			want := s.Unset
			switch def := s.Default.(type) {
			case nil:
			case string:
				want = strconv.Quote(def)
			case []any:
				want = `["` + strings.ReplaceAll(strings.Trim(fmt.Sprint(def), "[]"), " ", `", "`) + `"]`
			default:
				want = fmt.Sprint(def)
			}
			got, ok := page[s.Name]
			if !ok {
				t.Errorf("%s: %s is not documented", heading, s.Name)
			} else if got != want {
				t.Errorf("%s: the default of %s is %s, and the page says %s", heading, s.Name, want, got)
			}
			delete(page, s.Name)
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
// Providers have pages of their own.
func TestEveryChoiceIsDocumented(t *testing.T) {
	content, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(content), "\n")
	for _, s := range Settings() {
		if s.Table == "upstream.NAME" && s.Name == "provider" {
			continue
		}
		for _, choice := range s.Choices {
			if !slices.ContainsFunc(lines, func(line string) bool {
				return strings.HasPrefix(line, "| `"+s.Name+"` ") && (strings.Contains(line, "`"+choice+"`") || strings.Contains(line, "`"+strconv.Quote(choice)+"`"))
			}) {
				t.Errorf("%s: %s = %q is not documented", s.Table, s.Name, choice)
			}
		}
	}
}

func isTable(s Setting) bool {
	return strings.HasSuffix(s.Kind, "table") || strings.HasSuffix(s.Kind, "tables")
}

// Each key says in a sentence what it is for, and what counts without it.
func TestEveryKeyIsDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Settings() {
		name := joinKey(s.Table, s.Name)
		if seen[name] {
			t.Errorf("%s stands there twice", name)
		}
		seen[name] = true
		if !strings.HasSuffix(s.Help, ".") || len(s.Help) > 120 || s.Kind == "" {
			t.Errorf("%s, a %q, is described as %q", name, s.Kind, s.Help)
		}
		if !isTable(s) && (s.Default == nil) == (s.Unset == "") {
			t.Errorf("%s has the default %v, and without it %q", name, s.Default, s.Unset)
		}
	}
	for _, name := range []string{"hostname", "spool.dir", "listener.users", "upstream.NAME.oauth.token_key_file", "route.header", "sender.from"} {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

// A form hides what is secret, offers what there is to choose from, and says
// what waits for a restart.
func TestSettings(t *testing.T) {
	of := map[string]Setting{}
	var secret []string
	for _, s := range Settings() {
		of[joinKey(s.Table, s.Name)] = s
		if s.Secret {
			secret = append(secret, joinKey(s.Table, s.Name))
		}
	}
	want := []string{"alert.command", "alert.password", "alert.password_command", "alert.url", "alert.url_command", "book.NAME.password", "book.NAME.password_command", "book.NAME.oauth.client_secret", "book.NAME.oauth.client_secret_command", "console.user.NAME.password", "http.token.NAME.hash", "listener.users", "spool.url", "upstream.NAME.password", "upstream.NAME.password_command", "upstream.NAME.oauth.client_secret", "upstream.NAME.oauth.client_secret_command"}
	slices.Sort(secret)
	slices.Sort(want)
	if !slices.Equal(secret, want) {
		t.Errorf("secret: %q", secret)
	}
	for name, want := range map[string]Setting{
		"spool.max_messages":  {Kind: "number", Default: 2_000_000, Restart: true},
		"log.level":           {Kind: "choice", Default: "info", Choices: []string{"debug", "info", "warn", "error"}},
		"listener.allow":      {Kind: "networks", Unset: "loopback only"},
		"upstream":            {Kind: "named tables"},
		"upstream.NAME.oauth": {Kind: "table"},
	} {
		got := of[name]
		if got.Kind != want.Kind || got.Default != want.Default || got.Unset != want.Unset || got.Restart != want.Restart || !slices.Equal(got.Choices, want.Choices) {
			t.Errorf("%s: %+v", name, got)
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

// The configuration that a newcomer reads first can be loaded, and has the two
// upstreams and three routes that it is shown for.
func TestReadmeConfiguration(t *testing.T) {
	dir := furnish(t)
	content, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := tomlBlock.FindAllStringSubmatch(string(content), -1)
	if len(blocks) != 1 {
		t.Fatalf("README.md shows %d configurations", len(blocks))
	}
	secret := filepath.Join(dir, "office.password")
	if err := os.WriteFile(secret, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("REPORTS_PASSWORD", "secret")
	text := strings.ReplaceAll(blocks[0][1], "/etc/postern/office.password", secret)
	file := filepath.Join(dir, "postern.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Warnings) > 0 || len(cfg.Upstreams) != 2 || len(cfg.Routes) != 3 {
		t.Errorf("%d upstreams, %d routes, warnings %v", len(cfg.Upstreams), len(cfg.Routes), cfg.Warnings)
	}
}
