package upstream_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// meeting is a server, and how the upstream that leads to it is configured.
type meeting struct {
	name   string
	server *tls.Config
	set    func(*config.Upstream)
	want   []string // parts of the cause and its remedy; nil: a message goes
	not    string   // what they must not say
}

// meet delivers a message for each meeting, with ca as the known authority.
func meet(t *testing.T, ca *upstreamtest.Pair, meetings []meeting) {
	t.Helper()
	file := upstreamtest.WritePEM(t, filepath.Join(t.TempDir(), "ca.pem"), "CERTIFICATE", ca.DER)
	for _, m := range meetings {
		t.Run(m.name, func(t *testing.T) {
			sink := &upstreamtest.Sink{TLS: m.server}
			up := &config.Upstream{TLS: config.TLSVerify, Account: config.Account{Name: "test", Auth: "none"}, CAFile: file, ServerName: "mx.example"}
			up.Host, up.Port = sink.Start(t)
			if m.set != nil {
				m.set(up)
			}
			rec, err := oneMessage(t, &upstream.Dialer{}, up)
			if m.want == nil {
				if err != nil || len(rec.opened) != 1 {
					t.Fatal(err)
				}
				if want := len(up.Fingerprints) > 0 || up.TLS == config.TLSVerify; rec.opened[0].Verified != want {
					t.Errorf("verified: %v", rec.opened[0].Verified)
				}
				return
			}
			var fault *spool.Fault
			if !errors.As(err, &fault) || fault.Outcome.Stage != spool.StageTLS {
				t.Fatalf("%v", err)
			}
			for _, part := range m.want {
				if !strings.Contains(fault.Outcome.Cause, part) {
					t.Errorf("%q is not in %q", part, fault.Outcome.Cause)
				}
			}
			if m.not != "" && strings.Contains(fault.Outcome.Cause, m.not) {
				t.Errorf("%q is in %q", m.not, fault.Outcome.Cause)
			}
		})
	}
}

