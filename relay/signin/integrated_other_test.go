//go:build !windows

package signin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/config"
)

func TestIntegratedFindsWhatTheProcessHas(t *testing.T) {
	dir := t.TempDir()
	cache, keytab := filepath.Join(dir, "cache"), filepath.Join(dir, "keytab")
	for _, file := range []string{cache, keytab} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		ccname, ktname string
		configured     config.Kerberos
		want           string
	}{
		{"FILE:" + cache, "", config.Kerberos{}, "cache " + cache},
		{cache, "FILE:" + keytab, config.Kerberos{}, "cache " + cache},
		{filepath.Join(dir, "none"), "FILE:" + keytab, config.Kerberos{}, "keytab " + keytab},
		{"KEYRING:persistent:0", keytab, config.Kerberos{}, "keytab " + keytab},
		{"KEYRING:persistent:0", "", config.Kerberos{}, "tickets in KEYRING"},
		{filepath.Join(dir, "none"), "", config.Kerberos{}, "kinit"},
		{cache, "", config.Kerberos{Keytab: "own"}, "keytab own"},
	} {
		t.Setenv("KRB5CCNAME", c.ccname)
		t.Setenv("KRB5_CLIENT_KTNAME", c.ktname)
		r := &Request{Auth: "integrated", Username: "somebody", Kerberos: c.configured}
		own, err := r.asProcess()
		got := fmt.Sprint(err)
		switch {
		case err != nil:
		case own.Username != "" || own.Password != nil:
			t.Error("a name or a password of the configuration is left")
		case own.Kerberos.Keytab != "":
			got = "keytab " + own.Kerberos.Keytab
		default:
			got = "cache " + own.Kerberos.CCache
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// What lies in /tmp counts only where it is ours.
func TestOwnTickets(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	if err := ownTickets(file); err != nil {
		t.Error(err)
	}
	if err := ownTickets(filepath.Join(dir, "none")); err != nil {
		t.Error(err)
	}
	if err := ownTickets(link); err == nil {
		t.Error("a link is taken")
	}
	if os.Geteuid() != 0 {
		t.Skip("this needs root, to give a file away")
	}
	if err := os.Chown(file, 65534, -1); err != nil {
		t.Fatal(err)
	}
	if err := ownTickets(file); err == nil {
		t.Error("the tickets of somebody else are taken")
	}
}

// Files of keys and tickets that are damaged end in an error, not in a panic.
func TestDamagedFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	for _, content := range []string{"", "\x05", "\x05\x04", "\x05\x02\x00\x00\x00\xff", "\x05\x04\x00\x0c\x00\x01", "hello"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, k := range []config.Kerberos{{Keytab: file}, {CCache: file}} {
			r := &Request{Auth: "gssapi", Host: "mail.example.com", Offered: []string{"GSSAPI"}, Kerberos: k}
			if _, lines, err := do(t, r, nil); err == nil || len(lines) > 0 || !strings.Contains(err.Error(), file) {
				t.Errorf("%q: %v", content, err)
			}
		}
	}
}
