//go:build linux

package credential

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/control"
	"postern/cmd/definition"
	"postern/config"
)

// keeper is one in folders of the test, with the real systemd-creds, a key of
// its own, and a systemctl that notes what it is asked; while the file "fails"
// is there, no restart works.
func keeper(t *testing.T) (k *Keeper, dir string) {
	t.Helper()
	if _, err := exec.LookPath("systemd-creds"); err != nil || os.Geteuid() != 0 {
		if os.Getenv("POSTERN_REQUIRE_INTEROP") != "" && err != nil {
			t.Fatal(err)
		}
		t.Skip("systemd-creds as root is needed:", err)
	}
	dir = t.TempDir()
	script := "#!/bin/sh\necho \"$*\" >>" + dir + "/asked\ncase $* in restart*) test ! -e " + dir + "/fails;; esac\n"
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("SYSTEMD_CREDENTIAL_SECRET", filepath.Join(dir, "key"))
	k, err := New(Service)
	if err != nil {
		t.Fatal(err)
	}
	k.Store, k.DropIns = filepath.Join(dir, "store"), filepath.Join(dir, "units")
	return k, dir
}

// names are the credentials that there are, by both of their files.
func names(k *Keeper) (sealed, dropIns []string) {
	list := func(folder string) (all []string) {
		entries, _ := os.ReadDir(folder)
		for _, e := range entries {
			all = append(all, e.Name())
		}
		return all
	}
	return list(k.Store), list(k.folder())
}

