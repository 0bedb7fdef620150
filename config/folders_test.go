package config

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Spool and state are told of where one is in the other's way.
func TestFoldersInEachOthersWay(t *testing.T) {
	top := t.TempDir()
	if err := os.Mkdir(filepath.Join(top, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" { // making links needs a right of its own there
		if err := os.Symlink("state", filepath.Join(top, "link")); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		spool, state string
		key          string // of what is said; empty: nothing
		warning      bool
	}{
		{"spool", "state", "", false},
		{"state/spool", "state", "", false}, // as the embedded default
		{"state/captured", "state", "", false},
		{"state2", "state", "", false},
		{"state", "state", "state_dir", true},
		{"state/", "state/.", "state_dir", true},
		{"spool", "spool/state", "state_dir", true},
		{"spool", "spool/big/state", "state_dir", true},
		{"state/capture", "state", "spool.dir", false},
		{"state/capture/new", "state", "spool.dir", false},
		{"state/oauth", "state", "spool.dir", false},
		{"link/oauth/spool", "state", "spool.dir", false},
		{"state", "link", "state_dir", true},
		{"link/spool", "state", "", false},
	} {
		if runtime.GOOS == "windows" && strings.Contains(c.spool+c.state, "link") {
			continue
		}
		cfg := Default()
		cfg.Spool.Dir, cfg.StateDir = filepath.Join(top, c.spool), filepath.Join(top, c.state)
		d := &document{source: &sourceMap{}}
		d.checkFolders(cfg)
		got, warning := "", len(d.warnings.list) > 0
		for _, p := range append(d.problems.list, d.warnings.list...) {
			got += p.Key
		}
		if got != c.key || warning != c.warning {
			t.Errorf("spool %s, state %s: %v, %v", c.spool, c.state, d.problems, d.warnings)
		}
	}
}
