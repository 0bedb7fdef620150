package oauth

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/spool/statefile"
)

// credential is a key in the folder of systemd credentials.
func credential(t *testing.T, content string) config.Secret {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if err := os.WriteFile(filepath.Join(dir, "tokens"), []byte(content), 0o400); err != nil {
		t.Fatal(err)
	}
	file := secretFile(t, "postern.toml", `
[upstream.office]
host = "smtp.example.com"
auth = "xoauth2"
username = "a"
[upstream.office.oauth]
provider = "google"
flow = "code"
client_id = "1"
token_key_credential = "tokens"

[[route]]
from = ["*"]
upstream = ["office"]
`)
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Upstreams["office"].OAuth.TokenKey
}

func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has access lists instead of modes")
	}
	p := newIDP(t)
	dir := loggedIn(t, p)
	up := accountWith(config.FlowDevice)
	files, err := filepath.Glob(filepath.Join(dir, "oauth", "*"))
	if err != nil || len(files) != 4 { // two locks, key, token
		t.Fatal(files, err)
	}
	for _, file := range append(files, filepath.Join(dir, "oauth")) {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Error(file, info.Mode(), err)
		}
	}
	// Who opened it to others is told.
	path := filepath.Join(dir, "oauth", "upstream-"+statefile.SafeName(up.Name)+".token")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	e := mustFail(t, New(Options{State: stateIn(dir), Transport: p}), up, "", Local)
	if !strings.Contains(e.Text, "mode 0640") || !strings.Contains(e.Text, "chmod 0600") {
		t.Error(e)
	}
	// A link is not followed.
	target := secretFile(t, "target", "x")
	if err := errors.Join(os.Remove(path), os.Symlink(target, path)); err != nil {
		t.Fatal(err)
	}
	mustFail(t, New(Options{State: stateIn(dir), Transport: p}), up, "", Local)
}

func TestSealed(t *testing.T) {
	key := credential(t, strings.Repeat("k", 32))
	s := &store{state: stateIn(t.TempDir())}
	put := func(name string, key config.Secret) {
		t.Helper()
		unlock, err := s.hold(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		if err := s.save(t.Context(), name, key, &token{Access: "access", Refresh: "refresh", Obtained: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	put("office", key)
	if got, err := s.load(t.Context(), "office", key); err != nil || got.Refresh != "refresh" {
		t.Fatal(got, err)
	}
	if _, err := os.Stat(s.state.Where(keyFact)); err == nil {
		t.Error("a key file was made beside a configured key")
	}
	content, err := os.ReadFile(s.state.Where(factOf("office")))
	if err != nil || bytes.Contains(content, []byte("refresh")) {
		t.Error("in clear", err)
	}
	unreadable := func(why, name string, key config.Secret) {
		t.Helper()
		if got, err := s.load(t.Context(), name, key); !errors.Is(err, errSealed) || got != nil {
			t.Errorf("%s: %v, %v", why, got, err)
		}
	}
	unreadable("without its key", "office", config.Secret{})
	unreadable("with another key", "office", credential(t, strings.Repeat("x", 32)))
	key = credential(t, strings.Repeat("k", 32))
	// Under the name of another upstream it opens no more.
	if err := os.WriteFile(s.state.Where(factOf("other")), content, 0o600); err != nil {
		t.Fatal(err)
	}
	unreadable("of another upstream", "other", key)
	// Every bit counts, and so does every byte.
	for i := range content {
		damaged := bytes.Clone(content)
		damaged[i] ^= 1
		if err := os.WriteFile(s.state.Where(factOf("office")), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		unreadable("damaged", "office", key)
		if err := os.WriteFile(s.state.Where(factOf("office")), content[:i], 0o600); err != nil {
			t.Fatal(err)
		}
		unreadable("cut", "office", key)
	}
	if _, err := s.load(t.Context(), "office", credential(t, "short")); err == nil || errors.Is(err, errSealed) {
		t.Error(err)
	}
}

// Another key: a login is lost and said to be; where nobody logs in, there is
// simply another token.
func TestKeyChanged(t *testing.T) {
	p := newIDP(t)
	dir := loggedIn(t, p)
	if err := os.Remove(filepath.Join(dir, "oauth", "key")); err != nil {
		t.Fatal(err)
	}
	tokens := New(Options{State: stateIn(dir), Transport: p})
	e := mustFail(t, tokens, accountWith(config.FlowDevice), "", NeedsLogin)
	if !strings.Contains(e.Text, "another key") || !strings.Contains(e.Text, "postern upstream login office") {
		t.Error(e)
	}
	mustToken(t, tokens, accountWith(config.FlowClientCredentials), "", "access-token-2")
}

func TestHeldLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{state: stateIn(t.TempDir())}
		unlock, err := s.hold(t.Context(), "office")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := (&store{state: s.state}).hold(ctx, "office"); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Error(err)
		}
		time.AfterFunc(time.Second, unlock)
		again, err := (&store{state: s.state}).hold(t.Context(), "office")
		if err != nil {
			t.Fatal(err)
		}
		again()
	})
}

// A write that a crash cut off is in nobody's way.
func TestCutOff(t *testing.T) {
	p := newIDP(t)
	dir := loggedIn(t, p)
	up := accountWith(config.FlowDevice)
	if err := os.WriteFile(filepath.Join(dir, "oauth", "upstream-"+statefile.SafeName(up.Name)+".token"+".new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustToken(t, New(Options{State: stateIn(dir), Transport: p}), up, "access-token-1", "access-token-2")
}

func TestUnwritable(t *testing.T) {
	file := secretFile(t, "a-file", "x")
	p := newIDP(t)
	mustFail(t, New(Options{State: stateIn(file), Transport: p}), accountWith(config.FlowClientCredentials), "", Local)
	if len(p.paths) != 0 {
		t.Error("asked for what cannot be kept")
	}
}
