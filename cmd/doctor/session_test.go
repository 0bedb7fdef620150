package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// written writes findings down, one a line and its remedy below.
func written(list []Finding) string {
	var b strings.Builder
	for i := range list {
		f := &list[i]
		fmt.Fprintf(&b, "%-7s %s %s: %s\n", f.Status, f.ID, f.Subject, f.Text)
		if f.Remedy != "" {
			fmt.Fprintf(&b, "        → %s\n", f.Remedy)
		}
	}
	return b.String()
}

var pins = regexp.MustCompile("sha256:[0-9a-f]{64}")

// golden compares with testdata/NAME.golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n got %s\nwant %s", path, got, want)
	}
}

// dialogue is an upstream that follows a script, and how it is configured.
type dialogue struct {
	name   string
	set    func(*config.Upstream)
	script upstreamtest.Script
	exit   int
}

func signInAs(auth string) func(*config.Upstream) {
	return func(up *config.Upstream) {
		up.Auth, up.Username, up.Password = config.Mechanism(auth), "user", config.NewSecret("pencil")
	}
}

func withTLS(mode config.UpstreamTLS) func(*config.Upstream) {
	return func(up *config.Upstream) { up.TLS = mode }
}

const everything = "PIPELINING|8BITMIME|SIZE 50000|SMTPUTF8|DSN|BINARYMIME|REQUIRETLS|DELIVERBY|MT-PRIORITY"

var dialogues = []dialogue{
	{name: "everything goes", set: func(up *config.Upstream) { up.TLS = config.TLSVerify; signInAs("auto")(up) }, script: upstreamtest.Script{
		"* hello STARTTLS", "C: STARTTLS", "S: 220 go", "* tls good", "C: EHLO relay.example",
		"S: 250-mx.example", "S: 250-PIPELINING", "S: 250-8BITMIME", "S: 250-SIZE 50000", "S: 250 AUTH CRAM-MD5 PLAIN LOGIN XOAUTH2 DIGEST-MD5",
		"C: AUTH CRAM-MD5", "S: 334 PDE+", "C? dXNlci", "S: 235 2.7.0 welcome",
		"C: MAIL FROM:<a@example.com> SIZE=1000", "C: RCPT TO:<a@example.com>", "S: 250 ok", "S: 250 ok", "C: RSET", "S: 250 ok", "* quit",
	}},
	{name: "in clear on this machine", script: upstreamtest.Script{"* hello " + everything, "* mailed", "* quit"}},
	{name: "in clear although it offers STARTTLS", script: upstreamtest.Script{"* hello STARTTLS|" + everything, "* mailed", "* quit"}},
	{name: "a silent server", set: func(up *config.Upstream) { up.CommandTimeout = time.Minute }, script: upstreamtest.Script{"* sleep 2m"}, exit: 69},
	{name: "a server that turns us away", script: upstreamtest.Script{"S: 554 5.7.1 your address is blocked\x1b[2J", "* quit"}, exit: 69},
	{name: "a server that refuses EHLO", script: upstreamtest.Script{"S: 220 mx.example ESMTP", "C: EHLO relay.example", "S: 504 5.5.2 need a real name", "C: HELO relay.example", "S: 504 5.5.2 need a real name", "* quit"}, exit: 69},
	{name: "a firewall that takes SMTP apart", script: upstreamtest.Script{"S: 220 ****************", "C: EHLO relay.example", "S: 500 what?", "C: HELO relay.example", "S: 250 hello",
		"C: MAIL FROM:<a@example.com>", "S: 250 ok", "C: RCPT TO:<a@example.com>", "S: 250 ok", "C: RSET", "S: 250 ok", "* quit"}},
	{name: "no STARTTLS", set: withTLS(config.TLSVerify), script: upstreamtest.Script{"* hello PIPELINING", "* quit"}, exit: 69},
	{name: "expired", set: withTLS(config.TLSVerify), script: upstreamtest.Script{"* hello STARTTLS", "C: STARTTLS", "S: 220 go", "* tls expired"}, exit: 69},
	{name: "ends soon", set: withTLS(config.TLSImplicit), script: upstreamtest.Script{"* tls soon", "* hello " + everything, "* mailed", "* quit"}},
	{name: "wrong name", set: withTLS(config.TLSVerify), script: upstreamtest.Script{"* hello STARTTLS", "C: STARTTLS", "S: 220 go", "* tls wrongname"}, exit: 69},
	{name: "a name in the wrong place", set: withTLS(config.TLSVerify), script: upstreamtest.Script{"* hello STARTTLS", "C: STARTTLS", "S: 220 go", "* tls nameless"}, exit: 69},
	{name: "self-signed, with a negative serial number", set: withTLS(config.TLSImplicit), script: upstreamtest.Script{"* tls negative"}, exit: 69},
	{name: "self-signed", set: withTLS(config.TLSImplicit), script: upstreamtest.Script{"* tls selfsigned"}, exit: 69},
	{name: "another certificate than the pinned one", set: func(up *config.Upstream) {
		up.TLS, up.Fingerprints = config.TLSImplicit, []string{strings.Repeat("ab", 32)}
	},
		script: upstreamtest.Script{"* tls good"}, exit: 69},
	{name: "unchecked, and good", set: withTLS(config.TLSEncrypt), script: upstreamtest.Script{"* hello STARTTLS", "C: STARTTLS", "S: 220 go", "* tls good", "C: EHLO relay.example", "S: 250-mx.example", "S: 250 PIPELINING", "* mailed", "* quit"}},
	{name: "unchecked, and self-signed", set: withTLS(config.TLSOpportunistic), script: upstreamtest.Script{"* hello STARTTLS", "C: STARTTLS", "S: 220 go", "* tls selfsigned", "C: EHLO relay.example", "S: 250-mx.example", "S: 250 PIPELINING", "* mailed", "* quit"}},
	{name: "plain text where TLS is wanted", set: withTLS(config.TLSImplicit), script: upstreamtest.Script{"S: 220 mx.example ESMTP", "* ignore"}, exit: 69},
	{name: "a wrong password", set: signInAs("login"), script: upstreamtest.Script{"* hello AUTH PLAIN LOGIN|" + everything, "C: AUTH LOGIN", "S: 535 5.7.8 Error: authentication failed", "* quit"}, exit: 77},
	{name: "basic authentication is off", set: signInAs("plain"), script: upstreamtest.Script{"* hello AUTH PLAIN|" + everything, "C? AUTH PLAIN ",
		"S: 535 5.7.139 Authentication unsuccessful, basic authentication is disabled.", "* quit"}, exit: 77},
	{name: "no mechanism", set: signInAs("scram-sha-256"), script: upstreamtest.Script{"* hello AUTH PLAIN LOGIN|" + everything, "* quit"}, exit: 77},
	{name: "a sender that is not allowed", script: upstreamtest.Script{"* hello " + everything, "C: MAIL FROM:<a@example.com> SIZE=1000", "C: RCPT TO:<a@example.com>",
		"S: 250 ok", "S: 554 5.2.252 SendAsDenied; user@example.com not allowed to send as a@example.com", "C: RSET", "S: 250 ok", "* quit"}, exit: 77},
	{name: "a recipient that does not exist", script: upstreamtest.Script{"* hello " + everything, "C: MAIL FROM:<a@example.com> SIZE=1000", "C: RCPT TO:<a@example.com>",
		"S: 250 ok", "S: 550 5.1.1 no such user", "C: RSET", "S: 250 ok", "* quit"}},
	{name: "gone in the middle", script: upstreamtest.Script{"* hello " + everything, "C: MAIL FROM:<a@example.com> SIZE=1000", "C: RCPT TO:<a@example.com>", "* close"}, exit: 77},
}

