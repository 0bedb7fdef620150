package upstream_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/relay/memory"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
	"postern/spool/statefile"
)

// A session is resumed in every mode and version, and the certificate of the
// first one counts as it did then.
func TestResumptionInEveryMode(t *testing.T) {
	ca := upstreamtest.NewAuthority(t)
	cert := ca.Issue(t, "127.0.0.1")
	file := ca.File(t, t.TempDir())
	for _, mode := range []config.UpstreamTLS{config.TLSVerify, config.TLSImplicit, config.TLSEncrypt, config.TLSOpportunistic} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(string(mode)+" "+tls.VersionName(version), func(t *testing.T) {
				sink := &upstreamtest.Sink{Implicit: mode == config.TLSImplicit,
					TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: version}}
				up := &config.Upstream{TLS: mode, Account: config.Account{Name: "test", Auth: "none"}, CAFile: file}
				up.Host, up.Port = sink.Start(t)
				d := &upstream.Dialer{Memory: memory.New(&statefile.State{Dir: t.TempDir()})}
				for i, want := range []bool{false, true, true} {
					rec, err := oneMessage(t, d, up)
					if err != nil || len(rec.opened) != 1 {
						t.Fatal(err)
					}
					e := rec.opened[0]
					if e.Resumed != want || e.Verified != (mode != config.TLSEncrypt) || e.TLSVersion != tls.VersionName(version) {
						t.Errorf("connection %d: %+v", i, e)
					}
				}
			})
		}
	}
}

// A resumed session shows no certificate: the one of the session that it
// resumes is judged again, by the clock of now.
func TestResumedSessionsAreJudgedAgain(t *testing.T) {
	ca := upstreamtest.NewAuthority(t)
	dir := t.TempDir()
	file := ca.File(t, dir)
	for _, c := range []struct {
		mode config.UpstreamTLS
		host string
	}{
		{config.TLSImplicit, "mx.example.com"}, // judged by crypto/tls
		{config.TLSAuto, "example.com"},        // by several names
		{config.TLSOpportunistic, "mx.example.com"},
	} {
		t.Run(string(c.mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared := &tls.Config{Certificates: []tls.Certificate{ca.IssueUntil(t, time.Now().Add(2*time.Hour), "mx.example.com")}}
				up := &config.Upstream{Host: c.host, Port: 25, TLS: c.mode, Account: config.Account{Name: "test", Auth: "none"}, CAFile: file}
				if c.mode == config.TLSAuto {
					up.Port = 0
				}
				var serving sync.WaitGroup
				rec := &recorder{}
				d := &upstream.Dialer{Events: rec.tell, Memory: memory.New(&statefile.State{Dir: t.TempDir()}),
					LookupSRV: func(_ context.Context, service, _, _ string) (string, []*net.SRV, error) {
						if service != "submissions" {
							return "", nil, nil
						}
						return "", []*net.SRV{{Target: "mx.example.com.", Port: 465}}, nil
					},
					Dial: func(context.Context, string, string) (net.Conn, error) {
						client, server := upstreamtest.Pipe()
						serving.Go(func() { sayYes(server, shared, c.mode == config.TLSOpportunistic) })
						return client, nil
					}}
				deliver := func() error {
					err := d.Deliver(t.Context(), up, upstreamtest.NewFeed())
					serving.Wait()
					return err
				}
				for range 2 {
					if err := deliver(); err != nil {
						t.Fatal(err)
					}
				}
				if !rec.opened[1].Resumed || !rec.opened[1].Verified {
					t.Fatalf("not resumed: %+v", rec.opened[1])
				}
				time.Sleep(3 * time.Hour)
				var fault *spool.Fault
				if err := deliver(); !errors.As(err, &fault) || fault.Outcome.Stage != spool.StageTLS ||
					!strings.Contains(fault.Outcome.Cause, "expired") {
					t.Errorf("with a certificate that has ended meanwhile: %v", err)
				}
			})
		})
	}
}

// sayYes is an upstream that agrees to everything, under TLS from the first
// byte, or by STARTTLS.
func sayYes(conn net.Conn, conf *tls.Config, start bool) {
	defer conn.Close()
	if !start {
		conn = tls.Server(conn, conf)
	}
	in := bufio.NewReader(conn)
	say := func(text string) { _, _ = conn.Write([]byte(text + "\r\n")) }
	say("220 mx")
	for {
		line, err := in.ReadString('\n')
		switch {
		case err != nil:
			return
		case strings.HasPrefix(line, "EHLO"):
			say("250-mx\r\n250 STARTTLS")
		case strings.HasPrefix(line, "STARTTLS"):
			say("220 go")
			conn = tls.Server(conn, conf)
			in.Reset(conn)
		default:
			say("250 ok")
		}
	}
}

