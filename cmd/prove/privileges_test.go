//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// refusedStart runs the daemon, which has to refuse to start, and returns what
// it says.
func (h *harness) refusedStart() string {
	h.t.Helper()
	err := h.start(context.Background())
	if err == nil {
		h.t.Error("it started")
		h.kill()
	}
	var exit *exec.ExitError
	if errors.As(<-h.reaped(), &exit) && exit.ExitCode() < 64 {
		h.t.Errorf("exit code %d", exit.ExitCode())
	}
	return h.logged()
}

// reaped gives the end of the daemon, once and again.
func (h *harness) reaped() chan error {
	err := <-h.exited
	h.exited <- err
	return h.exited
}

// TestRefusesUnsafePlaces: what others could read or change, or have put in
// the place of ours, stops the start with a sentence, and is left alone.
func TestRefusesUnsafePlaces(t *testing.T) {
	const precious = "precious\n"
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(elsewhere, []byte(precious), 0o600); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	link := func(h *harness, name, target string) {
		path := filepath.Join(h.dir, "spool", name)
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		root  bool
		spoil func(h *harness)
		says  string
	}{
		"spool open to others": {false, func(h *harness) { os.Chmod(filepath.Join(h.dir, "spool"), 0o750) }, "chmod 0700"},
		"spool of another":     {true, func(h *harness) { os.Chown(filepath.Join(h.dir, "spool"), 65534, -1) }, "belongs to user 65534"},
		"lock is a link":       {false, func(h *harness) { link(h, "lock", elsewhere) }, "spool"},
		"format is a link":     {false, func(h *harness) { link(h, "format", elsewhere) }, "spool"},
		"big is a link":        {false, func(h *harness) { link(h, "big", other) }, "holds big"},
		"bad is a link":        {false, func(h *harness) { link(h, "bad", other) }, "holds bad"},
		"control socket is a file": {false, func(h *harness) {
			os.WriteFile(filepath.Join(h.dir, "control.sock"), []byte(precious), 0o600)
		}, "not a socket"},
		"configuration of everybody": {false, func(h *harness) { os.Chmod(h.config(), 0o666) }, "postern.toml"},
		"configuration of another":   {true, func(h *harness) { os.Chown(h.config(), 65534, -1) }, "belongs to user 65534"},
		"password of another": {true, func(h *harness) {
			os.WriteFile(filepath.Join(h.dir, "pw"), []byte("secret"), 0o600)
			os.Chown(filepath.Join(h.dir, "pw"), 65534, -1)
			h.edit(`auth = "none"`, "auth = \"plain\"\nusername = \"u\"\npassword_file = \"pw\"")
		}, "belongs to user 65534"},
		"password of everybody": {false, func(h *harness) {
			os.WriteFile(filepath.Join(h.dir, "pw"), []byte("secret"), 0o644)
			os.Chmod(filepath.Join(h.dir, "pw"), 0o644)
			h.edit(`auth = "none"`, "auth = \"plain\"\nusername = \"u\"\npassword_file = \"pw\"")
		}, "password_file"},
		"open to the network": {false, func(h *harness) {
			_, port, _ := net.SplitHostPort(h.addr)
			h.edit(fmt.Sprintf("address = %q", h.addr), fmt.Sprintf("address = %q", net.JoinHostPort("0.0.0.0", port)))
		}, "allow"},
		"metrics open to the network": {false, func(h *harness) {
			h.edit("[log]", "metrics = \"0.0.0.0:0\"\n[log]")
		}, "control.metrics"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.root && os.Geteuid() != 0 {
				t.Skip("this needs root, to give a folder away")
			}
			h := newHarness(t, "")
			h.t = t
			c.spoil(h)
			said := h.refusedStart()
			if !strings.Contains(said, c.says) {
				t.Errorf("it does not say %q:\n%s", c.says, said)
			}
			if strings.Contains(said, "secret") {
				t.Error("it tells a secret")
			}
		})
	}
	if b, err := os.ReadFile(elsewhere); string(b) != precious {
		t.Errorf("what a link led to now holds %q, %v", b, err)
	}
	if left, _ := os.ReadDir(other); len(left) > 0 {
		t.Errorf("written through a link: %v", left)
	}
}

