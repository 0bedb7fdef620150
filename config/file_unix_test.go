//go:build unix

package config

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func pipe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPipeIsNotWaitedFor: a pipe in the place of any file that the
// configuration names is a problem. To open one waited for its other end, and
// a reload that waits so let nobody reload or stop the daemon any more. One who
// has the other end and writes nothing is not waited for either.
func TestPipeIsNotWaitedFor(t *testing.T) {
	path := pipe(t)
	writer, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(path))
	if _, err := LoadKeyPair(path, path); err == nil {
		t.Error("LoadKeyPair has read a pipe")
	}
	oauth := "auth = \"xoauth2\"\nusername = \"a\"\n[upstream.u.oauth]\n"
	entra := oauth + "provider = \"microsoft365\"\ntenant = \"example.com\"\nclient_id = \"c\"\nflow = \"client_credentials\"\n"
	for key, with := range map[string]string{
		"ca_file":              "",
		"cert_file":            "key_file = \"" + path + "\"\n",
		"password_credential":  "username = \"a\"\n",
		"password_file":        "username = \"a\"\n",
		"keytab":               "auth = \"gssapi\"\nusername = \"a@EXAMPLE.COM\"\n",
		"ccache":               "auth = \"gssapi\"\nusername = \"a@EXAMPLE.COM\"\n",
		"krb5_conf":            "auth = \"gssapi\"\nusername = \"a@EXAMPLE.COM\"\npassword = \"not-a-real-password\"\n",
		"assertion_file":       entra,
		"client_secret_file":   entra,
		"service_account_file": oauth + "provider = \"google\"\nflow = \"service_account\"\n",
		"token_key_file":       strings.Replace(entra, "client_credentials", "device", 1),
	} {
		file, value := filepath.Join(t.TempDir(), "postern.toml"), path
		if key == "password_credential" {
			value = filepath.Base(path)
		}
		text := "[upstream.u]\nhost = \"smtp.example.com\"\nport = 587\n" + with + key + " = \"" + value + "\"\n" +
			"[[route]]\nfrom = [\"*\"]\nupstream = [\"u\"]\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "not a file") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestSecretIsAFile: each source of a secret that is a path reads files only.
func TestSecretIsAFile(t *testing.T) {
	path := pipe(t)
	writer, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(path))
	for kind, value := range map[secretKind]string{secretFile: path, secretCredential: filepath.Base(path)} {
		s := Secret{&secretSource{name: passwordKey, kind: kind, value: value}}
		if _, err := s.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "is not a file") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestConfigurationThroughPipe: a shell may hand the configuration over by a
// pipe; one that nobody writes to is empty.
func TestConfigurationThroughPipe(t *testing.T) {
	path := pipe(t)
	if b, err := readConfiguration(path); err != nil || len(b) > 0 {
		t.Errorf("nobody writes: %q, %v", b, err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		w.WriteString("hostname = \"a.example.com\"\n")
		w.Close()
	}()
	b, err := readConfiguration("/dev/fd/" + strconv.Itoa(int(r.Fd())))
	if err != nil || string(b) != "hostname = \"a.example.com\"\n" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestEndlessFile: what has no end is not read to it.
func TestEndlessFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Skip(err)
	}
	if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Error(err)
	}
	if _, err := ReadFile("/dev/zero"); err == nil {
		t.Error("a device was read")
	}
}

// TestNeverWait: what calls itself a file and has nothing to say is given up.
// /proc/kmsg is one; reading it here would take lines from whoever needs them.
func TestNeverWait(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	neverWait(r)
	if _, err := readAll(r); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}
