package outgoing_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"strings"
	"testing"

	"postern/config"
	"postern/relay/outgoing"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// benchFeed hands out messages of the same content, each with an ID of its own.
type benchFeed struct {
	left, delivered int
	body            string
	env             spool.Envelope
}

func (f *benchFeed) TryNext() *spool.Delivery {
	if f.left == 0 {
		return nil
	}
	f.left--
	return &spool.Delivery{ID: spool.ID(f.left + 1), Envelope: &f.env, Pending: []int{0}, Size: int64(len(f.body))}
}

func (f *benchFeed) Next(context.Context) (*spool.Delivery, error) {
	if d := f.TryNext(); d != nil {
		return d, nil
	}
	return nil, io.EOF
}

type text struct{ *strings.Reader }

func (text) Close() error { return nil }

func (f *benchFeed) Content(*spool.Delivery) (spool.Content, error) {
	return text{strings.NewReader(f.body)}, nil
}
func (f *benchFeed) DotSent(*spool.Delivery) error { return nil }
func (f *benchFeed) Again(*spool.Delivery) bool    { return true }
func (f *benchFeed) Release(*spool.Delivery)       {}
func (f *benchFeed) Leave()                        {}
func (f *benchFeed) Settle(_ *spool.Delivery, o []spool.Outcome) {
	if o[0].Code == 250 {
		f.delivered++
	}
}

// BenchmarkSession is messages of 1 KB through one session to a sink in this
// process, which takes its share of the time.
func BenchmarkSession(b *testing.B) {
	for _, c := range []struct {
		name   string
		change func(*config.Config, *config.Upstream)
	}{
		{"as they are", func(*config.Config, *config.Upstream) {}},
		{"rewritten", func(_ *config.Config, up *config.Upstream) { up.Sender = "us@example.com" }},
		{"rewritten, Ed25519", func(cfg *config.Config, up *config.Upstream) { up.Sender = "us@example.com"; signing(b, cfg) }},
		{"rewritten, RSA-2048", func(cfg *config.Config, up *config.Upstream) {
			up.Sender = "us@example.com"
			signing(b, cfg)
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				b.Fatal(err)
			}
			content := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
			if err := os.WriteFile(cfg.DKIM["example.com"].Keys[0].KeyFile, content, 0o600); err != nil {
				b.Fatal(err)
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			sink := &upstreamtest.Sink{Extensions: []string{"PIPELINING", "8BITMIME", "SIZE 100000000"}}
			cfg, up := config.Default(), config.DefaultUpstream("office")
			up.TLS = config.TLSOff
			up.Host, up.Port = sink.Start(b)
			cfg.Upstreams["office"] = up
			c.change(cfg, up)
			policy, err := outgoing.NewPolicy(cfg)
			if err != nil {
				b.Fatal(err)
			}
			forms := outgoing.New(nil)
			forms.Use(policy)
			feed := &benchFeed{left: b.N, body: crlfs("From: Cron <root@host>\nTo: to@example.net\nSubject: s\n\n") + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 13)}
			feed.env = spool.Envelope{From: "root@host", Recipients: []spool.Recipient{{Address: "to@example.net"}}}
			b.ReportAllocs()
			b.ResetTimer()
			if err := (&upstream.Dialer{Form: forms.Form}).Deliver(b.Context(), up, feed); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if feed.delivered != b.N {
				b.Fatalf("%d of %d delivered", feed.delivered, b.N)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
