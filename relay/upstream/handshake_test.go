package upstream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// shortConn closes itself when so many bytes were written.
type shortConn struct {
	*upstreamtest.ServerEnd
	left, wrote int
}

func (c *shortConn) Write(b []byte) (int, error) {
	if cut := len(b) >= c.left; cut {
		n, _ := c.ServerEnd.Write(b[:c.left])
		c.wrote += n
		_ = c.ServerEnd.Close()
		return n, net.ErrClosed
	}
	n, err := c.ServerEnd.Write(b)
	c.wrote += n
	c.left -= n
	return n, err
}

// A handshake that ends after any byte, of the upstream's or of ours, is a
// fault of TLS. No message is touched, and nothing goes on in clear, whatever
// the mode.
func TestHandshakeClosedAtEveryStep(t *testing.T) {
	b := newBench(t)
	const never = 1 << 20
	for mode, step := range map[config.UpstreamTLS]int{config.TLSImplicit: 7, config.TLSVerify: 23, config.TLSOpportunistic: 29} {
		t.Run(string(mode), func(t *testing.T) {
			sent, received, err := shake(t, b, mode, never, never)
			if err == nil || sent < 500 || received < 200 {
				t.Fatalf("uncut: %d bytes sent, %d received, %v", sent, received, err)
			}
			var fault *spool.Fault
			for cut := 0; cut < sent; cut += step {
				if _, _, err := shake(t, b, mode, cut, never); !errors.As(err, &fault) || fault.Outcome.Stage != spool.StageTLS && fault.Outcome.Stage != spool.StageGreet {
					t.Errorf("after %d of %d bytes sent: %v", cut, sent, err)
				}
			}
			for cut := 1; cut < received; cut += step {
				if _, _, err := shake(t, b, mode, never, cut); !errors.As(err, &fault) || fault.Outcome.Stage != spool.StageTLS && fault.Outcome.Stage != spool.StageGreet {
					t.Errorf("after %d of %d bytes received: %v", cut, received, err)
				}
			}
		})
	}
}

// shake carries out a handshake with an upstream that then closes, or earlier:
// when so many bytes of the handshake were sent or received.
func shake(t *testing.T, b *bench, mode config.UpstreamTLS, sent, received int) (sentAll, receivedAll int, err error) {
	synctest.Test(t, func(t *testing.T) {
		client, server := upstreamtest.Pipe()
		const hello, starttls = "EHLO relay.example\r\n", "STARTTLS\r\n"
		before := 0
		if mode != config.TLSImplicit {
			before = len(hello + starttls)
		}
		server.CloseAfter(before + received)
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer server.Close()
			if mode != config.TLSImplicit {
				fmt.Fprint(server, "220 mx\r\n")
				expect(t, server, hello)
				fmt.Fprint(server, "250-mx\r\n250 STARTTLS\r\n")
				expect(t, server, starttls)
				fmt.Fprint(server, "220 go\r\n")
			}
			conn := &shortConn{ServerEnd: server, left: sent}
			secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{b.certs["good"]}})
			shaken := secure.Handshake()
			sentAll, receivedAll = conn.wrote, server.Received()-before
			_ = server.Close()
			if shaken != nil { // whatever is left was sent in clear
				if rest, _ := io.ReadAll(server); strings.Contains(string(rest), "MAIL") || strings.Contains(string(rest), "EHLO") {
					t.Errorf("in clear, after the handshake failed: %q", rest)
				}
			}
		}()
		feed := upstreamtest.NewFeed()
		feed.Add(envelopeTo("to@b.example"), []byte("x\r\n"))
		d := &upstream.Dialer{
			Hostname: func() string { return "relay.example" },
			Dial:     func(context.Context, string, string) (net.Conn, error) { return client, nil },
		}
		err = d.Deliver(t.Context(), &config.Upstream{Host: "mx.example", Port: 25, TLS: mode, Account: config.Account{Name: "test", Auth: "none"}, CAFile: b.ca}, feed)
		<-done
		if len(feed.Settled()) > 0 {
			t.Errorf("a message was touched: %+v", feed.Settled())
		}
	})
	return sentAll, receivedAll, err
}

// expect takes exactly these bytes from c.
func expect(t *testing.T, c net.Conn, want string) {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
}

// A session that is not open yet has nothing to finish: a shutdown ends it at
// once, whatever it waits for.
func TestShutdownWhileOpening(t *testing.T) {
	for name, c := range map[string]struct {
		mode   config.UpstreamTLS
		script string // what the upstream says before it falls silent
	}{
		"banner":    {config.TLSOff, ""},
		"EHLO":      {config.TLSOff, "220 mx\r\n"},
		"handshake": {config.TLSImplicit, ""},
		"AUTH":      {config.TLSOff, "220 mx\r\n250-mx\r\n250 AUTH PLAIN\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := upstreamtest.Pipe()
				defer server.Close()
				var heard sync.WaitGroup
				heard.Go(func() { _, _ = io.Copy(io.Discard, server) })
				heard.Go(func() {
					for line := range strings.Lines(c.script) {
						time.Sleep(time.Millisecond)
						_, _ = io.WriteString(server, line)
					}
				})
				d := &upstream.Dialer{
					Hostname: func() string { return "relay.example" },
					Dial:     func(context.Context, string, string) (net.Conn, error) { return client, nil },
				}
				feed := upstreamtest.NewFeed()
				feed.Add(envelopeTo("to@b.example"), []byte("x\r\n"))
				up := &config.Upstream{Host: "mx.example", Port: 25, TLS: c.mode,
					Account: config.Account{Name: "test", Auth: "plain", Username: "user", Password: config.NewSecret("pencil")}}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				err := d.Deliver(ctx, up, feed)
				if took := time.Since(began); took != time.Second || err == nil {
					t.Errorf("it ended after %v: %v", took, err)
				}
				if len(feed.Settled()) > 0 {
					t.Errorf("a message was touched: %+v", feed.Settled())
				}
				_ = server.Close()
				heard.Wait()
			})
		})
	}
}
