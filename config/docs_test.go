package config

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var tomlBlock = regexp.MustCompile("(?s)```toml\n(.*?)```")

// The files that the documents show can be loaded.
func TestDocumentedFiles(t *testing.T) {
	for _, doc := range []string{"../docs/configuration.md", "../docs/routing.md", "../docs/oauth.md"} {
		content, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		blocks := tomlBlock.FindAllStringSubmatch(string(content), -1)
		if len(blocks) == 0 {
			t.Errorf("%s shows no file", doc)
		}
		dir := furnish(t)
		for _, block := range blocks {
			file := filepath.Join(dir, "postern.toml")
			if err := os.WriteFile(file, []byte(block[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			if cfg, err := Load(file); err != nil {
				t.Errorf("%s: %v", doc, err)
			} else if len(cfg.Warnings) > 0 {
				t.Errorf("%s: %v", doc, cfg.Warnings)
			}
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
	all := cfg.Redacted()
	tables := []any{all, all["spool"], all["control"], all["log"], all["retry"]}
	tables = append(tables, all["listener"].([]any)...)
	tables = append(tables, all["route"].([]any)...)
	for _, up := range all["upstream"].(map[string]any) {
		tables = append(tables, up)
		if oauth := up.(map[string]any)["oauth"]; oauth != nil {
			tables = append(tables, oauth)
		}
	}
	for _, table := range tables {
		for key := range table.(map[string]any) {
			switch key {
			case "spool", "control", "log", "retry", "listener", "upstream", "route", "oauth":
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
