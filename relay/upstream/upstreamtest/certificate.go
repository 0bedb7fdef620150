package upstreamtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Authority is a certificate authority of the tests.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var serial struct {
	mu sync.Mutex
	n  int64
}

func nextSerial() *big.Int {
	serial.mu.Lock()
	defer serial.mu.Unlock()
	serial.n++
	return big.NewInt(serial.n)
}

// The validity of good certificates; it includes the clock of synctest.
var (
	notBefore = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

// NewAuthority makes an authority.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{cert: &x509.Certificate{
		Subject: pkix.Name{CommonName: "postern test authority"}, NotBefore: notBefore, NotAfter: notAfter,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SerialNumber: nextSerial(),
	}}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

// File writes the authority's certificate to dir and returns its path.
func (a *Authority) File(t testing.TB, dir string) string {
	t.Helper()
	return WritePEM(t, filepath.Join(dir, "ca.pem"), "CERTIFICATE", a.cert.Raw)
}

// Pool holds the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Issue makes a certificate for names (host names or addresses).
func (a *Authority) Issue(t testing.TB, names ...string) tls.Certificate {
	return a.IssueUntil(t, notAfter, names...)
}

// IssueExpired makes one that ended in 1999.
func (a *Authority) IssueExpired(t testing.TB, names ...string) tls.Certificate {
	return a.IssueUntil(t, time.Date(1999, 2, 1, 0, 0, 0, 0, time.UTC), names...)
}

// IssueUntil makes one that ends then.
func (a *Authority) IssueUntil(t testing.TB, until time.Time, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return a.issue(t, key, until, names)
}

// IssueRSA makes one with an RSA key of 2048 bits.
func (a *Authority) IssueRSA(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return a.issue(t, key, notAfter, names)
}

// SelfSigned makes one that nobody vouches for.
func SelfSigned(t testing.TB, names ...string) tls.Certificate {
	return (&Authority{}).IssueUntil(t, notAfter, names...)
}

func (a *Authority) issue(t testing.TB, key crypto.Signer, until time.Time, names []string) tls.Certificate {
	t.Helper()
	leaf := &x509.Certificate{
		Subject: pkix.Name{CommonName: names[0]}, SerialNumber: nextSerial(), NotBefore: notBefore, NotAfter: until,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	parent, signer := leaf, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Fingerprint is the pin of cert.
func Fingerprint(cert tls.Certificate) string {
	sum := sha256.Sum256(cert.Certificate[0])
	return hex.EncodeToString(sum[:])
}

// WritePair writes cert and its key to dir and returns their paths.
func WritePair(t testing.TB, dir, name string, cert tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return WritePEM(t, filepath.Join(dir, name+".pem"), "CERTIFICATE", cert.Certificate[0]),
		WritePEM(t, filepath.Join(dir, name+".key"), "PRIVATE KEY", key)
}

// WritePEM writes one block and returns path.
func WritePEM(t testing.TB, path, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