// expand knows one macro more than a script does.
func (d *dialogue) expand() (out upstreamtest.Script) {
	size := ""
	for _, line := range d.script {
		if strings.Contains(line, "SIZE") {
			size = " SIZE=1000"
		}
		if line != "* mailed" {
			out = append(out, line)
			continue
		}
		out = append(out, "C: MAIL FROM:<a@example.com>"+size, "C: RCPT TO:<a@example.com>", "S: 250 ok", "S: 250 ok", "C: RSET", "S: 250 ok")
	}
	return out
}

// Each way in which a session can go wrong is told by the findings, with what
// to do.
func TestSession(t *testing.T) {
	dir := t.TempDir()
	ca := upstreamtest.NewAuthority(t)
	file := ca.File(t, dir)
	certs := map[string]tls.Certificate{
		"good": ca.Issue(t, "mx.example"), "expired": ca.IssueExpired(t, "mx.example"), "wrongname": ca.Issue(t, "other.example"),
		"selfsigned": upstreamtest.SelfSigned(t, "mx.example"), "soon": ca.IssueUntil(t, time.Date(2000, 1, 11, 0, 0, 0, 0, time.UTC), "mx.example"),
		"negative": upstreamtest.Forge(t, nil, nil, nil).WithNegativeSerial(t, nil).TLS(),
		"nameless": upstreamtest.Forge(t, nil, nil, func(c *x509.Certificate) { c.DNSNames = nil }).TLS(),
	}
	var all strings.Builder
	for _, d := range dialogues {
		t.Run(d.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := d.run(t, file, certs)
				fmt.Fprintf(&all, "== %s\n%s\n", d.name, pins.ReplaceAllString(written(list), "sha256:…"))
				if got := Exit(list); got != d.exit {
					t.Errorf("exit code %d, want %d", got, d.exit)
				}
			})
		})
	}
	for _, bad := range []string{"pencil", "\x1b"} {
		if strings.Contains(all.String(), bad) {
			t.Errorf("it says %q", bad)
		}
	}
	golden(t, "session", all.String())
}

