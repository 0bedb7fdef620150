package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// unitHarness is a relay that a service of systemd runs, as far as commands can
// tell: they see an /etc of their own, with the real systemd-creds, and a systemctl
// that has the test start the relay anew with the credentials of the drop-ins.
type unitHarness struct {
	*harness
	unit string
	etc  string
	key  string // of systemd-creds
}

func newUnitHarness(t *testing.T, unit string) *unitHarness {
	t.Helper()
	for _, tool := range []string{"systemd-creds", "unshare", "mount"} {
		if _, err := exec.LookPath(tool); err != nil || os.Geteuid() != 0 {
			if os.Getenv("POSTERN_REQUIRE_INTEROP") != "" && err != nil {
				t.Fatal(err)
			}
			t.Skipf("%s as root is needed: %v", tool, err)
		}
	}
	if out, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		t.Skipf("no mounts of its own: %v: %s", err, out)
	}
	h := &unitHarness{harness: newHarness(t, toDefineIn(freeAddr(t))), unit: unit}
	h.etc, h.key = filepath.Join(h.dir, "etc"), filepath.Join(h.dir, "key")
	if err := os.Mkdir(h.etc, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"passwd", "group", "nsswitch.conf", "hosts", "ld.so.cache", "machine-id"} {
		if text, err := os.ReadFile(filepath.Join("/etc", name)); err == nil {
			if err := os.WriteFile(filepath.Join(h.etc, name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	systemctl := `#!/bin/sh
echo "$*" >>DIR/asked
test "$1" = restart || exit 0
touch DIR/restart
until test -e DIR/restarted; do sleep 0.02; done
rm DIR/restarted
`
	write := func(name, text string, mode fs.FileMode) {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(strings.ReplaceAll(text, "DIR", h.dir)), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(h.dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("bin/systemctl", systemctl, 0o755)
	write("cgroup", "0::/system.slice/"+unit+"\n", 0o644)
	h.wrap = func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "CREDENTIALS_DIRECTORY="+h.creds()) }
	h.unseal()
	h.start()
	return h
}

func (h *unitHarness) store() string   { return filepath.Join(h.etc, "credstore.encrypted") }
func (h *unitHarness) dropIns() string { return filepath.Join(h.etc, "systemd/system", h.unit+".d") }
func (h *unitHarness) creds() string   { return filepath.Join(h.dir, "creds") }

// unseal does what systemd does before it starts the service.
func (h *unitHarness) unseal() {
	h.t.Helper()
	if err := errors.Join(os.RemoveAll(h.creds()), os.Mkdir(h.creds(), 0o700)); err != nil {
		h.t.Fatal(err)
	}
	files, _ := os.ReadDir(h.dropIns())
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(h.dropIns(), file.Name()))
		if err != nil {
			h.t.Fatal(err)
		}
		_, line, _ := strings.Cut(string(text), "LoadCredentialEncrypted=")
		name, path, _ := strings.Cut(strings.TrimSpace(line), ":")
		cmd := exec.Command("systemd-creds", "decrypt", "--name="+name, h.etc+strings.TrimPrefix(path, "/etc"), filepath.Join(h.creds(), name))
		cmd.Env = append(os.Environ(), "SYSTEMD_CREDENTIAL_SECRET="+h.key)
		if out, err := cmd.CombinedOutput(); err != nil {
			h.t.Fatalf("%v: %s", err, out)
		}
	}
}

// define runs a command as root does beside systemd, and starts the relay anew where
// it asks for that.
func (h *unitHarness) define(args ...string) result {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), waitLimit)
	defer cancel()
	inner := h.command(ctx, args...)
	mounts := fmt.Sprintf("mount --make-rprivate / && mount --bind %s /etc && mount --bind %s/cgroup /proc/%d/cgroup && exec \"$@\"", h.etc, h.dir, h.cmd.Process.Pid)
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "sh", "-c", mounts, "sh"}, inner.Args...)...)
	cmd.Env = append(inner.Env, "PATH="+h.dir+"/bin:"+os.Getenv("PATH"), "SYSTEMD_CREDENTIAL_SECRET="+h.key)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	asked := filepath.Join(h.dir, "restart")
	for running := true; running; {
		eventually(h.t, "the command ends, or asks for a start", func() bool {
			select {
			case <-ended:
				running = false
				return true
			default:
				_, err := os.Stat(asked)
				return err == nil
			}
		})
		if os.Remove(asked) == nil {
			h.stop()
			h.unseal()
			h.start()
			if err := os.WriteFile(filepath.Join(h.dir, "restarted"), nil, 0o600); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// sealed are the credentials that there are, by both of their files.
func (h *unitHarness) sealed() (n int) {
	stored, _ := os.ReadDir(h.store())
	dropped, _ := os.ReadDir(h.dropIns())
	if len(stored) != len(dropped) {
		h.t.Errorf("%d encrypted files, %d drop-ins", len(stored), len(dropped))
	}
	return len(stored)
}

// The secrets of an upstream, an alert and a book are credentials of the service
// that runs the relay, whatever its name is; they reach the server that they are for,
// stand nowhere else, and go with the definition.
func TestCredentialsOfAnInstance(t *testing.T) {
	h := newUnitHarness(t, `postern@a\x2db.service`)
	var told, wrong atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "hunter2" && r.URL.Path != "/hunter2" {
			wrong.Add(1)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		told.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer server.Close()
	_, port := startPasswordServer(t, "hunter2")
	pw, url := filepath.Join(h.dir, "typed"), filepath.Join(h.dir, "url")
	writeSecret(t, pw, "hunter2")
	writeSecret(t, url, "generic+"+server.URL+"/hunter2")
	for i, c := range []struct {
		name string
		args []string
		told bool // the server was asked with the secret
	}{
		{"upstream", []string{"upstream", "add", "office", "--host", "127.0.0.1", "--port", port, "--tls", "off", "--auth", "plain", "--username", "billing", "--password-file", pw}, false},
		{"manager", []string{"alert", "add", "manager", "--alertmanager", server.URL, "--username", "relay", "--password-file", pw}, true},
		{"service", []string{"alert", "add", "service", "--url-file", url}, true},
		{"book", []string{"book", "define", "cloud", "--provider", "carddav", "--url", server.URL, "--username", "alice", "--password-file", pw, "--force"}, true},
	} {
		before := told.Load()
		r := h.define(append(c.args, "--systemd-credential")...)
		if r.code != exitOK || !strings.Contains(r.stdout, "the daemon has taken it") || h.sealed() != i+1 {
			t.Fatalf("%s: %+v, %d credentials", c.name, r, h.sealed())
		}
		if (told.Load() > before) != c.told {
			t.Errorf("%s: asked %d times with the secret", c.name, told.Load()-before)
		}
	}
	if wrong.Load() > 0 {
		t.Errorf("asked %d times without the secret", wrong.Load())
	}
	for _, name := range h.left() {
		if !strings.HasSuffix(name, ".toml") {
			t.Errorf("a secret is in the file %s", name)
		}
	}
	// The relay has them for itself.
	before := told.Load()
	if r := h.define("alert", "test"); r.code != exitOK || told.Load() != before+2 {
		t.Errorf("%+v, asked %d times", r, told.Load()-before)
	}
	// A change keeps the secret, and another service is refused.
	if r := h.define("alert", "edit", "manager", "--severity", "critical"); r.code != exitOK || h.sealed() != 4 {
		t.Errorf("%+v, %d credentials", r, h.sealed())
	}
	if r := h.define("alert", "edit", "manager", "--password-file", pw, "--systemd-credential=postern.service"); r.code != exitData || !strings.Contains(r.stderr, "is a credential of "+h.unit) {
		t.Errorf("%+v", r)
	}
	if r := h.define("alert", "add", "more", "--url-file", url, "--systemd-credential=postern.service"); r.code != exitData || !strings.Contains(r.stderr, "it is "+h.unit) {
		t.Errorf("%+v", r)
	}
	for _, args := range [][]string{{"upstream", "remove", "office"}, {"alert", "remove", "manager"}, {"alert", "remove", "service"}, {"book", "undefine", "cloud"}} {
		if r := h.define(args...); r.code != exitOK {
			t.Errorf("%q: %+v", args, r)
		}
	}
	if h.sealed() != 0 || len(h.left()) > 0 {
		t.Errorf("left: %d credentials, %q", h.sealed(), h.left())
	}
	asked, _ := os.ReadFile(filepath.Join(h.dir, "asked"))
	if !strings.Contains(string(asked), "restart "+h.unit+"\n") || strings.Contains(string(asked)+h.log.String(), "hunter2") {
		t.Errorf("%s", asked)
	}
}