func serve(cert tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

// unchecked, and pinning, are two ways to do without a valid chain.
func unchecked(up *config.Upstream) { up.TLS, up.CAFile = config.TLSEncrypt, "" }

func pinning(p *upstreamtest.Pair) func(*config.Upstream) {
	return func(up *config.Upstream) {
		up.CAFile, up.Fingerprints = "", []string{upstreamtest.Fingerprint(p.TLS())}
	}
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// RFC 5280 §4.1.2.2 has them borne with: the serial number decides nothing.
func TestNegativeSerialNumbersAreTaken(t *testing.T) {
	ca := upstreamtest.Forge(t, nil, nil, upstreamtest.AsAuthority("Old CA")).WithNegativeSerial(t, nil)
	leaf := upstreamtest.Forge(t, ca, nil, nil).WithNegativeSerial(t, ca)
	other := upstreamtest.Forge(t, nil, nil, nil).WithNegativeSerial(t, nil)
	for _, p := range []*upstreamtest.Pair{ca, leaf, other} {
		if p.Cert == nil || p.Cert.SerialNumber.Sign() >= 0 {
			t.Fatal("the serial number is not negative")
		}
	}
	meet(t, ca, []meeting{
		{name: "verify", server: serve(leaf.TLS())},
		{name: "encrypt", server: serve(leaf.TLS()), set: unchecked},
		{name: "fingerprint", server: serve(leaf.TLS()), set: pinning(leaf)},
		{name: "everything else is checked", server: serve(other.TLS()), want: []string{"its certificate is self-signed"}},
	})
}

// Whoever sets GODEBUG against it is told so.
func TestNegativeSerialNumbersThatAreRefused(t *testing.T) {
	t.Setenv("GODEBUG", "x509negativeserial=0")
	ca := upstreamtest.Forge(t, nil, nil, upstreamtest.AsAuthority("CA"))
	leaf := upstreamtest.Forge(t, ca, nil, nil).WithNegativeSerial(t, ca)
	meet(t, ca, []meeting{
		{name: "encrypt", server: serve(leaf.TLS()), set: unchecked, want: []string{"negative serial number", "GODEBUG"}},
	})
}

// Old cipher suites are spoken where the key says so, and nowhere else.
func TestOldCipherSuitesByTheirKey(t *testing.T) {
	ca := upstreamtest.Forge(t, nil, nil, upstreamtest.AsAuthority("CA"))
	leaf := upstreamtest.Forge(t, ca, rsaKey(t), nil)
	with := func(suites ...uint16) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}, CipherSuites: suites, MaxVersion: tls.VersionTLS12}
	}
	old := func(more ...func(*config.Upstream)) func(*config.Upstream) {
		return func(up *config.Upstream) {
			up.TLSOldCiphers = true
			for _, set := range more {
				set(up)
			}
		}
	}
	buried := with(tls.TLS_RSA_WITH_AES_128_CBC_SHA)
	buried.MinVersion, buried.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	least := func(version config.TLSVersion) func(*config.Upstream) {
		return func(up *config.Upstream) { up.TLSMinVersion = version }
	}
	refused := []string{"none of the cipher suites", "tls_old_ciphers = true"}
	meet(t, ca, []meeting{
		{name: "RSA key exchange", server: with(tls.TLS_RSA_WITH_AES_128_CBC_SHA), set: old()},
		{name: "RSA key exchange with GCM", server: with(tls.TLS_RSA_WITH_AES_256_GCM_SHA384), set: old()},
		{name: "RSA key exchange, encrypt", server: with(tls.TLS_RSA_WITH_AES_128_CBC_SHA), set: old(unchecked)},
		{name: "RSA key exchange, fingerprint", server: with(tls.TLS_RSA_WITH_AES_128_CBC_SHA), set: old(pinning(leaf))},
		{name: "3DES", server: with(tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA), set: old()},
		{name: "3DES and RSA key exchange", server: with(tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA), set: old()},
		{name: "CBC with SHA-256", server: with(tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256), set: old()},
		{name: "TLS 1.0 with RSA key exchange", server: buried, set: old(least("1.0"))},
		{name: "a new server", server: serve(leaf.TLS()), set: old()},
		{name: "RSA key exchange without the key", server: with(tls.TLS_RSA_WITH_AES_128_CBC_SHA), want: refused},
		{name: "RSA key exchange without the key, encrypt", server: with(tls.TLS_RSA_WITH_AES_128_CBC_SHA), set: unchecked, want: refused},
		{name: "3DES without the key", server: with(tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA), want: refused},
		{name: "TLS 1.0 with RSA key exchange without the key", server: buried, set: least("1.0"), want: refused},
		{name: "RC4", server: with(tls.TLS_RSA_WITH_RC4_128_SHA), set: old(), want: []string{"no setting lets in"}, not: "tls_old_ciphers"},
	})
}

// The version that the upstream knows is told, and the key that lets it in.
func TestOldVersionsAreTold(t *testing.T) {
	ca := upstreamtest.Forge(t, nil, nil, upstreamtest.AsAuthority("CA"))
	leaf := upstreamtest.Forge(t, ca, nil, nil)
	newest := func(version uint16) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}, MinVersion: tls.VersionTLS10, MaxVersion: version}
	}
	least := func(version config.TLSVersion) func(*config.Upstream) {
		return func(up *config.Upstream) { up.TLSMinVersion = version }
	}
	meet(t, ca, []meeting{
		{name: "1.1 for 1.2", server: newest(tls.VersionTLS11), want: []string{"nothing newer than TLS 1.1", `tls_min_version = "1.0"`}},
		{name: "1.0 for 1.1", server: newest(tls.VersionTLS10), set: least("1.1"), want: []string{"nothing newer than TLS 1.0", `tls_min_version = "1.0"`}},
		{name: "1.2 for 1.3", server: newest(tls.VersionTLS12), set: least("1.3"), want: []string{"nothing newer than TLS 1.2", `Set tls_min_version = "1.2"`}},
	})
}

