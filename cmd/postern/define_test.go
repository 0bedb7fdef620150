//go:build unix

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"postern/config"
)

// startPasswordServer is an upstream that wants the password.
func startPasswordServer(t *testing.T, password string) (*passwordServer, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asks := &passwordServer{sink: &sink{}, password: password, wrong: make(chan string, 100)}
	server := smtp.NewServer(asks)
	server.Domain, server.AllowInsecureAuth = "password.test", true
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return asks, port
}

// toDefineIn is a configuration whose route takes the mail of one domain only.
func toDefineIn(listen string) string {
	text := ordinary(listen, "127.0.0.1:1")
	_, rest, _ := strings.Cut(text, "[[route]]\nfrom = [\"*\"]\nupstream = [\"office\"]\n")
	head, _, _ := strings.Cut(text, "[upstream.office]")
	return head + "[upstream.captured]\nprovider = \"capture\"\n[[route]]\nfrom = [\"*@else.example\"]\nupstream = [\"captured\"]\n" + rest
}

// left are the names of the files that definitions have.
func (h *harness) left() (names []string) {
	for _, folder := range []string{"conf.d", "secrets"} {
		entries, _ := os.ReadDir(filepath.Join(h.dir, folder))
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".lock") {
				names = append(names, e.Name())
			}
		}
	}
	return names
}

// An upstream with a wrong password is not kept, and nothing of it is. With the
// right one mail goes, by a route that is added to a daemon that runs, until
// both are removed.
func TestUpstreamIsDefined(t *testing.T) {
	asks, port := startPasswordServer(t, "the right one")
	listen := freeAddr(t)
	h := newHarness(t, toDefineIn(listen))
	h.start()
	pw := filepath.Join(h.dir, "typed")
	add := []string{"upstream", "add", "office", "--host", "127.0.0.1", "--port", port, "--tls", "off", "--auth", "plain", "--username", "billing", "--password-file", pw}
	writeSecret(t, pw, "the wrong one")
	if r := h.do(add...); r.code == exitOK || !strings.Contains(r.stdout, "upstream.signin") || strings.Contains(r.stdout+r.stderr, "the wrong one") || len(h.left()) > 0 {
		t.Errorf("%+v, left %q", r, h.left())
	}
	writeSecret(t, pw, "the right one")
	if out := h.must(append(add, "--dry-run")...); !strings.Contains(out, "[upstream.office]") || len(h.left()) > 0 {
		t.Errorf("%s, left %q", out, h.left())
	}
	if out := h.must(add...); !strings.Contains(out, "the daemon has taken it") {
		t.Error(out)
	}
	h.must("route", "add", "ours", "--from", "*@example.com", "--upstream", "office")
	send(t, listen, "a@example.com", "one")
	eventually(t, "the mail is there", func() bool { return len(asks.received()) == 1 })
	if r := h.do("upstream", "remove", "office"); r.code != exitConfig || !strings.Contains(r.stderr, `there is no upstream "office"`) {
		t.Errorf("%+v", r)
	}
	if r := h.do("upstream", "edit", "office", "--port", "1"); r.code != exitUnavailable {
		t.Errorf("%+v", r)
	}
	if r := h.do("upstream", "remove", "captured"); r.code != exitData || !strings.Contains(r.stderr, "stands in "+h.config+" on line") {
		t.Errorf("%+v", r)
	}
	h.must("route", "edit", "ours", "--from", "*@example.com", "--from", "*@other.example")
	send(t, listen, "a@other.example", "two")
	eventually(t, "the second mail is there", func() bool { return len(asks.received()) == 2 })
	if r := h.do("route", "edit", "ours", "--unset", "frm"); r.code != exitData || !strings.Contains(r.stderr, `does not set "frm"`) {
		t.Errorf("%+v", r)
	}
	h.must("route", "remove", "ours")
	h.must("upstream", "remove", "office")
	if len(h.left()) > 0 {
		t.Errorf("left: %q", h.left())
	}
	if log := h.log.String(); strings.Contains(log, "the right one") || strings.Contains(log, "the wrong one") {
		t.Error("a password stands in the log")
	}
}

// An upstream that mail waits for is not removed without --force.
func TestUpstreamWithMailIsKept(t *testing.T) {
	listen := freeAddr(t)
	h := newHarness(t, toDefineIn(listen))
	h.start()
	h.must("upstream", "add", "office", "--host", "127.0.0.1", "--port", "1", "--tls", "off", "--no-test")
	h.must("route", "add", "ours", "--from", "*@example.com", "--upstream", "office")
	send(t, listen, "a@example.com", "one")
	eventually(t, "the mail waits", func() bool { return len(h.queued("--upstream", "office")) == 1 })
	h.must("route", "remove", "ours")
	if r := h.do("upstream", "remove", "office"); r.code != exitTempFail || !strings.Contains(r.stderr, "1 delivery waits for office") {
		t.Errorf("%+v", r)
	}
	h.must("upstream", "remove", "office", "--force")
}

