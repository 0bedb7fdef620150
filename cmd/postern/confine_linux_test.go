package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A daemon that is confined, and the commands that it runs, can write in its
// own folders and in those that are named, and nowhere else.
func TestConfinedDaemonWritesNowhereElse(t *testing.T) {
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); errno != 0 {
		t.Skip("this kernel has no Landlock")
	}
	outside, allowed := t.TempDir(), t.TempDir()
	listen, up := freeAddr(t), freeAddr(t)
	startParrot(t, up)
	config := strings.Replace(ordinary(listen, up), `tls = "off"`, `tls = "off"
auth = "plain"
username = "billing"
password_command = ["sh", "-c", "echo x >ALLOWED/file; echo x >OUTSIDE/file; echo secret"]`, 1)
	config = "confine = \"on\"\nconfine_writable = [\"ALLOWED\"]\n" + config
	config = strings.NewReplacer("ALLOWED", allowed, "OUTSIDE", outside).Replace(config)
	h := newHarness(t, config)
	h.start()
	send(t, listen, "a@example.com", "to an upstream that refuses")
	eventually(t, "the command has run", func() bool {
		_, err := os.Stat(filepath.Join(allowed, "file"))
		return err == nil
	})
	eventually(t, "the sign-in has failed", func() bool { return strings.Contains(h.must("upstream", "list"), "parked") })
	if _, err := os.Stat(filepath.Join(outside, "file")); err == nil {
		t.Error("the command has written elsewhere")
	}
	if !strings.Contains(h.log.String(), `"confined":true`) {
		t.Error("the log doesn't tell of it")
	}
	h.must("reload")
	h.stop()
}