func (d *dialogue) run(t *testing.T, ca string, certs map[string]tls.Certificate) []Finding {
	up := &config.Upstream{Host: "mx.example", Port: 587, TLS: config.TLSOff, Account: config.Account{Name: "office", Auth: "none"}, CAFile: ca}
	if d.set != nil {
		d.set(up)
	}
	client, server := upstreamtest.Pipe()
	var problems []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		problems = d.expand().Play(server, certs)
	}()
	dialer := &upstream.Dialer{
		Hostname: func() string { return "relay.example" },
		LookUp: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
		Dial: func(context.Context, string, string) (net.Conn, error) { return here{client}, nil },
	}
	envelopes := []Envelope{{Rehearsal: upstream.Rehearsal{From: "a@example.com", To: "a@example.com"}}}
	var seen []Finding
	var steps []upstream.Step
	r := dialer.ExamineSeen(t.Context(), up, []upstream.Rehearsal{envelopes[0].Rehearsal}, func(r *upstream.Report) {
		seen = append(seen, settled(Session(up, r, 1000, time.Now()), r)...)
		seen = append(seen, Senders(up, envelopes[:len(r.Rehearsed)], 0, r)...)
		if r.Doing != "" && doing[r.Doing] == "" {
			t.Errorf("nobody knows what %q is", r.Doing)
		}
		steps = append(steps, r.Doing)
	})
	<-done
	for _, problem := range problems {
		t.Error(problem)
	}
	list := append(Session(up, r, 1000, time.Now()), Senders(up, envelopes, 0, r)...)
	d.compare(t, seen, steps, list)
	return list
}

// compare has the last word agree with what was seen on the way.
func (d *dialogue) compare(t *testing.T, seen []Finding, steps []upstream.Step, list []Finding) {
	for _, f := range seen {
		if !slices.ContainsFunc(list, func(other Finding) bool {
			return f.ID == other.ID && f.Status == other.Status && f.Text == other.Text && f.Remedy == other.Remedy
		}) {
			t.Errorf("it was seen, and taken back: %+v", f)
		}
	}
	for _, f := range list {
		if f.ID == UpstreamConnect && f.Status == OK && !slices.ContainsFunc(seen, func(other Finding) bool { return other.ID == f.ID }) {
			t.Error("the connection was not seen")
		}
	}
	if len(steps) < 2 || steps[0] != upstream.StepConnect || steps[len(steps)-1] != upstream.StepAddresses {
		t.Errorf("steps: %q", steps)
	}
}

// here is a connection to this machine.
type here struct{ net.Conn }

func (here) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 587} }

func TestSessionWithoutAConnection(t *testing.T) {
	up := &config.Upstream{Host: "mx.example", Port: 25, TLS: config.TLSVerify, Account: config.Account{Name: "office", Auth: "none"}}
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	unknown := &net.DNSError{Err: "no such host", Name: "mx.example", IsNotFound: true}
	unreachable := &net.DNSError{Err: "i/o timeout", Name: "mx.example", IsTimeout: true}
	two := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	var all strings.Builder
	for _, c := range []struct {
		name  string
		found []netip.Addr
		err   error
		dial  func(address string) error
	}{
		{"no such host", nil, unknown, func(string) error { return unknown }},
		{"a resolver that is out of reach", nil, unreachable, func(string) error { return unreachable }},
		{"nobody listens", two, nil, func(string) error { return refused }},
		{"one address is dead", two, nil, func(address string) error {
			if strings.HasPrefix(address, "[2001") || strings.HasPrefix(address, "mx") {
				return refused
			}
			return nil
		}},
	} {
		dialer := &upstream.Dialer{
			LookUp: func(context.Context, string) ([]netip.Addr, error) { return c.found, c.err },
			Dial: func(_ context.Context, _, address string) (net.Conn, error) {
				if err := c.dial(address); err != nil {
					return nil, err
				}
				near, far := net.Pipe()
				far.Close()
				return near, nil
			},
		}
		r := dialer.Examine(t.Context(), up, nil)
		list := Session(up, r, 0, time.Now())
		fmt.Fprintf(&all, "== %s\n%s\n", c.name, written(list))
		if Exit(list) != unavailable {
			t.Errorf("%s: exit code %d", c.name, Exit(list))
		}
	}
	golden(t, "connect", all.String())
}

// TLS 1.3 tells that it wants a client certificate only behind the handshake.
func TestClientCertificateThatIsWanted(t *testing.T) {
	ca := upstreamtest.NewAuthority(t)
	for mode, id := range map[config.UpstreamTLS]ID{config.TLSImplicit: UpstreamBanner, config.TLSVerify: UpstreamEHLO} {
		sink := &upstreamtest.Sink{Implicit: mode == config.TLSImplicit, TLS: &tls.Config{
			Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1")}, ClientAuth: tls.RequireAnyClientCert}}
		up := &config.Upstream{TLS: mode, Account: config.Account{Name: "office", Auth: "none"}, CAFile: ca.File(t, t.TempDir())}
		up.Host, up.Port = sink.Start(t)
		list := Session(up, new(upstream.Dialer).Examine(t.Context(), up, nil), 0, time.Now())
		i := slices.IndexFunc(list, func(f Finding) bool { return f.ID == id && f.Status == Failed })
		if i < 0 || !strings.Contains(list[i].Remedy, "cert_file") {
			t.Errorf("%s:\n%s", mode, written(list))
		}
	}
}
