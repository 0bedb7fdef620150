package directory

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/relay/directory/directorytest"
)

type (
	fixture = directorytest.Directory
	asker   = directorytest.Asker
)

// at makes a directory of fixtures, without TLS.
func at(t *testing.T, change func(*config.Directory), fixtures ...*fixture) *Directory {
	t.Helper()
	set := config.Directory{TLS: config.DirectoryTLSOff, Schema: config.SchemaAuto, Timeout: time.Second, Account: config.Account{Auth: config.MechanismAnonymous}}
	for _, f := range fixtures {
		f.Start(t)
		set.Servers = append(set.Servers, servers(t, f.URL)...)
	}
	if change != nil {
		change(&set)
	}
	return open(t, set)
}

func open(t testing.TB, set config.Directory) *Directory {
	t.Helper()
	d := New("gal", set)
	t.Cleanup(d.Close)
	return d
}

func servers(t testing.TB, urls ...string) (list []config.DirectoryServer) {
	t.Helper()
	for _, u := range urls {
		s, err := config.ParseDirectoryServer(u)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

// certificate makes one, of which it is its own authority, and the file for
// ca_file.
func certificate(t *testing.T, names ...string) (tls.Certificate, string, string, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "directory"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, content []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	ca, keyFile := write("ca.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", pkcs8)
	pair, err := tls.LoadX509KeyPair(ca, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return pair, ca, keyFile, strings.TrimSuffix(ca, "ca.pem")
}
