package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestForeignFileOfFolder: a file of conf.d that is a link to one of another program
// is told of by its lines, in the answer to a reload, in the log and in the alert.
func TestForeignFileOfFolder(t *testing.T) {
	t.Parallel()
	h := newHarness(t, ordinary(freeAddr(t), freeAddr(t))+notesTold)
	h.start()
	foreign, folder := filepath.Join(t.TempDir(), "credentials"), filepath.Join(h.dir, "conf.d")
	if err := os.WriteFile(foreign, []byte("[\"F0reign\"]\nkey = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(foreign, filepath.Join(folder, "x.toml")); err != nil {
		t.Fatal(err)
	}
	r := h.do("reload")
	if r.code != exitConfig || !strings.Contains(r.stderr, "x.toml:1: this cannot be used") {
		t.Errorf("%+v", r)
	}
	h.kept("reload-refused")
	told := r.stderr + r.stdout + h.log.String() + h.told()[0].Text + h.must("alert", "list") + h.do("status").stdout
	if strings.Contains(told, "F0reign") {
		t.Error(told)
	}
	if r := h.do("check"); !strings.Contains(r.stderr, "F0reign: unknown key") {
		t.Errorf("whoever may read it is told %+v", r)
	}
	h.kill()
	if r := h.do("serve"); r.code != exitConfig || !strings.Contains(r.stderr, "x.toml:1: this cannot be used") || strings.Contains(r.stderr, "F0reign") {
		t.Errorf("at a start: %+v", r)
	}
}