// A certificate is for the hosts in its subjectAltName, and for no other.
func TestMisnamedCertificates(t *testing.T) {
	ca := upstreamtest.Forge(t, nil, nil, upstreamtest.AsAuthority("CA"))
	bare := upstreamtest.Forge(t, ca, nil, func(c *x509.Certificate) { c.DNSNames = nil })
	leaf := upstreamtest.Forge(t, ca, nil, nil)
	wild := upstreamtest.Forge(t, ca, nil, func(c *x509.Certificate) { c.DNSNames = []string{"*.mx.example"} })
	pin := "sha256:" + upstreamtest.Fingerprint(bare.TLS())
	named := func(name string) func(*config.Upstream) {
		return func(up *config.Upstream) { up.ServerName = name }
	}
	meet(t, ca, []meeting{
		{name: "no subjectAltName", server: serve(bare.TLS()), not: "Correct host",
			want: []string{"names no host in its subjectAltName", `"mx.example" does not count (RFC 9525)`, "Have one issued with mx.example", pin}},
		{name: "no subjectAltName, encrypt", server: serve(bare.TLS()), set: unchecked},
		{name: "no subjectAltName, fingerprint", server: serve(bare.TLS()), set: pinning(bare)},
		{name: "an address", server: serve(leaf.TLS()), set: named(""),
			want: []string{"is for mx.example, not for the address 127.0.0.1", `server_name = "mx.example"`}},
		{name: "another name", server: serve(leaf.TLS()), set: named("smtp.example"),
			want: []string{"is for mx.example, not for smtp.example", `server_name = "mx.example"`}},
		{name: "a wildcard", server: serve(wild.TLS()), want: []string{"is for *.mx.example, not for mx.example. Correct host"}, not: "server_name"},
	})
}

