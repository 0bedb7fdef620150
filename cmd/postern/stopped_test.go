//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Who may not read the spool of a stopped daemon is not told to take it over.
func TestStoppedSpoolOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	h := newHarness(t, `
[spool]
dir = "DIR/spool"
[control]
socket = "DIR/c.sock"
[upstream.office]
host = "smtp.office.example"
[[route]]
from = ["*"]
upstream = ["office"]
`)
	cmd := h.command(t.Context(), "queue", "list")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	for path, mode := range map[string]os.FileMode{h.dir: 0o755, h.config: 0o644, filepath.Dir(cmd.Path): 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != exitNoPerm || strings.Contains(string(out), "chown") ||
		!strings.Contains(string(out), "run this command as that user") {
		t.Errorf("code %d: %s", code, out)
	}
}
