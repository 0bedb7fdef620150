//go:build unix

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// startable writes a configuration that starts, with keys of the test's own
// behind those of each table.
func startable(t *testing.T, dir, spool, control, listener string) string {
	t.Helper()
	file := filepath.Join(dir, "postern.toml")
	text := fmt.Sprintf(`state_dir = %q
[spool]
dir = %q
min_free = "1MiB"
[control]
%s
[[listener]]
%s
[upstream.here]
provider = "capture"
[[route]]
from = ["*", "<>"]
upstream = ["here"]
`, filepath.Join(dir, "state"), spool, control, listener)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// What would keep a relay from starting is said beforehand, and nothing is
// left behind by looking.
func TestCheckForeseesTheStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	base := t.TempDir()
	plain := filepath.Join(base, "file")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(base, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := func(path string) string { return fmt.Sprintf("socket = %q", path) }
	good, free := socket(filepath.Join(base, "c")), `address = "127.0.0.1:0"`
	for _, c := range []struct{ name, spool, control, listener, want string }{
		{"all is well", filepath.Join(base, "spool"), good, free, ""},
		{"no folder above the spool", filepath.Join(base, "none", "spool"), good, free, "spool.dir: spool folder "},
		{"the spool is a file", plain, good, free, "is not a folder"},
		{"the spool is open", open, good, free, "spool.dir: spool folder " + open + " has mode 0755"},
		{"the spool is something else", base, good, free, "spool.dir: "},
		{"no folder of the control socket", filepath.Join(base, "spool"), socket(filepath.Join(base, "none", "c")), free, "control.socket: its folder "},
		{"a file is in the place of the control socket", filepath.Join(base, "spool"), socket(plain), free, "control.socket: " + plain + " exists and is not a socket"},
		{"no folder of a listener", filepath.Join(base, "spool"), good, fmt.Sprintf("address = %q", "unix:"+filepath.Join(base, "none", "l")), "listener[0].address: its folder "},
		{"a file is in the place of a listener", filepath.Join(base, "spool"), good, fmt.Sprintf("address = %q", "unix:"+plain), "exists and is not a socket"},
		{"the port is in use", filepath.Join(base, "spool"), good, fmt.Sprintf("address = %q", taken.Addr()), "listener[0].address: listen " + taken.Addr().String() + ": address already in use"},
		{"metrics are in use", filepath.Join(base, "spool"), good + fmt.Sprintf("\nmetrics = %q", taken.Addr()), free, "control.metrics: "},
		{"no such address here", filepath.Join(base, "spool"), good, "address = \"192.0.2.77:2525\"\nallow = [\"192.0.2.0/24\"]", "listener[0].address: listen 192.0.2.77:2525: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := startable(t, t.TempDir(), c.spool, c.control, c.listener)
			r := perform(t, "", "check", "--config", file)
			switch {
			case c.want == "" && r.code != exitOK, c.want != "" && (r.code != exitConfig || !strings.Contains(r.stderr, c.want)):
				t.Errorf("%+v, want %q", r, c.want)
			}
			if _, err := os.Stat(filepath.Join(base, "spool")); err == nil {
				t.Error("the check made a folder")
			}
		})
	}
}

// A spool that would refuse all mail starts, and is warned of.
func TestCheckForeseesAFullDisk(t *testing.T) {
	dir := t.TempDir()
	file := startable(t, dir, filepath.Join(dir, "spool"), fmt.Sprintf("socket = %q", filepath.Join(dir, "c")), `address = "127.0.0.1:0"`)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), `"1MiB"`, `"100000TiB"`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := perform(t, "", "check", "--config", file); r.code != exitOK || !strings.Contains(r.stderr, "spool.min_free: only ") {
		t.Errorf("%+v", r)
	}
}

// As root, the check looks with the rights of the user who runs the relay.
func TestCheckAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{filepath.Dir(program)} {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("/tmp", "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	spool := filepath.Join(dir, "spool")
	if err := os.Mkdir(spool, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, spool} {
		if err := os.Chown(path, 4242, 4242); err != nil {
			t.Fatal(err)
		}
	}
	key := filepath.Join(dir, "secret")
	if err := os.WriteFile(key, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := startable(t, dir, spool, fmt.Sprintf("socket = %q", filepath.Join(dir, "c")), `address = "127.0.0.1:0"`)
	text, _ := os.ReadFile(file)
	more := strings.Replace(string(text), "[[route]]", fmt.Sprintf("[upstream.office]\nhost = \"mail.invalid\"\nusername = \"u\"\npassword_file = %q\n[[route]]", key), 1)
	if err := os.WriteFile(file, []byte(more), 0o644); err != nil {
		t.Fatal(err)
	}
	check := func(args ...string) string {
		out, _ := exec.Command(program, append([]string{"check", "--config", file}, args...)...).CombinedOutput()
		return string(out)
	}
	for _, args := range [][]string{nil, {"--as", "4242:4242"}} {
		if out := check(args...); !strings.Contains(out, "upstream.office.password_file: "+key+" cannot be read: permission denied") {
			t.Errorf("%q: %s", args, out)
		}
	}
	if err := os.Chown(key, 4242, 0); err != nil {
		t.Fatal(err)
	}
	if out := check(); !strings.Contains(out, "is good, seen as 4242:4242") {
		t.Error(out)
	}
	if out := check("--as", "no-such-user"); !strings.Contains(out, `there is no user "no-such-user"`) {
		t.Error(out)
	}
}

// Beside a daemon, what that daemon listens at is not in the way of a check,
// and what others do is. A reload that is in its own way says so.
func TestCheckBesideADaemon(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	listen, metrics := freeAddr(t), freeAddr(t)
	config := strings.Replace(ordinary(listen, "127.0.0.1:1"), "[control]", fmt.Sprintf("[control]\nmetrics = %q", metrics), 1)
	h := newHarness(t, config)
	h.start()
	h.must("check")
	for _, own := range []string{listen, metrics} {
		h.write(strings.ReplaceAll(config, own, taken.Addr().String()))
		if r := h.do("check"); r.code != exitConfig || !strings.Contains(r.stderr, "Another program listens there") {
			t.Errorf("another program is in the place of %s: %+v", own, r)
		}
	}
	_, port, _ := net.SplitHostPort(listen)
	h.write(strings.ReplaceAll(config, fmt.Sprintf("%q", listen), fmt.Sprintf("\"0.0.0.0:%s\"\nallow = [\"127.0.0.0/8\"]", port)))
	h.must("check")
	if r := h.do("reload"); r.code != exitUnavailable || !strings.Contains(r.stderr, "This relay listens at "+listen) {
		t.Errorf("in its own way: %+v", r)
	}
}