// Every defect of a certificate or its chain is told as what it is.
func TestDefectsOfChains(t *testing.T) {
	day := 24 * time.Hour
	ca := upstreamtest.Forge(t, nil, nil, upstreamtest.AsAuthority("CA"))
	rsaCA := upstreamtest.Forge(t, nil, rsaKey(t), upstreamtest.AsAuthority("RSA CA"))
	middle := func(parent *upstreamtest.Pair, change func(*x509.Certificate)) *upstreamtest.Pair {
		return upstreamtest.Forge(t, parent, nil, func(c *x509.Certificate) {
			upstreamtest.AsAuthority("Middle CA")(c)
			if change != nil {
				change(c)
			}
		})
	}
	leaf := func(parent *upstreamtest.Pair, change func(*x509.Certificate)) tls.Certificate {
		return upstreamtest.Forge(t, parent, nil, change).TLS()
	}
	under := func(parent *upstreamtest.Pair, change func(*x509.Certificate)) tls.Certificate {
		return upstreamtest.Forge(t, parent, nil, change).TLS(parent)
	}
	ended := middle(ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-2 * day) })
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	alone := upstreamtest.Forge(t, nil, nil, nil)
	aloneCA := upstreamtest.Forge(t, nil, nil, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })
	trusting := func(p *upstreamtest.Pair) func(*config.Upstream) {
		return func(up *config.Upstream) {
			up.CAFile = upstreamtest.WritePEM(t, filepath.Join(t.TempDir(), "ca.pem"), "CERTIFICATE", p.DER)
		}
	}
	stale := middle(nil, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-day) })
	sha1 := upstreamtest.Forge(t, rsaCA, nil, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA })
	withMD5 := upstreamtest.Forge(t, rsaCA, nil, nil)
	withMD5.Replace(t, oid(t, 11), oid(t, 4), func(signed []byte) []byte { // sha256WithRSAEncryption, md5WithRSAEncryption
		sum := md5.Sum(signed)
		signature, err := rsa.SignPKCS1v15(nil, rsaCA.Key.(*rsa.PrivateKey), crypto.MD5, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return signature
	})
	meet(t, ca, []meeting{
		{name: "Ed25519", server: serve(upstreamtest.Forge(t, ca, edKey, nil).TLS())},
		{name: "expired", server: serve(leaf(ca, func(c *x509.Certificate) { c.NotAfter = time.Date(2001, 2, 3, 0, 0, 0, 0, time.UTC) })),
			want: []string{"its certificate expired on 2001-02-03 00:00 UTC", "renew"}},
		{name: "not valid yet", server: serve(leaf(ca, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(3 * day) })),
			want: []string{"its certificate is valid only from", "clock"}},
		{name: "an expired intermediate", server: serve(under(ended, nil)), want: []string{`the certificate of "Middle CA" in its chain expired on`, "renew"}},
		{name: "an expired authority", server: serve(leaf(stale, nil)), set: trusting(stale), want: []string{`the certificate of its authority "Middle CA", in ca_file, expired on`, "Its successor belongs in ca_file"}},
		{name: "self-signed", server: serve(alone.TLS()), want: []string{"is self-signed, and not in ca_file", upstreamtest.Fingerprint(alone.TLS())}},
		{name: "self-signed authority", server: serve(aloneCA.TLS()), want: []string{"is self-signed, and not in ca_file", upstreamtest.Fingerprint(aloneCA.TLS())}},
		{name: "self-signed, in ca_file", server: serve(alone.TLS()), set: trusting(alone)},
		{name: "self-signed authority, in ca_file", server: serve(aloneCA.TLS()), set: trusting(aloneCA)},
		{name: "a missing intermediate", server: serve(leaf(middle(ca, nil), nil)), want: []string{`issued by "Middle CA", which is not in ca_file, and it sent no intermediate`, "have the upstream send"}},
		{name: "another authority", server: serve(under(middle(rsaCA, nil), nil)), want: []string{`issued by "RSA CA", which is not in ca_file`, "add its certificate to the file that ca_file names", "fingerprint", " in place of ca_file"}},
		{name: "SHA-1", server: serve(sha1.TLS()), set: trusting(rsaCA), want: []string{"its certificate is signed with SHA1-RSA", "SHA-256", "fingerprint"}},
		{name: "SHA-1, fingerprint", server: serve(sha1.TLS()), set: pinning(sha1)},
		{name: "MD5", server: serve(withMD5.TLS()), set: trusting(rsaCA), want: []string{"its certificate is signed with MD5-RSA", "SHA-256"}},
		{name: "name constraints", server: serve(under(middle(ca, func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"other.example"} }), nil)),
			want: []string{"its authority may not issue for this name", "fingerprint"}},
		{name: "for clients alone", server: serve(leaf(ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })),
			want: []string{"is not for servers (extended key usage)", "fingerprint"}},
		{name: "issued by no authority", server: serve(under(upstreamtest.Forge(t, ca, nil, nil), nil)), want: []string{"not marked as an authority", "fingerprint"}},
		{name: "a critical extension", server: serve(leaf(ca, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Critical: true, Value: []byte{5, 0}}}
		})), want: []string{"critical extension", "fingerprint"}},
	})
}

// oid is 1.2.840.113549.1.1.last, as it stands in what is signed.
func oid(t *testing.T, last int) []byte {
	der, err := asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, last})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// A chain that an authority has limited is told from one that nobody knows.
func TestChainsLongerThanTheirAuthorityAllows(t *testing.T) {
	ca := upstreamtest.Forge(t, nil, nil, func(c *x509.Certificate) {
		upstreamtest.AsAuthority("CA")(c)
		c.MaxPathLenZero = true
	})
	middle := upstreamtest.Forge(t, ca, nil, upstreamtest.AsAuthority("Middle CA"))
	meet(t, ca, []meeting{{name: "two", server: serve(upstreamtest.Forge(t, middle, nil, nil).TLS(middle)), want: []string{"longer than one of its authorities allows", "fingerprint"}}})
}

