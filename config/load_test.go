package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// rsaKey takes a while to make.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// furnish makes a folder with what the files of testdata name: a certificate
// with its key, another key, and secrets with good and bad modes. Git keeps
// no modes, so they cannot lie in testdata.
func furnish(t *testing.T) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the files of testdata have the paths, modes and groups of Unix")
	}
	dir := t.TempDir()
	cert, key := keyPair(t, 2099)
	_, otherKey := keyPair(t, 2099)
	oldCert, oldKey := keyPair(t, 2020)
	write := func(name string, content []byte, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // past the umask
			t.Fatal(err)
		}
	}
	write("tls/cert.pem", cert, 0o644)
	write("tls/key.pem", key, 0o600)
	write("tls/old-cert.pem", oldCert, 0o644)
	write("tls/old-key.pem", oldKey, 0o600)
	write("tls/other-key.pem", otherKey, 0o600)
	write("tls/open-key.pem", key, 0o644)
	der := x509.MarshalPKCS1PrivateKey(rsaKey())
	write("dkim/rsa.pem", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der}), 0o600)
	write("dkim/broken.pem", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der[:100]}), 0o600)
	write("dkim/open.pem", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der}), 0o644)
	write("office.pw", []byte("hunter2\n"), 0o600)
	write("ntfy.url", []byte("ntfy://ntfy.example.com/hunter2\n"), 0o600)
	write("aliases", []byte("# of a machine\nbob: bob@example.net\n"), 0o644)
	write("bad.aliases", []byte("root: |/bin/sh\nbob: /var/mail/bob\n"), 0o644)
	write("open.aliases", []byte("bob: bob@example.net\n"), 0o666)
	write("open.pw", []byte("hunter2\n"), 0o644)
	write("empty.pw", []byte("\n"), 0o600)
	write("service.json", []byte(`{"type": "service_account", "private_key": "hunter2"}`), 0o600)
	write("token.key", []byte("hunter2 hunter2 hunter2 hunter2 hunter2\n"), 0o600)
	write("federated.jwt", []byte("hunter2.hunter2.hunter2\n"), 0o600)
	return dir
}

func keyPair(t *testing.T, lastYear int) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(lastYear, 12, 31, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// place copies a file of testdata into dir.
func place(t *testing.T, dir, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// golden compares got with a file, or rewrites it under -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs.\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

func list(t *testing.T, pattern string, atLeast int) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < atLeast {
		t.Fatalf("%d files match %s, want at least %d", len(files), pattern, atLeast)
	}
	return files
}

// Every bad file has its exact messages beside it.
func TestLoadBad(t *testing.T) {
	dir := furnish(t)
	for _, file := range list(t, "testdata/bad/*.toml", 40) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			cfg, err := Load(place(t, dir, file))
			var problems *Problems
			if !errors.As(err, &problems) || cfg != nil {
				t.Fatalf("Load = %v, %v; want *Problems", cfg, err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the message tells the password: %v", err)
			}
			golden(t, strings.TrimSuffix(file, ".toml")+".err", strings.ReplaceAll(err.Error(), dir+"/", "")+"\n")
		})
	}
}

// Every good file has what it means beside it, with its warnings.
func TestLoadGood(t *testing.T) {
	dir := furnish(t)
	for _, file := range list(t, "testdata/good/*.toml", 3) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			cfg, err := Load(place(t, dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(cfg.Hostname, ".") {
				cfg.Hostname = "the-machine.example"
			}
			view, err := json.MarshalIndent(cfg.Redacted(), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got := string(view) + "\n"
			for _, w := range cfg.Warnings {
				got += "warning: " + w.String() + "\n"
			}
			got = strings.ReplaceAll(got, dir+"/", "")
			for _, secret := range []string{"hunter2", "argon2id", "$2b$"} {
				if strings.Contains(got, secret) {
					t.Errorf("the view tells %q", secret)
				}
			}
			golden(t, strings.TrimSuffix(file, ".toml")+".json", got)
		})
	}
}

// A digest changes with every setting that can be shown, and with nothing else.
func TestDigest(t *testing.T) {
	one, other := Default(), Default()
	one.Upstreams["a"], other.Upstreams["a"] = DefaultUpstream("a"), DefaultUpstream("a")
	if one.Digest() != other.Digest() || one.Upstreams["a"].Digest() != other.Upstreams["a"].Digest() {
		t.Error("the same settings have different digests")
	}
	other.Upstreams["a"].Host = "mx.example"
	if one.Digest() == other.Digest() || one.Upstreams["a"].Digest() == other.Upstreams["a"].Digest() {
		t.Error("different settings have the same digest")
	}
}
