package config

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
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
		if !strings.Contains(shown, `auth = "`+m.name+`"`) && !strings.Contains(shown, `auth     = "`+m.name+`"`) {
			t.Errorf("no document shows auth = %q", m.name)
		}
	}
}

// Every key of a configuration, and every mechanism, is documented.
func TestEveryKeyIsDocumented(t *testing.T) {
	content, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	dir := furnish(t)
	cfg, err := Load(place(t, dir, "testdata/good/whole.toml"))
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := Load(place(t, dir, "testdata/good/oauth.toml"))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(cfg.Upstreams, tokens.Upstreams)
	accounts, err := Load(place(t, dir, "testdata/good/accounts.toml"))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(cfg.Upstreams, accounts.Upstreams)
	ways, err := Load(place(t, dir, "testdata/good/tls.toml"))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(cfg.Upstreams, ways.Upstreams)
	providers, err := Load(place(t, dir, "testdata/good/providers.toml"))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(cfg.Upstreams, providers.Upstreams)
	all := cfg.Redacted()
	tables := []any{all, all["spool"], all["control"], all["log"], all["retry"]}
	tables = append(tables, all["listener"].([]any)...)
	tables = append(tables, all["route"].([]any)...)
	tables = append(tables, all["sender"].([]any)...)
	for _, up := range all["upstream"].(map[string]any) {
		tables = append(tables, up)
		if oauth := up.(map[string]any)["oauth"]; oauth != nil {
			tables = append(tables, oauth)
		}
	}
	for _, table := range tables {
		for key := range table.(map[string]any) {
			switch key {
			case "spool", "control", "log", "retry", "listener", "upstream", "route", "sender", "oauth":
				continue // headings
			}
			if !strings.Contains(text, "`"+key+"`") {
				t.Errorf("%s is not documented", key)
			}
		}
	}
	for _, m := range mechanisms {
		if documented := strings.Contains(text, "`"+m.name+"`"); documented != m.supported {
			t.Errorf("auth %s: documented %v, supported %v", m.name, documented, m.supported)
		}
	}
}