// TestNothingIsLeftOpen: whatever the umask, only our user can read what the
// daemon makes, and only owner and group can reach its sockets.
func TestNothingIsLeftOpen(t *testing.T) {
	h := newHarness(t, "")
	smtp := filepath.Join(h.dir, "smtp.sock")
	h.edit("[upstream.sink]", "[[listener]]\naddress = \"unix:"+smtp+"\"\n[upstream.sink]")
	h.sink.fail(1)
	old := syscall.Umask(0)
	h.up()
	syscall.Umask(old)
	k := h.dial("c")
	k.send(1000)
	k.send(300_000)
	err := filepath.WalkDir(filepath.Join(h.dir, "spool"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{smtp, filepath.Join(h.dir, "control.sock")} {
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Perm() != 0o660 || info.Mode().Type() != fs.ModeSocket {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if warned := strings.Contains(h.logged(), `"running-as-root"`); warned != (os.Geteuid() == 0) {
		t.Errorf("the warning about running as root: %t", warned)
	}
	h.sink.fail(0)
	h.settled()
}

// TestStrangersAreKeptOut runs the daemon as a user of its own; another user
// of the machine reaches neither its control socket nor its listener.
func TestStrangersAreKeptOut(t *testing.T) {
	needRoot(t)
	h := newHarness(t, "")
	smtp := filepath.Join(h.dir, "smtp.sock")
	h.edit("[upstream.sink]", "[[listener]]\naddress = \"unix:"+smtp+"\"\n[upstream.sink]")
	const daemonUser, stranger = 64001, 64002
	for _, path := range []string{h.dir, h.config(), filepath.Join(h.dir, "spool")} {
		if err := os.Chown(path, daemonUser, daemonUser); err != nil {
			t.Fatal(err)
		}
	}
	for path, mode := range map[string]fs.FileMode{h.dir: 0o755, filepath.Dir(h.binary): 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	h.as = &syscall.Credential{Uid: daemonUser, Gid: daemonUser}
	h.up()
	if strings.Contains(h.logged(), `"running-as-root"`) {
		t.Error("it warns of root")
	}
	if answer := h.dial("c").send(1000); answer != "" {
		t.Errorf("refused: %s", answer)
	}
	for _, path := range []string{smtp, filepath.Join(h.dir, "control.sock")} {
		cmd := exec.Command(h.binary, "status", "--socket", path, "--config", h.config())
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("%s lets a stranger in: %s", path, out)
		}
	}
	h.settled()
}

// TestLinksInTheSpoolAreNotFollowed puts links where a running spool has
// files: what they lead to is neither delivered nor changed, and the other
// mail arrives.
func TestLinksInTheSpoolAreNotFollowed(t *testing.T) {
	h := newHarness(t, "")
	h.sink.fail(1)
	h.up()
	k := h.dial("c")
	if k.send(1000) != "" || k.send(300_000) != "" || k.send(1000) != "" {
		t.Fatal("refused")
	}
	large := h.books.acked["c-2"]
	h.kill()
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(elsewhere, []byte("X-Number: stolen\r\n\r\nprecious\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	body := filepath.Join(h.dir, "spool", "big", large+".eml")
	if err := os.Remove(body); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{body, filepath.Join(h.dir, "spool", "0000000099.seg"), filepath.Join(h.dir, "spool", "0000000098.idx")} {
		if err := os.Symlink(elsewhere, path); err != nil {
			t.Fatal(err)
		}
	}
	h.sink.fail(0)
	h.up()
	eventually(t, "the two others arrived", func() bool { return h.books.owed() == 1 })
	eventually(t, "the third is set aside", func() bool { return strings.Contains(h.logged(), `"record-set-aside"`) })
	if err := h.stop(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(elsewhere); err != nil || !strings.Contains(string(b), "precious") {
		t.Errorf("what the links led to: %q, %v", b, err)
	}
	if h.books.unknown > 0 || h.books.arrived["stolen"] > 0 {
		t.Error("what the link led to was delivered")
	}
}
