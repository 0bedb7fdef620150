package doctor

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
)

// Where port and TLS are found out, the findings are about the way that was
// taken, and tell of the others.
func TestWays(t *testing.T) {
	dir := t.TempDir()
	ca := upstreamtest.NewAuthority(t)
	file := ca.File(t, dir)
	certs := map[string]tls.Certificate{"good": ca.Issue(t, "mx.example"), "wrongname": ca.Issue(t, "other.example")}
	start := func(cert string) upstreamtest.Script {
		return upstreamtest.Script{"* hello STARTTLS", "C: STARTTLS", "S: 220 go", "* tls " + cert}
	}
	var all strings.Builder
	for _, c := range []struct {
		name   string
		script upstreamtest.Script // of port 587; nil: nobody listens
		srv    error
		exit   int
	}{
		{"465 is closed", append(start("good"), "C: EHLO relay.example", "S: 250-mx.example", "S: 250 PIPELINING", "* quit"), nil, 0},
		{"465 is closed, and 587 has another's certificate", start("wrongname"), nil, unavailable},
		{"both are closed", nil, nil, unavailable},
		{"nobody knows", nil, &net.DNSError{Err: "i/o timeout", Name: "mx.example", IsTimeout: true}, unavailable},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, server := upstreamtest.Pipe()
			var problems []string
			done := make(chan struct{})
			go func() {
				defer close(done)
				if c.script != nil {
					problems = c.script.Play(server, certs)
				}
			}()
			dialer := &upstream.Dialer{
				Hostname: func() string { return "relay.example" },
				LookUp: func(context.Context, string) ([]netip.Addr, error) {
					return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
				},
				LookupSRV: func(context.Context, string, string, string) (string, []*net.SRV, error) {
					if c.srv != nil {
						return "", nil, c.srv
					}
					return "", nil, &net.DNSError{IsNotFound: true}
				},
				Dial: func(_ context.Context, _, address string) (net.Conn, error) {
					if c.script == nil || !strings.HasSuffix(address, ":587") {
						return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
					}
					return here{client}, nil
				},
			}
			up := &config.Upstream{Host: "mx.example", TLS: config.TLSAuto, Account: config.Account{Name: "office", Auth: "none"}, CAFile: file}
			list := Session(up, dialer.Examine(t.Context(), up, nil), 0, time.Now())
			client.Close()
			server.Close()
			<-done
			for _, problem := range problems {
				t.Errorf("%s: %s", c.name, problem)
			}
			if got := Exit(list); got != c.exit {
				t.Errorf("%s: exit code %d, want %d", c.name, got, c.exit)
			}
			all.WriteString("== " + c.name + "\n" + written(list) + "\n")
		})
	}
	golden(t, "ways", all.String())
}
