package upstreamtest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
)

// Pair is a certificate, as it is or isn't allowed to be, and its key.
type Pair struct {
	Cert *x509.Certificate
	Key  crypto.Signer
	DER  []byte
}

// Forge makes a certificate for mx.example, changed by change; signed by
// parent, nil: by itself. key nil: one of P-256.
func Forge(t testing.TB, parent *Pair, key crypto.Signer, change func(*x509.Certificate)) *Pair {
	t.Helper()
	if key == nil {
		key = newKey(t)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "mx.example"}, DNSNames: []string{"mx.example"},
		SerialNumber: nextSerial(), NotBefore: notBefore, NotAfter: notAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	p := &Pair{Cert: template, Key: key}
	if parent == nil {
		parent = p
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.Cert, key.Public(), parent.Key)
	if err != nil {
		t.Fatal(err)
	}
	p.DER = der
	if p.Cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return p
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// AsAuthority makes a certificate one of an authority; for Forge.
func AsAuthority(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject, c.DNSNames, c.ExtKeyUsage = pkix.Name{CommonName: name}, nil, nil
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	}
}

// Replace puts new in the place of old in what was signed, and has sign sign
// it again: for what x509.CreateCertificate refuses to write.
func (p *Pair) Replace(t testing.TB, old, new []byte, sign func(signed []byte) []byte) {
	t.Helper()
	var outer struct {
		Signed    asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(p.DER, &outer); err != nil {
		t.Fatal(err)
	}
	if len(old) != len(new) || bytes.Count(outer.Signed.FullBytes, old) != 1 {
		t.Fatalf("%x is not there once", old)
	}
	outer.Signed.FullBytes = bytes.Replace(outer.Signed.FullBytes, old, new, 1)
	if algorithm, err := asn1.Marshal(outer.Algorithm); err != nil {
		t.Fatal(err)
	} else if _, err := asn1.Unmarshal(bytes.Replace(algorithm, old, new, 1), &outer.Algorithm); err != nil {
		t.Fatal(err)
	}
	signature := sign(outer.Signed.FullBytes)
	outer.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	var err error
	if p.DER, err = asn1.Marshal(outer); err != nil {
		t.Fatal(err)
	}
	p.Cert, _ = x509.ParseCertificate(p.DER) // which may be what is refused
}

// WithNegativeSerial gives p, which parent signed with a key of P-256 (nil: p
// itself), a serial number below zero.
func (p *Pair) WithNegativeSerial(t testing.TB, parent *Pair) *Pair {
	t.Helper()
	if parent == nil {
		parent = p
	}
	serial, err := asn1.Marshal(p.Cert.SerialNumber)
	if err != nil {
		t.Fatal(err)
	}
	old := append([]byte{0xa0, 3, 2, 1, 2}, serial...) // behind the version: 3
	negative := bytes.Clone(old)
	negative[len(old)-len(serial)+2] |= 0x80
	p.Replace(t, old, negative, func(signed []byte) []byte {
		sum := sha256.Sum256(signed)
		signature, err := ecdsa.SignASN1(rand.Reader, parent.Key.(*ecdsa.PrivateKey), sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return signature
	})
	return p
}

// TLS is the pair for a server, with the certificates of its chain.
func (p *Pair) TLS(chain ...*Pair) tls.Certificate {
	c := tls.Certificate{Certificate: [][]byte{p.DER}, PrivateKey: p.Key}
	for _, next := range chain {
		c.Certificate = append(c.Certificate, next.DER)
	}
	return c
}
