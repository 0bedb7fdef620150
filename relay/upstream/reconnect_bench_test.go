package upstream_test

import (
	"crypto/tls"
	"testing"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
)

// BenchmarkReconnect is a session without a message: connection, EHLO,
// STARTTLS or TLS from the first byte, EHLO, QUIT, with both ends in this
// process. "full" makes a new session each time, "resumed" goes on with the
// last one.
func BenchmarkReconnect(b *testing.B) {
	ca := upstreamtest.NewAuthority(b)
	file := ca.File(b, b.TempDir())
	for _, key := range []struct {
		name string
		cert tls.Certificate
	}{
		{"RSA-2048", ca.IssueRSA(b, "127.0.0.1")},
		{"P-256", ca.Issue(b, "127.0.0.1")},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			conf := &tls.Config{Certificates: []tls.Certificate{key.cert}, MaxVersion: version}
			for _, mode := range []config.UpstreamTLS{config.TLSVerify, config.TLSImplicit} {
				sink := &upstreamtest.Sink{TLS: conf, Implicit: mode == config.TLSImplicit}
				up := &config.Upstream{TLS: mode, Account: config.Account{Name: "bench", Auth: "none"}, CAFile: file}
				up.Host, up.Port = sink.Start(b)
				benchReconnect(b, key.name+"/"+tls.VersionName(version)+"/"+string(mode), up)
			}
		}
	}
}

// BenchmarkReconnectPostfix is the same with a Postfix of our own (RSA-2048),
// and without a sign-in.
func BenchmarkReconnectPostfix(b *testing.B) {
	p := upstreamtest.StartPostfix(b)
	for mode, port := range map[config.UpstreamTLS]int{config.TLSVerify: p.Port, config.TLSImplicit: p.Implicit} {
		up := p.Upstream("none")
		up.TLS, up.Port = mode, port
		benchReconnect(b, string(mode), up)
	}
}

func benchReconnect(b *testing.B, name string, up *config.Upstream) {
	open := func(b *testing.B, d *upstream.Dialer, rec *recorder, resumed bool) {
		d.Events = rec.tell
		rec.opened = rec.opened[:0]
		if err := d.Deliver(b.Context(), up, newBenchFeed(0, 0, 1)); err != nil {
			b.Fatal(err)
		}
		if rec.opened[0].Resumed != resumed {
			b.Fatalf("%+v", rec.opened[0])
		}
	}
	b.Run(name+"/full", func(b *testing.B) {
		rec := &recorder{}
		for b.Loop() {
			open(b, &upstream.Dialer{}, rec, false) // a new one knows no session
		}
	})
	b.Run(name+"/resumed", func(b *testing.B) {
		rec, d := &recorder{}, &upstream.Dialer{}
		open(b, d, rec, false)
		for b.Loop() {
			open(b, d, rec, true)
		}
	})
}
