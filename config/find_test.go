package config

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestEmbedded(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("XDG_STATE_HOME is for Unix")
	}
	base := t.TempDir()
	t.Setenv("XDG_STATE_HOME", base)
	cfg, err := embedded("")
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(base, "postern")
	for _, c := range [][2]string{
		{cfg.StateDir, state}, {cfg.Spool.Dir, state + "/spool"}, {cfg.CaptureDir(), state + "/capture"},
		{cfg.Control.Socket, state + "/control.sock"}, {cfg.Path, ""}, {cfg.Listeners[0].Target, "127.0.0.1:2525"},
		{cfg.Upstreams["capture"].Provider, "capture"}, {cfg.Routes[0].Upstream[0], "capture"}, {cfg.Routes[0].From[0], "*"},
	} {
		if c[0] != c[1] {
			t.Errorf("%q, want %q", c[0], c[1])
		}
	}
	if !cfg.NeedsCapture() || len(cfg.Listeners) != 1 || len(cfg.Upstreams) != 1 {
		t.Errorf("%+v", cfg)
	}

	t.Setenv("XDG_STATE_HOME", "relative")
	t.Setenv("HOME", base)
	if cfg, err := embedded(""); err != nil || cfg.StateDir != filepath.Join(base, ".local/state/postern") {
		t.Errorf("%v, %v", cfg, err)
	}
	t.Setenv("HOME", "")
	var problems *Problems
	if _, err := embedded(""); !errors.As(err, &problems) || !strings.Contains(err.Error(), "XDG_STATE_HOME") {
		t.Errorf("without a home: %v", err)
	}
	if _, err := embedded("/" + strings.Repeat("x", 100)); err == nil {
		t.Error("a socket path that is too long was accepted")
	}
}

func TestFind(t *testing.T) {
	dir := furnish(t)
	file := place(t, dir, "testdata/good/small.toml")
	if cfg, err := Find(file); err != nil || cfg.Path != file {
		t.Errorf("Find(%s) = %v, %v", file, cfg, err)
	}
	var problems *Problems
	if _, err := Find(filepath.Join(dir, "nowhere.toml")); !errors.As(err, &problems) {
		t.Errorf("a named file that is missing: %v", err)
	}
	if _, err := Load(dir); !errors.As(err, &problems) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := os.Stat(DefaultPath()); err == nil {
		t.Skip(DefaultPath() + " exists on this machine")
	}
	if cfg, err := Find(""); err != nil || cfg.Path != "" || !cfg.NeedsCapture() {
		t.Errorf("without a file: %v, %v", cfg, err)
	}
}

// Whoever may talk to the daemon finds it without reading secrets, and while
// the rest of the file is wrong.
func TestLocate(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "postern.toml")
	text := "[spool]\ndir = \"my/spool\"\n[upstream.x]\npassword_file = \"/nowhere\"\nnonsense = 1\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	place, err := Locate(file)
	if err != nil {
		t.Fatal(err)
	}
	if place.SpoolDir != filepath.Join(dir, "my/spool") || place.Socket != Default().Control.Socket || place.Path != file {
		t.Errorf("%+v", place)
	}
	if err := os.WriteFile(file, []byte("[control]\nsocket = 5\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Locate(file); err == nil || !strings.Contains(err.Error(), "control.socket: must be a string") {
		t.Errorf("error %v", err)
	}
}

// Whoever can write the file can have commands run.
func TestLoadRefusesWorldWritable(t *testing.T) {
	file := place(t, furnish(t), "testdata/good/small.toml")
	if err := os.Chmod(file, 0o646); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "everybody on this machine can change it") {
		t.Errorf("error %v", err)
	}
}