// Whenever the command is killed, the configuration can be used, and the next
// change removes what the last one has left.
func TestKilledWhileItDefines(t *testing.T) {
	h := newHarness(t, toDefineIn(freeAddr(t)))
	pw := filepath.Join(h.dir, "typed")
	writeSecret(t, pw, "hunter2")
	h.must("upstream", "add", "office", "--host", "127.0.0.1", "--port", "1", "--tls", "off", "--auth", "plain", "--username", "billing", "--password-file", pw, "--no-test")
	begun := time.Now()
	edit := []string{"upstream", "edit", "office", "--password-file", pw, "--no-test", "--username"}
	h.must(append(edit, "billing0")...)
	took := time.Since(begun)
	const times = 15
	for i := range times {
		cmd := h.command(t.Context(), append(edit, fmt.Sprintf("billing%d", i))...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(took*time.Duration(i+1)/times, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
		cfg, err := config.Load(h.config)
		if err != nil {
			t.Fatal(err)
		}
		if password, err := cfg.Upstreams["office"].Password.Read(t.Context()); err != nil || password != "hunter2" {
			t.Fatal(password, err)
		}
	}
	h.must(append(edit, "last")...)
	if names := h.left(); len(names) != 2 {
		t.Errorf("left: %q", names)
	}
}

// While no daemon runs, the spool tells what waits. A machine whose relay has
// never run has none.
func TestRemovedWithoutDaemon(t *testing.T) {
	listen := freeAddr(t)
	h := newHarness(t, toDefineIn(listen))
	add := []string{"upstream", "add", "office", "--host", "127.0.0.1", "--port", "1", "--tls", "off", "--no-test"}
	h.must(add...)
	h.must("upstream", "remove", "office")
	h.must(add...)
	h.must("route", "add", "general", "--from", "*@example.com", "--upstream", "captured")
	h.must("route", "add", "ours", "--from", "a@example.com", "--upstream", "office", "--before", "general")
	if r := h.do("route", "add", "more", "--from", "b@example.com", "--upstream", "office", "--before", "nobody"); r.code != exitData || !strings.Contains(r.stderr, `no route "nobody"`) {
		t.Errorf("%+v", r)
	}
	h.start()
	send(t, listen, "a@example.com", "one")
	eventually(t, "the mail waits", func() bool { return len(h.queued("--upstream", "office")) == 1 })
	h.stop()
	h.must("route", "remove", "ours")
	if r := h.do("upstream", "remove", "office"); r.code != exitTempFail || !strings.Contains(r.stderr, "1 delivery waits for office") {
		t.Errorf("%+v", r)
	}
	h.must("upstream", "remove", "office", "--force")
}

// An address tells its provider, and no name leads out of the folders.
func TestSuggestedByTheAddress(t *testing.T) {
	h := newHarness(t, toDefineIn(freeAddr(t)))
	pw := filepath.Join(h.dir, "typed")
	writeSecret(t, pw, "hunter2")
	r := h.do("upstream", "add", "mine", "--username", "a@gmail.com", "--password-file", pw, "--no-test", "--dry-run")
	if r.code != exitOK || !strings.Contains(r.stdout, `provider = "gmail"`) || !strings.Contains(r.stderr, "provider gmail: gmail.com is one of its domains") {
		t.Errorf("%+v", r)
	}
	for _, name := range []string{"../../x", "/etc/x", "..", "a/b", strings.Repeat("x", 101), ""} {
		r := h.do("route", "add", name, "--from", "*@x.example", "--upstream", "captured")
		if r.code == exitOK {
			h.must("route", "remove", name)
		}
		if left := h.left(); len(left) > 0 {
			t.Errorf("%q: left %q", name, left)
		}
	}
	if _, err := os.Stat(filepath.Join(h.dir, "x.toml")); err == nil {
		t.Error("a file was written elsewhere")
	}
}

// Ctrl-C while it tests leaves nothing, and two administrators at once do not lose
// what either has defined.
func TestInterruptedAndTwoAtOnce(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	asked := make(chan struct{})
	go func() {
		if c, err := silent.Accept(); err == nil {
			close(asked)
			defer c.Close()
			_, _ = c.Read(make([]byte, 1))
		}
	}()
	h := newHarness(t, toDefineIn(freeAddr(t)))
	pw := filepath.Join(h.dir, "typed")
	writeSecret(t, pw, "hunter2")
	_, port, _ := net.SplitHostPort(silent.Addr().String())
	cmd := h.command(t.Context(), "upstream", "add", "office", "--host", "127.0.0.1", "--port", port, "--tls", "off", "--auth", "plain", "--username", "billing", "--password-file", pw)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || len(h.left()) > 0 {
		t.Errorf("ended with %d, left %q", code, h.left())
	}
	var both sync.WaitGroup
	for _, name := range []string{"one", "two"} {
		both.Go(func() {
			if r := h.do("upstream", "add", name, "--host", "127.0.0.1", "--port", "1", "--tls", "off", "--no-test"); r.code != exitOK {
				t.Errorf("%s: %+v", name, r)
			}
		})
	}
	both.Wait()
	if left := h.left(); len(left) != 2 {
		t.Errorf("%q", left)
	}
}