// The least version is what is configured, and 1.2 where nothing is.
func TestMinimumVersion(t *testing.T) {
	ca := upstreamtest.NewAuthority(t)
	cert := ca.Issue(t, "127.0.0.1")
	file := ca.File(t, t.TempDir())
	for _, c := range []struct {
		least  config.TLSVersion
		server uint16
		works  bool
	}{
		{"", tls.VersionTLS13, true}, {"", tls.VersionTLS12, true}, {"", tls.VersionTLS11, false},
		{"1.3", tls.VersionTLS13, true}, {"1.3", tls.VersionTLS12, false},
		{"1.2", tls.VersionTLS12, true}, {"1.2", tls.VersionTLS11, false},
		{"1.1", tls.VersionTLS11, true}, {"1.1", tls.VersionTLS10, false},
		{"1.0", tls.VersionTLS10, true}, {"1.0", tls.VersionTLS13, true},
	} {
		sink := &upstreamtest.Sink{TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: c.server}}
		up := &config.Upstream{TLS: config.TLSVerify, TLSMinVersion: c.least, Account: config.Account{Name: "test", Auth: "none"}, CAFile: file}
		up.Host, up.Port = sink.Start(t)
		rec, err := oneMessage(t, &upstream.Dialer{}, up)
		var fault *spool.Fault
		switch {
		case c.works && (err != nil || rec.opened[0].TLSVersion != tls.VersionName(c.server)):
			t.Errorf("%q with %s: %v", c.least, tls.VersionName(c.server), err)
		case !c.works && (!errors.As(err, &fault) || fault.Outcome.Stage != spool.StageTLS):
			t.Errorf("%q with %s: %v", c.least, tls.VersionName(c.server), err)
		}
	}
}

// replace puts a file in the place of another, as certbot and others do, and
// makes it look as old.
func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path+".new", before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A client certificate is renewed and shown without a reload, and a session
// that began with the old one is not resumed.
func TestRenewedClientCertificate(t *testing.T) {
	ca := upstreamtest.NewAuthority(t)
	dir := t.TempDir()
	var mu sync.Mutex
	var shown []string
	sink := &upstreamtest.Sink{TLS: &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1")},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
		VerifyConnection: func(state tls.ConnectionState) error {
			mu.Lock()
			defer mu.Unlock()
			shown = append(shown, state.PeerCertificates[0].Subject.CommonName)
			return nil
		},
	}}
	up := &config.Upstream{TLS: config.TLSVerify, Account: config.Account{Name: "test", Auth: "none"}, CAFile: ca.File(t, dir)}
	up.Host, up.Port = sink.Start(t)
	up.CertFile, up.KeyFile = upstreamtest.WritePair(t, dir, "client", ca.Issue(t, "old.example"))
	d := &upstream.Dialer{}
	deliver := func(resumed bool) {
		t.Helper()
		if rec, err := oneMessage(t, d, up); err != nil || rec.opened[0].Resumed != resumed {
			t.Errorf("%+v, %v", rec.opened, err)
		}
	}
	deliver(false)
	deliver(true)
	next := filepath.Join(dir, "next")
	if err := os.Mkdir(next, 0o700); err != nil {
		t.Fatal(err)
	}
	cert, key := upstreamtest.WritePair(t, next, "client", ca.Issue(t, "new.example"))
	for size(t, cert) != size(t, up.CertFile) { // the length of a signature varies
		cert, key = upstreamtest.WritePair(t, next, "client", ca.Issue(t, "new.example"))
	}
	for from, to := range map[string]string{cert: up.CertFile, key: up.KeyFile} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		replace(t, to, content)
	}
	deliver(false)
	if got := strings.Join(shown, " "); got != "old.example old.example new.example" {
		t.Errorf("shown: %s", got)
	}
}

// A pin of the next certificate lets the upstream change it at any time.
func TestPinsWhileACertificateIsReplaced(t *testing.T) {
	old, next := upstreamtest.SelfSigned(t, "mx.example"), upstreamtest.SelfSigned(t, "mx.example")
	up := &config.Upstream{TLS: config.TLSVerify, Account: config.Account{Name: "test", Auth: "none"},
		Fingerprints: []string{upstreamtest.Fingerprint(old), upstreamtest.Fingerprint(next)}}
	d := &upstream.Dialer{}
	for _, cert := range []tls.Certificate{old, next} {
		sink := &upstreamtest.Sink{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}
		up.Host, up.Port = sink.Start(t)
		if rec, err := oneMessage(t, d, up); err != nil || !rec.opened[0].Verified {
			t.Error(err)
		}
	}
	up.Fingerprints = up.Fingerprints[:1]
	if _, err := oneMessage(t, d, up); err == nil {
		t.Error("a certificate whose pin was removed is still taken")
	}
}

// A session that began before another one was offered STARTTLS does not go on
// in clear after it.
func TestMemoryIsReadWhenItIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &config.Upstream{Host: "mx.example", Port: 25, TLS: config.TLSOpportunistic, Account: config.Account{Name: "test", Auth: "none"}}
		m := memory.New(&statefile.State{Dir: t.TempDir()})
		var serving sync.WaitGroup
		d := &upstream.Dialer{Memory: m, Dial: func(context.Context, string, string) (net.Conn, error) {
			client, server := upstreamtest.Pipe()
			serving.Go(func() {
				defer server.Close()
				in := bufio.NewReader(server)
				_, _ = server.Write([]byte("220 mx\r\n"))
				_, _ = in.ReadString('\n')
				if err := m.Learn(t.Context(), up.Name, upstream.Target(up), func(f *memory.Facts) { f.Offered = time.Now() }); err != nil {
					t.Error(err)
				}
				_, _ = server.Write([]byte("250 mx\r\n"))
				_, _ = in.ReadString('\n')
			})
			return client, nil
		}}
		err := d.Deliver(t.Context(), up, upstreamtest.NewFeed())
		serving.Wait()
		var fault *spool.Fault
		if !errors.As(err, &fault) || fault.Outcome.Stage != spool.StageTLS {
			t.Errorf("%v", err)
		}
	})
}