// Keys that crypto/rsa takes for broken, or for too much work, are told.
func TestKeysOfTheWrongSize(t *testing.T) {
	ca := upstreamtest.Forge(t, nil, nil, upstreamtest.AsAuthority("CA"))
	short, huge := shortKey(t), &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 8200), big.NewInt(1)), E: 65537}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, ca.Cert, huge, ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	exchange := func(cert tls.Certificate) *tls.Config { // which asks nothing of the server's key before its certificate is seen
		return &tls.Config{Certificates: []tls.Certificate{cert}, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}, MaxVersion: tls.VersionTLS12}
	}
	old := func(up *config.Upstream) { up.TLSOldCiphers = true }
	var weak, weakCA *upstreamtest.Pair
	allowingShortKeys(func() {
		weakCA = upstreamtest.Forge(t, nil, short, upstreamtest.AsAuthority("Weak CA"))
		weak = upstreamtest.Forge(t, weakCA, nil, nil)
	})
	meet(t, ca, []meeting{
		{name: "512 bits", server: exchange(upstreamtest.Forge(t, ca, short, nil).TLS()), set: old, want: []string{"an RSA key of 512 bits", "2048", "no setting lets"}},
		{name: "512 bits of the authority", server: serve(weak.TLS()), set: func(up *config.Upstream) {
			up.CAFile = upstreamtest.WritePEM(t, filepath.Join(t.TempDir(), "ca.pem"), "CERTIFICATE", weakCA.DER)
		}, want: []string{"its authority has an RSA key of less than 1024 bits", "another authority"}},
		{name: "8201 bits", server: exchange(tls.Certificate{Certificate: [][]byte{der}, PrivateKey: rsaKey(t)}), set: old, want: []string{"RSA key larger than 8192 bits", "smaller"}},
	})
}

// allowingShortKeys does what crypto/rsa would refuse to do.
func allowingShortKeys(do func()) {
	before, set := os.LookupEnv("GODEBUG")
	os.Setenv("GODEBUG", "rsa1024min=0")
	defer func() {
		if os.Setenv("GODEBUG", before); !set {
			os.Unsetenv("GODEBUG")
		}
	}()
	do()
}

// shortKey has 512 bits.
func shortKey(t *testing.T) (key *rsa.PrivateKey) {
	t.Helper()
	var err error
	allowingShortKeys(func() { key, err = rsa.GenerateKey(rand.Reader, 512) })
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// An upstream that wants a client certificate is told from one that does not
// like the one it got.
func TestClientCertificatesThatAreWanted(t *testing.T) {
	ca := upstreamtest.Forge(t, nil, nil, upstreamtest.AsAuthority("CA"))
	other := upstreamtest.NewAuthority(t)
	leaf := upstreamtest.Forge(t, ca, nil, nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	wants := func(version uint16, kind tls.ClientAuthType) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}, ClientAuth: kind, ClientCAs: pool, MaxVersion: version}
	}
	picky := wants(tls.VersionTLS12, tls.RequireAnyClientCert)
	picky.ClientCAs = nil
	picky.VerifyConnection = func(tls.ConnectionState) error { return errors.New("not this one") }
	showing := func(up *config.Upstream) {
		up.CertFile, up.KeyFile = upstreamtest.WritePair(t, t.TempDir(), "client", other.Issue(t, "relay.example"))
	}
	broken := serve(leaf.TLS())
	broken.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no") }
	none := []string{"wants a client certificate", "Set cert_file"}
	meet(t, ca, []meeting{
		{name: "none, TLS 1.2", server: wants(tls.VersionTLS12, tls.RequireAndVerifyClientCert), want: none},
		{name: "none, TLS 1.3", server: wants(tls.VersionTLS13, tls.RequireAndVerifyClientCert), want: none},
		{name: "of another authority", server: wants(tls.VersionTLS13, tls.RequireAndVerifyClientCert), set: showing,
			want: []string{"of another authority or kind than the one in cert_file"}},
		{name: "refused", server: picky, set: showing, want: []string{"refused the client certificate", "made known to the upstream"}},
		{name: "nothing was asked", server: broken, want: []string{"ended the handshake: internal error", "Its log"}, not: "cert_file"},
	})
}
