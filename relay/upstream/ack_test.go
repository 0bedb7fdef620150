//go:build linux

package upstream_test

import (
	"crypto/tls"
	"testing"
	"time"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
)

// An upstream that sends its replies in pieces, each after the last one was
// acknowledged, isn't made to wait for that. With the kernel's own delay each
// of these messages takes 40 ms. A busy machine has several tries.
func TestPiecesAreAcknowledgedAtOnce(t *testing.T) {
	const (
		messages = 25
		delayed  = messages * 40 * time.Millisecond
	)
	ca := upstreamtest.NewAuthority(t)
	for _, mode := range []config.UpstreamTLS{config.TLSOff, config.TLSVerify} {
		t.Run(string(mode), func(t *testing.T) {
			sink := &upstreamtest.Sink{Pieces: true, Extensions: []string{"PIPELINING"}}
			up := &config.Upstream{Name: "pieces", TLS: mode, Auth: "none"}
			if mode != config.TLSOff {
				sink.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1")}}
				up.CAFile = ca.File(t, t.TempDir())
			}
			up.Host, up.Port = sink.Start(t)
			var took time.Duration
			for range 5 {
				feed, began := newBenchFeed(messages, 1<<10, 1), time.Now()
				if err := new(upstream.Dialer).Deliver(t.Context(), up, feed); err != nil {
					t.Fatal(err)
				}
				if feed.delivered != messages {
					t.Fatalf("%d of %d delivered", feed.delivered, messages)
				}
				if took = time.Since(began); took < delayed/2 {
					return
				}
			}
			t.Errorf("%d messages took %v", messages, took)
		})
	}
}

// What Postfix says after the tickets of TLS 1.3 waits for their
// acknowledgement, and for tickets a session has no eyes.
func TestPostfixTicketsAreAcknowledgedAtOnce(t *testing.T) {
	const (
		sessions = 10
		delayed  = sessions * 40 * time.Millisecond
	)
	p := upstreamtest.StartPostfix(t)
	for _, mode := range []config.UpstreamTLS{config.TLSVerify, config.TLSImplicit} {
		t.Run(string(mode), func(t *testing.T) {
			up := p.Upstream("none")
			if up.TLS = mode; mode == config.TLSImplicit {
				up.Port = p.Implicit
			}
			var took time.Duration
			for range 5 {
				began := time.Now()
				for range sessions {
					// A new dialer knows no session to go on with.
					if err := new(upstream.Dialer).Deliver(t.Context(), up, newBenchFeed(0, 0, 1)); err != nil {
						t.Fatal(err)
					}
				}
				if took = time.Since(began); took < delayed/2 {
					return
				}
			}
			t.Errorf("%d sessions took %v", sessions, took)
		})
	}
}
