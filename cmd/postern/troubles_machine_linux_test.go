package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postern/cmd/alert"
)

// resolved tells whether the end of a kind of trouble was told.
func (h *harness) resolved(kind string) bool {
	return slices.ContainsFunc(h.told(), func(e alert.Entry) bool { return e.Kind == kind && e.Status == "resolved" })
}

// forgetful is a provider whose logins end after two days, unless it is told to
// be generous.
func forgetful(t *testing.T, generous *atomic.Bool) string {
	t.Helper()
	var url string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/device":
			fmt.Fprintf(w, `{"device_code":"d","user_code":"ABCD","verification_uri":%q,"expires_in":600,"interval":1}`, url+"/activate")
		case "/token":
			ends := `,"refresh_token_expires_in":172799`
			if generous.Load() {
				ends = ""
			}
			fmt.Fprintf(w, `{"token_type":"Bearer","access_token":"token","expires_in":3600,"refresh_token":"again"%s}`, ends)
		default:
			fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":%q,"device_authorization_endpoint":%q,"authorization_endpoint":%q}`, url, url+"/token", url+"/device", url+"/auth")
		}
	}))
	t.Cleanup(s.Close)
	url = s.URL
	return url
}

// TestTroublesOfTheMachine stages what other tests can't with root's rights: a
// pickup folder that loses its own, a sign-in whose end is known, a clock that is
// set. Each is told once, and when it is over.
func TestTroublesOfTheMachine(t *testing.T) {
	t.Parallel() // it waits, most of the time
	var generous atomic.Bool
	listen, upstream := freeAddr(t), freeAddr(t)
	s := startSink(t, upstream)
	staged := &stagedOnes{}
	manager := httptest.NewServer(staged)
	defer manager.Close()
	own := strings.NewReplacer(`state_dir = "DIR"`, `state_dir = "DIR/state"`, `socket = "DIR/`, `socket = "DIR/state/`).Replace(ordinary(listen, upstream))
	h := newHarness(t, own+notesTold+`
[[alert]]
name = "manager"
alertmanager = "`+manager.URL+`"
after = "0"
[pickup]
dir = "DIR/pickup"
[upstream.token]
host = "127.0.0.1"
tls = "off"
auth = "xoauth2"
username = "a@example.com"
[upstream.token.oauth]
provider = "generic"
issuer = "`+forgetful(t, &generous)+`"
flow = "device"
client_id = "1"
scopes = ["smtp"]
`)
	pickup := filepath.Join(h.dir, "pickup")
	for _, dir := range []string{pickup, filepath.Join(h.dir, "state")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(h.dir, "told"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out := h.must("upstream", "login", "token")
	if !strings.Contains(out, "Logged in: ") || !strings.Contains(out, "The provider ends the login on ") {
		t.Errorf("%s", out)
	}
	clock := h.settable()
	if clock == nil {
		t.Skip("this kernel lets nobody answer for it (seccomp)")
	}
	if err := os.Chmod(h.config, 0o644); err != nil {
		t.Fatal(err)
	}
	h.give(h.user(), "spool", "state", "pickup", "told")
	staged.make("sign-in-ends", "a login that its provider ends after two days")
	h.start()
	eventually(t, "the pickup folder is in use", func() bool {
		_, err := os.Stat(filepath.Join(pickup, "bad"))
		return err == nil
	})
	if err := os.Chmod(pickup, 0o500); err != nil {
		t.Fatal(err)
	}
	clock.set(t, 2*time.Hour)
	staged.make("clock-jumped", "a machine that is two hours older than it was")
	staged.make("pickup-unusable", "a pickup folder that loses the right to write")
	eventually(t, "all are told", func() bool { return len(staged.untold()) == 0 })
	if os.Getenv("POSTERN_LONG") != "" {
		inTime(t, "a command is told, half a minute after the first", func() bool { return h.count("pickup-unusable") > 0 })
		h.endMachineTroubles(clock, pickup, &generous)
		eventually(t, "what was left there is delivered", func() bool { return len(s.received()) == 1 })
		for _, one := range staged.all {
			if n := h.count(one.kind); n != 1 {
				t.Errorf("%s was told %d times to a command", one.kind, n)
			}
		}
	}
	h.judge(staged)
	for i, text := range []string{"the sign-in of the upstream token ends: ", "the clock of the machine was set back by 2h0m", "the pickup folder cannot be used: write to "} {
		if summary := staged.all[i].notes["summary"]; !strings.Contains(summary, text) {
			t.Errorf("%s: %s", staged.all[i].kind, summary)
		}
	}
}

// endMachineTroubles ends each trouble, and waits until that is told: an hour of
// its own clock after it was set, for the clock.
func (h *harness) endMachineTroubles(clock *clockOf, pickup string, generous *atomic.Bool) {
	t := h.t
	left := filepath.Join(pickup, "left.eml")
	err := os.Chmod(pickup, 0o700)
	if err == nil {
		err = os.WriteFile(left, message("left"), 0o600)
	}
	if err == nil {
		err = os.Chown(left, h.user(), h.user())
	}
	if err != nil {
		t.Fatal(err)
	}
	generous.Store(true)
	if out := h.must("upstream", "login", "token"); strings.Contains(out, "ends the login") {
		t.Errorf("%s", out)
	}
	for range 90 { // steps that are no jumps
		clock.set(t, 50*time.Second)
	}
	for _, kind := range []string{"pickup-unusable", "sign-in-ends", "clock-jumped"} {
		inTime(t, "the end of "+kind+" is told", func() bool { return h.resolved(kind) })
	}
}

// TestDiskTurnsReadOnly: a file system that stops all writes after an error, as
// ext4 does, is told as what it is, next to the spool that fails for it. What was
// accepted is delivered after a repair.
func TestDiskTurnsReadOnly(t *testing.T) {
	t.Parallel() // it waits, most of the time
	listen, upstream := freeAddr(t), freeAddr(t)
	h := newHarness(t, ordinary(listen, upstream)+notesTold)
	spool, image := filepath.Join(h.dir, "spool"), filepath.Join(h.dir, "image")
	mount := func() error {
		if out, err := exec.Command("mount", "-o", "loop", image, spool).CombinedOutput(); err != nil {
			return fmt.Errorf("mount: %w: %s", err, out)
		}
		return nil
	}
	if out, err := exec.Command("mkfs.ext4", "-q", image, "64M").CombinedOutput(); err != nil {
		t.Skipf("no ext4 can be made (package e2fsprogs): %v: %s", err, out)
	}
	if err := mount(); err != nil {
		t.Skipf("no ext4 can be mounted (needs root and a loop device): %v", err)
	}
	t.Cleanup(func() { h.kill(); syscall.Unmount(spool, syscall.MNT_DETACH) })
	if err := os.Chmod(spool, 0o700); err != nil {
		t.Fatal(err)
	}
	h.start()
	send(t, listen, "a@example.com", "before")
	if out, err := exec.Command("mount", "-o", "remount,abort", spool).CombinedOutput(); err != nil {
		t.Skipf("it cannot be stopped: %v: %s", err, out)
	}
	err := smtp.SendMail(listen, nil, "a@example.com", []string{"b@example.com"}, message("refused"))
	if err == nil || !strings.HasPrefix(err.Error(), "451 ") {
		t.Errorf("%v", err)
	}
	kinds := map[string]string{"disk-read-only": "mounted read-only", "spool-failing": "new mail is answered 451"}
	for kind, text := range kinds {
		eventually(t, kind+" is told, and the relay knows", func() bool {
			return slices.ContainsFunc(strings.Split(h.must("alert", "list"), "\n\n"), func(one string) bool {
				return strings.Contains(one, text) && strings.Contains(one, "  told      notes at")
			})
		})
		for _, e := range h.told() {
			if e.Kind == kind && (!strings.Contains(e.Text, text) || e.Severity != alert.Critical) {
				t.Errorf("%+v", e)
			}
		}
	}
	h.signal(syscall.SIGTERM)
	h.wait()
	if err := syscall.Unmount(spool, 0); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("fsck.ext4", "-fy", image).CombinedOutput(); err != nil && !strings.Contains(err.Error(), "exit status 1") {
		t.Fatalf("%v: %s", err, out) // 1: errors were corrected
	}
	if err := mount(); err != nil {
		t.Fatal(err)
	}
	s := startSink(t, upstream)
	h.start()
	eventually(t, "what was accepted is delivered", func() bool { return len(s.received()) == 1 })
	send(t, listen, "a@example.com", "after")
	for kind := range kinds {
		if os.Getenv("POSTERN_LONG") != "" { // it takes the half minute after which a trouble counts as over
			inTime(t, "the end of "+kind+" is told", func() bool { return h.resolved(kind) })
		}
		if n := h.count(kind); n != 1 {
			t.Errorf("%s was told %d times", kind, n)
		}
	}
}
