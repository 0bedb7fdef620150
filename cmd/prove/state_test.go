//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestStateFolderFails runs the daemon with a state folder that cannot be used:
// it starts, says so, delivers all mail, writes through no link, and does so
// again after a kill.
func TestStateFolderFails(t *testing.T) {
	fill := func(t *testing.T, dir string) error {
		f, err := os.Create(filepath.Join(dir, "filler"))
		if err != nil {
			return err
		}
		defer f.Close()
		for {
			if _, err := f.Write(make([]byte, 4096)); err != nil {
				return nil
			}
		}
	}
	elsewhere := t.TempDir() // it has to stay empty
	for name, c := range map[string]struct {
		mount string // options of a tmpfs for it; "": none
		spoil func(t *testing.T, dir string) error
		says  string
	}{
		"full":      {"size=64k,mode=0700", fill, "no space left on device"},
		"no inodes": {"nr_inodes=1,mode=0700", func(*testing.T, string) error { return nil }, "no space left on device"},
		"read-only": {"mode=0700", func(t *testing.T, dir string) error {
			return command(t.Context(), "mount", "-o", "remount,ro", dir)
		}, "read-only file system"},
		"files in the place of folders": {"", func(t *testing.T, dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "budget"), nil, 0o600), os.WriteFile(filepath.Join(dir, "pause"), nil, 0o600))
		}, "move it away"},
		"links in the place of folders": {"", func(t *testing.T, dir string) error {
			return errors.Join(os.Symlink(elsewhere, filepath.Join(dir, "budget")), os.Symlink(elsewhere, filepath.Join(dir, "pause")))
		}, "no link to one is followed"},
		"a pipe in the place of a file": {"", func(t *testing.T, dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "budget"), 0o700), syscall.Mkfifo(filepath.Join(dir, "budget", "sink"), 0o600))
		}, "sink.bad"},
		"a torn file": {"", func(t *testing.T, dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "budget"), 0o700),
				os.WriteFile(filepath.Join(dir, "budget", "sink"), []byte(`{"version":1,"ra`), 0o600))
		}, "sink.bad"},
		"open to everybody": {"", func(t *testing.T, dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "budget"), 0o700), os.Chmod(filepath.Join(dir, "budget"), 0o777))
		}, "chmod 0700"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, "")
			state := filepath.Join(h.dir, "state")
			if c.mount != "" {
				state = mounted(t, "tmpfs", "tmpfs", c.mount)
			} else if err := os.Mkdir(state, 0o700); err != nil {
				t.Fatal(err)
			}
			h.edit("state_dir = \""+h.dir, "state_dir = \""+state)
			h.edit(`auth = "none"`, "auth = \"none\"\nrate = \"1000/1h\"")
			if err := c.spoil(t, state); err != nil {
				t.Fatal(err)
			}
			h.up()
			k := h.dial("c")
			for range 3 {
				if refused := k.send(1000); refused != "" {
					t.Errorf("refused: %s", refused)
				}
			}
			h.arrived()
			if log := h.logged(); !strings.Contains(log, `"upstream-record-failed"`) || !strings.Contains(log, c.says) {
				t.Errorf("it does not say %q", c.says)
			}
			h.kill()
			h.up()
			if refused := h.dial("d").send(1000); refused != "" {
				t.Errorf("refused after a restart: %s", refused)
			}
			h.arrived()
			if left, err := os.ReadDir(elsewhere); err != nil || len(left) > 0 {
				t.Errorf("written through a link: %v, %v", left, err)
			}
		})
	}
}

// TestStateFolderTurnsReadOnly: under a running daemon, a pause is said to be
// forgotten by a restart, mail goes on, and the restart does forget it.
func TestStateFolderTurnsReadOnly(t *testing.T) {
	t.Parallel()
	state := mounted(t, "tmpfs", "tmpfs", "mode=0700")
	h := newHarness(t, "")
	h.edit("state_dir = \""+h.dir, "state_dir = \""+state)
	h.edit(`auth = "none"`, "auth = \"none\"\nrate = \"20/1h\"")
	h.up()
	k := h.dial("c")
	k.send(1000)
	if err := command(t.Context(), "mount", "-o", "remount,ro", state); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if refused := k.send(1000); refused != "" {
			t.Errorf("refused: %s", refused)
		}
	}
	h.arrived()
	out, err := exec.Command(h.binary, "upstream", "pause", "sink", "--config", h.config()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "a restart forgets it") {
		t.Errorf("pause: %v, %s", err, out)
	}
	k.send(1000)
	if !strings.Contains(h.logged(), `"upstream-record-failed"`) {
		t.Error("nothing is said")
	}
	h.kill()
	h.up()
	h.arrived()
}

// arrived waits until everything promised is at the upstream. It does not wait
// for duplicates, as settled does.
func (h *harness) arrived() {
	h.t.Helper()
	eventually(h.t, "all that was promised arrived", func() bool { return h.books.owed() == 0 })
}
