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

// undelayed fails where f takes as long as if each of count things in it waited
// for an acknowledgement of the kernel's own accord, 40 ms. A busy machine has
// several tries.
func undelayed(t *testing.T, count int, f func()) {
	t.Helper()
	var took time.Duration
	for range 5 {
		began := time.Now()
		f()
		if took = time.Since(began); took < time.Duration(count)*40*time.Millisecond/2 {
			return
		}
	}
	t.Errorf("%d took %v", count, took)
}

// An upstream that sends its replies in pieces, each after the last one was
// acknowledged, isn't made to wait for that.
func TestPiecesAreAcknowledgedAtOnce(t *testing.T) {
	const messages = 25
	ca := upstreamtest.NewAuthority(t)
	for _, mode := range []config.UpstreamTLS{config.TLSOff, config.TLSVerify} {
		t.Run(string(mode), func(t *testing.T) {
			sink := &upstreamtest.Sink{Pieces: true, Extensions: []string{"PIPELINING"}}
			up := &config.Upstream{TLS: mode, Account: config.Account{Name: "pieces", Auth: "none"}}
			if mode != config.TLSOff {
				sink.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1")}}
				up.CAFile = ca.File(t, t.TempDir())
			}
			up.Host, up.Port = sink.Start(t)
			undelayed(t, messages, func() {
				feed := newBenchFeed(messages, 1<<10, 1)
				if err := new(upstream.Dialer).Deliver(t.Context(), up, feed); err != nil {
					t.Fatal(err)
				}
				if feed.delivered != messages {
					t.Fatalf("%d of %d delivered", feed.delivered, messages)
				}
			})
		})
	}
}

// What Postfix says after the tickets of TLS 1.3 waits for their
// acknowledgement, and for tickets a session has no eyes.
func TestPostfixTicketsAreAcknowledgedAtOnce(t *testing.T) {
	const sessions = 10
	p := upstreamtest.StartPostfix(t)
	for _, mode := range []config.UpstreamTLS{config.TLSVerify, config.TLSImplicit} {
		t.Run(string(mode), func(t *testing.T) {
			up := p.Upstream("none")
			if up.TLS = mode; mode == config.TLSImplicit {
				up.Port = p.Implicit
			}
			undelayed(t, sessions, func() {
				for range sessions {
					// A new dialer knows no session to go on with.
					if err := new(upstream.Dialer).Deliver(t.Context(), up, newBenchFeed(0, 0, 1)); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}
