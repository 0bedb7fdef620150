package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
