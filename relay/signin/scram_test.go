package signin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"
)

// connection is both ends' knowledge of one TLS connection.
func connection(t *testing.T, version uint16) (client, server tls.ConnectionState) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	other := tls.Server(far, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: version,
		SessionTicketsDisabled: true, // a ticket would wait for a reader
	})
	done := make(chan error, 1)
	go func() { done <- other.Handshake() }()
	us := tls.Client(near, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	if err := us.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return us.ConnectionState(), other.ConnectionState()
}

// boundServer is a server that knows a binding of its own; required: it takes
// no sign-in without it.
func boundServer(t *testing.T, name string, hash scram.HashGeneratorFcn, state *tls.ConnectionState, required bool) func(int, string) Reply {
	t.Helper()
	binding, err := scramBinding(state)
	if err != nil {
		t.Fatal(err)
	}
	client, err := hash.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt and pepper", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	other, err := hash.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	if err != nil {
		t.Fatal(err)
	}
	conv := other.NewConversationWithChannelBinding(binding)
	if required {
		conv = other.NewConversationWithChannelBindingRequired(binding)
	}
	return func(n int, line string) Reply {
		if line == "*" {
			return say(501, "cancelled")
		}
		if n == 0 {
			mechanism, initial, _ := strings.Cut(strings.TrimPrefix(line, "AUTH "), " ")
			if mechanism != name {
				t.Errorf("signed in by %s", mechanism)
			}
			line = initial
		}
		if conv.Done() {
			return say(235, "ok")
		}
		out, err := conv.Step(decode(t, line))
		if err != nil && out == "" {
			return say(535, "no")
		}
		return ask(out)
	}
}

func TestBoundSCRAM(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, hash := range map[string]scram.HashGeneratorFcn{
			"SCRAM-SHA-1": scram.SHA1, "SCRAM-SHA-256": scram.SHA256, "SCRAM-SHA-512": scram.SHA512,
		} {
			t.Run(tls.VersionName(version)+" "+name, func(t *testing.T) {
				ours, theirs := connection(t, version)
				r := request(strings.ToLower(name), "PLAIN", name, name+"-PLUS")
				r.State = &ours
				got, lines, err := do(t, r, boundServer(t, name+"-PLUS", hash, &theirs, true))
				if err != nil || got != name+"-PLUS" || len(lines) != 3 {
					t.Error(got, lines, err)
				}
			})
		}
	}
}

// Somebody in between has a certificate that we believe, and passes on what
// either side says.
func TestBoundSCRAMThroughSomebodyElse(t *testing.T) {
	ours, _ := connection(t, tls.VersionTLS13)
	_, theirs := connection(t, tls.VersionTLS13)
	r := request("auto", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256")
	r.State = &ours
	_, _, err := do(t, r, boundServer(t, "SCRAM-SHA-256-PLUS", scram.SHA256, &theirs, false))
	if err == nil || !strings.Contains(err.Error(), "another TLS connection") {
		t.Error(err)
	}
	// They remove the offer, too.
	r.Offered = []string{"SCRAM-SHA-256"}
	_, _, err = do(t, r, boundServer(t, "SCRAM-SHA-256", scram.SHA256, &theirs, false))
	if err == nil || !strings.Contains(err.Error(), "removed its offer") {
		t.Error(err)
	}
}

// The flag in the first message says what we could have done.
func TestBindingFlag(t *testing.T) {
	ours, _ := connection(t, tls.VersionTLS13)
	old := ours
	old.Version, old.TLSUnique = tls.VersionTLS12, nil
	for _, c := range []struct {
		state   *tls.ConnectionState
		offered string
		want    string
	}{
		{nil, "SCRAM-SHA-256 SCRAM-SHA-256-PLUS", "n,,"},
		{&old, "SCRAM-SHA-256 SCRAM-SHA-256-PLUS", "n,,"},
		{&ours, "SCRAM-SHA-256", "y,,"},
		{&ours, "SCRAM-SHA-512 SCRAM-SHA-1-PLUS", "p=tls-exporter,,"},
	} {
		r := request("auto", strings.Fields(c.offered)...)
		r.State, r.TLS = c.state, c.state != nil
		_, lines, _ := do(t, r, func(int, string) Reply { return say(535, "no") })
		_, initial, _ := strings.Cut(strings.TrimPrefix(lines[0], "AUTH "), " ")
		if first := decode(t, initial); !strings.HasPrefix(first, c.want) {
			t.Errorf("%s: %q, not %q", c.offered, first, c.want)
		}
	}
}

// An announced and then unknown -PLUS is followed by the flag that tells the
// upstream, if it was not the upstream that said so.
func TestUnknownBoundMechanism(t *testing.T) {
	ours, theirs := connection(t, tls.VersionTLS13)
	r := request("scram-sha-256", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")
	r.State = &ours
	plain := boundServer(t, "SCRAM-SHA-256", scram.SHA256, &theirs, false)
	_, _, err := do(t, r, func(n int, line string) Reply {
		if n == 0 {
			return say(504, "unknown")
		}
		return plain(n-1, line)
	})
	if err == nil || !strings.Contains(err.Error(), "removed its offer") {
		t.Error(err)
	}
}
