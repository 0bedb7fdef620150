package outgoing_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"postern/config"
	"postern/relay/outgoing"
	"postern/relay/sign"
	"postern/spool"
)

// signing has mail of example.com signed with a new key, and returns its record.
func signing(t testing.TB, cfg *config.Config) (record string) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	if record, err = sign.Record(public); err != nil {
		t.Fatal(err)
	}
	cfg.DKIM = map[string]*config.DKIM{"example.com": {Domain: "example.com", Keys: []config.DKIMKey{{Selector: "m1", KeyFile: file}}}}
	return record
}

func valid(t testing.TB, record, message string) bool {
	t.Helper()
	found, err := dkim.VerifyWithOptions(strings.NewReader(message), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		return []string{record}, nil
	}})
	return err == nil && len(found) == 1 && found[0].Err == nil
}

// What arrives has a signature that holds, for the domain of From as it is sent;
// what is of another domain has none.
func TestSigned(t *testing.T) {
	record := ""
	r := newRelay(t, func(cfg *config.Config, up *config.Upstream) {
		record = signing(t, cfg)
		cfg.Rewrites = []config.Rewrite{{From: []string{"root@*"}, HeaderFrom: "us@example.com", ReplyTo: config.ReplyToOriginal}}
	})
	body := strings.Repeat("x  y\r\n.dot\r\n", 10_000) + "\r\n\r\n"
	own, other := crlfs("From: a@example.com\nSubject: s\n\n")+body, crlfs("From: a@other.example\nSubject: s\n\n")+body
	r.send(t, &spool.Envelope{From: "a@example.com"}, own, other)
	r.send(t, &spool.Envelope{From: "root@host"}, other)
	if len(r.server.got) != 3 {
		t.Fatalf("%d messages", len(r.server.got))
	}
	for i, want := range []bool{true, false, true} {
		got := r.server.got[i]
		if valid(t, record, got.data) != want || strings.Contains(got.data, "DKIM-Signature") != want || got.opts.Size != int64(len(got.data)) {
			t.Errorf("%d: size %d of %d: %.400q", i, got.opts.Size, len(got.data), got.data)
		}
	}
}

// A message that can't be signed goes all the same, and that is told.
func TestNotSigned(t *testing.T) {
	r := newRelay(t, func(cfg *config.Config, _ *config.Upstream) { signing(t, cfg) })
	in := crlfs("From: a@example.com\n\n") + strings.Repeat("\r\n", 1<<20) + "x\r\n"
	r.send(t, &spool.Envelope{From: "a@example.com"}, in)
	if len(r.server.got) != 1 || r.server.got[0].data != in || len(r.events) != 1 {
		t.Fatalf("%d messages, events %+v", len(r.server.got), r.events)
	}
	if e, ok := r.events[0].(outgoing.NotSigned); !ok || e.Domain != "example.com" || e.Upstream != "office" {
		t.Errorf("%+v", r.events)
	}
}