// A secret can be read again by this machine, in no file by anybody else, and
// another drop-in is left alone.
func TestKeepReadForget(t *testing.T) {
	k, dir := keeper(t)
	if err := k.Keep(t.Context(), "upstream-office.password-abc", []byte("hunter2")); err != nil {
		t.Fatal(err)
	}
	if err := k.Keep(t.Context(), "upstream-office.password-abc", []byte("hunter3")); err == nil {
		t.Error("a name was used twice")
	}
	if err := os.WriteFile(filepath.Join(k.folder(), "mine.conf"), []byte("[Service]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := k.Read(t.Context(), "upstream-office.password-abc"); err != nil || got != "hunter2" {
		t.Error(got, err)
	}
	info, err := os.Stat(filepath.Join(k.Store, "upstream-office.password-abc"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	text, err := os.ReadFile(k.dropIn("upstream-office.password-abc"))
	if want := "[Service]\nLoadCredentialEncrypted=upstream-office.password-abc:" + k.Store + "/upstream-office.password-abc\n"; err != nil || !strings.Contains(string(text), want) {
		t.Errorf("%v: %s", err, text)
	}
	if out, err := exec.Command("grep", "-r", "hunter2", dir).CombinedOutput(); err == nil {
		t.Errorf("it stands in %s", out)
	}
	for _, bad := range []string{"a/b", "..%i", "", "a b", "a:b", "%n"} {
		if err := k.Keep(t.Context(), bad, []byte("x")); err == nil || k.Has(bad) {
			t.Errorf("%q was taken", bad)
		}
	}
	if err := k.Forget(t.Context(), "upstream-office.", func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if sealed, dropIns := names(k); len(sealed) > 0 || strings.Join(dropIns, " ") != "mine.conf" {
		t.Errorf("%q, %q", sealed, dropIns)
	}
	for _, unit := range []string{"postern", "../x.service", "a b.service", "", "-x y.service", "-x.service", "postern@.service", "a\\b/../c.service"} {
		if _, err := New(unit); err == nil {
			t.Errorf("%q was taken", unit)
		}
	}
}

func TestUnitIn(t *testing.T) {
	for groups, want := range map[string]string{
		"0::/system.slice/postern.service\n":                                               "postern.service",
		"0::/system.slice/system-postern.slice/postern@a\\x2db.service\n":                  `postern@a\x2db.service`,
		"0::/system.slice/smtp-relay.service/payload\n":                                    "smtp-relay.service",
		"12:pids:/system.slice/other.service\n1:name=systemd:/system.slice/mail.service\n": "mail.service",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/postern.service\n":     "",
		"0::/user.slice/user-1000.slice/session-3.scope\n":                                 "",
		"0::/\n": "", "": "", "0::/-x.service\n": "",
	} {
		if got := unitIn(groups); got != want {
			t.Errorf("%q: %q, want %q", groups, got, want)
		}
	}
	if got := UnitOf(-1); got != "" {
		t.Error(got)
	}
}

// A definition whose secret is a credential: written, tried, changed, refused by
// the service, turned into a file, removed.
func TestDefinition(t *testing.T) {
	k, dir := keeper(t)
	path := filepath.Join(dir, "postern.toml")
	text := fmt.Sprintf("state_dir = %q\n[spool]\ndir = %q\n[control]\nsocket = \"/tmp/unused.sock\"\n[upstream.main]\nprovider = \"capture\"\n[[route]]\nfrom = [\"*\"]\nupstream = [\"main\"]\n", dir+"/state", dir+"/spool")
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Mkdir(dir+"/spool", 0o700)); err != nil {
		t.Fatal(err)
	}
	store, err := definition.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	read := "" // what the test has found
	failed := false
	how := func(keep bool) definition.Change {
		c := definition.Change{Forget: k, Try: func(ctx context.Context, cfg *config.Config) error {
			up := cfg.Upstreams["office"]
			err := k.Supply(ctx, &up.Account)
			read, _ = up.Password.Read(ctx)
			return err
		}}
		if keep {
			c.Keeper = k
			c.Reload = func(ctx context.Context) error {
				tried, err := k.Restart(ctx, failed)
				if failed = tried; err == nil && !tried {
					return &control.NoDaemon{}
				}
				return err
			}
		}
		return c
	}
	put := func(password string, c definition.Change) (*definition.Result, error) {
		d := definition.Definition{Kind: definition.Upstream, Name: "office", Values: map[string]any{"host": "mail.example.com", "username": "a"}, Secrets: map[string]string{}}
		if there, err := store.Read(d.Kind, d.Name); err == nil {
			d.Values, c.Seen = there.Values, there.Digest
		}
		if password != "" {
			d.Secrets["password"] = password
		}
		return store.Put(t.Context(), d, c)
	}
	done, err := put("hunter2", how(true))
	if err != nil || !done.Running || done.Left != nil || read != "hunter2" || !strings.Contains(done.Text, "password_credential = \"upstream-office.password-") || strings.Contains(done.Text, "hunter2") {
		t.Fatalf("%v: %+v, tested with %q", err, done, read)
	}
	if sealed, dropIns := names(k); len(sealed) != 1 || len(dropIns) != 1 {
		t.Errorf("%q, %q", sealed, dropIns)
	}
	first, _ := names(k)
	read = ""
	if _, err := put("", how(false)); err != nil || read != "hunter2" {
		t.Errorf("a change that keeps it: %v, tested with %q", err, read)
	}
	if err := os.WriteFile(dir+"/fails", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := put("hunter3", how(true)); err == nil {
		t.Error("a service that does not start is no error")
	}
	if sealed, _ := names(k); len(sealed) != 1 || sealed[0] != first[0] {
		t.Errorf("after a failure: %q, want %q", sealed, first)
	}
	if err := os.Remove(dir + "/fails"); err != nil {
		t.Fatal(err)
	}
	failed = false
	if _, err := put("hunter3", how(true)); err != nil || read != "hunter3" {
		t.Errorf("%v, tested with %q", err, read)
	}
	if sealed, dropIns := names(k); len(sealed) != 1 || len(dropIns) != 1 || sealed[0] == first[0] {
		t.Errorf("%q, %q", sealed, dropIns)
	}
	if done, err := put("hunter4", how(false)); err != nil || read != "hunter4" || strings.Contains(done.Text, "credential") {
		t.Errorf("as a file: %v, %+v, tested with %q", err, done, read)
	}
	if sealed, dropIns := names(k); len(sealed)+len(dropIns) > 0 {
		t.Errorf("%q, %q", sealed, dropIns)
	}
	if _, err := put("hunter5", how(true)); err != nil {
		t.Error(err)
	}
	there, _ := store.Read(definition.Upstream, "office")
	if _, err := store.Remove(t.Context(), definition.Upstream, "office", definition.Change{Seen: there.Digest, Forget: k}); err != nil {
		t.Error(err)
	}
	if sealed, dropIns := names(k); len(sealed)+len(dropIns) > 0 {
		t.Errorf("%q, %q", sealed, dropIns)
	}
	asked, _ := os.ReadFile(dir + "/asked")
	if !strings.Contains(string(asked), "daemon-reload\n--quiet is-active postern.service\nreset-failed postern.service\nrestart postern.service\n") || strings.Contains(string(asked), "hunter") {
		t.Errorf("%s", asked)
	}
	if out, err := exec.Command("grep", "-r", "hunter", dir).CombinedOutput(); err == nil {
		t.Errorf("a password stands in %s", out)
	}
}
