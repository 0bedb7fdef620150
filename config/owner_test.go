//go:build unix

package config

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const stranger = 64001

func give(t *testing.T, path string, uid int) {
	t.Helper()
	if err := os.Chown(path, uid, -1); err != nil {
		t.Fatal(err)
	}
}

func TestOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	dir := furnish(t)
	file := place(t, dir, "testdata/good/accounts.toml")
	load := func() *Config {
		t.Helper()
		cfg, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	if err := load().CheckOwner(); err != nil {
		t.Errorf("of root: %v", err)
	}
	give(t, filepath.Join(dir, "office.pw"), stranger)
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "belongs to user 64001, who could read and change it") {
		t.Errorf("a secret of a stranger: %v", err)
	}
	give(t, filepath.Join(dir, "office.pw"), 0)
	keyed := filepath.Join(dir, "keyed.toml")
	text := "[[listener]]\naddress = \"127.0.0.1:2525\"\ntls = \"starttls\"\ncert_file = \"tls/cert.pem\"\nkey_file = \"tls/key.pem\"\n" +
		"[upstream.office]\nhost = \"smtp.office.example\"\n[[route]]\nfrom = [\"*\"]\nupstream = [\"office\"]\n"
	if err := os.WriteFile(keyed, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(keyed); err != nil {
		t.Errorf("a key of root: %v", err)
	}
	give(t, filepath.Join(dir, "tls/key.pem"), stranger)
	if _, err := Load(keyed); err == nil || !strings.Contains(err.Error(), "key.pem belongs to user 64001, who could read and change it") {
		t.Errorf("a key of a stranger: %v", err)
	}
	// A relay that runs as a user of its own, whose configuration is root's or
	// its own, looked at by root.
	spool := filepath.Join(dir, "spool")
	if err := os.Mkdir(spool, 0o700); err != nil {
		t.Fatal(err)
	}
	give(t, spool, stranger)
	if err := os.WriteFile(keyed, []byte("spool.dir = \"spool\"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(keyed); err != nil {
		t.Errorf("a key of who owns the spool: %v", err)
	}
	give(t, filepath.Join(dir, "office.pw"), stranger)
	give(t, file, stranger)
	if err := load().CheckOwner(); err == nil || !strings.Contains(err.Error(), "could have root run commands") {
		t.Errorf("a configuration of a stranger, as root: %v", err)
	}
	if err := new(Config).CheckOwner(); err != nil {
		t.Errorf("without a file: %v", err)
	}
}

// TestSharedGroupIsToldOf: whoever may submit may not operate without a word.
func TestSharedGroupIsToldOf(t *testing.T) {
	g, err := user.LookupGroupId(strconv.Itoa(os.Getegid()))
	if err != nil {
		t.Skip("the group of this process has no name")
	}
	for key, want := range map[string]string{"group": "control.group too", "read_group": "control.read_group too"} {
		text := "[control]\nsocket = \"c\"\nread_socket = \"r\"\n" + key + " = \"" + g.Name + "\"\n[[listener]]\naddress = \"unix:s\"\ngroup = \"" + g.Name +
			"\"\n[upstream.office]\nhost = \"smtp.office.example\"\n[[route]]\nfrom = [\"*\"]\nupstream = [\"office\"]\n"
		cfg, err := Load(writeConfig(t, text))
		if err != nil {
			t.Fatal(err)
		}
		if said := fmt.Sprint(cfg.Warnings); !strings.Contains(said, want) {
			t.Errorf("%s: %s", key, said)
		}
	}
}
