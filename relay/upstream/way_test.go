package upstream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
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

// domain is a network in which an upstream has to be found: its SRV records,
// and who answers at which port.
type domain struct {
	bench *bench
	srv   map[string]string // service → "host:port host:port", or "fails"
	ports map[string]string // host:port → how it behaves, and its certificate

	mu   sync.Mutex
	seen []string // what was asked and dialed, in order
	open sync.WaitGroup
}

func newDomain(t *testing.T) *domain {
	dir := t.TempDir()
	ca := upstreamtest.NewAuthority(t)
	return &domain{bench: &bench{dir: dir, ca: ca.File(t, dir), certs: map[string]tls.Certificate{
		"example.com":        ca.Issue(t, "example.com"),
		"mx.example.com":     ca.Issue(t, "mx.example.com"),
		"mail.provider.test": ca.Issue(t, "mail.provider.test"),
		"10.0.0.1":           ca.Issue(t, "10.0.0.1"),
		"gateway":            ca.Issue(t, "gateway"),
		"selfsigned":         upstreamtest.SelfSigned(t, "example.com"),
	}}}
}

func (d *domain) saw(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = append(d.seen, what)
}

func (d *domain) lookup(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	d.saw("_" + service + "._" + proto + "." + name)
	records := d.srv[service]
	if records == "" {
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	if records == "fails" {
		return "", nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	}
	var list []*net.SRV
	for target := range strings.FieldsSeq(records) {
		host, port, _ := net.SplitHostPort(target)
		n, _ := net.LookupPort("tcp", port)
		list = append(list, &net.SRV{Target: host, Port: uint16(n)})
	}
	return "", list, nil
}

// dial opens a connection: everything behind it happens by a script.
func (d *domain) dial(ctx context.Context, _, address string) (net.Conn, error) {
	d.saw(address)
	kind, cert, _ := strings.Cut(d.ports[address], " ")
	hello := upstreamtest.Script{"* hello PIPELINING", "* accept", "* quit"}
	var script upstreamtest.Script
	switch kind {
	case "":
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	case "dropped":
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
	case "implicit":
		script = append(upstreamtest.Script{"* tls " + cert}, hello...)
	case "starttls":
		script = upstreamtest.Script{"* hello STARTTLS", "C: STARTTLS", "S: 220 go", "* tls " + cert,
			"C: EHLO relay.example", "S: 250-mx.example", "S: 250 PIPELINING", "* accept", "* quit"}
	case "clear":
		script = upstreamtest.Script{"* hello PIPELINING", "* quit"}
	case "silent":
		script = upstreamtest.Script{"* ignore"}
	}
	client, server := upstreamtest.Pipe()
	d.open.Go(func() { script.Play(server, d.bench.certs) })
	return client, nil
}

// deliver sends a message and tells in a line what happened.
func (d *domain) deliver(t *testing.T, up *config.Upstream, m *memory.Store) string {
	t.Helper()
	d.seen = nil
	feed, rec := upstreamtest.NewFeed(), &recorder{}
	feed.Add(&spool.Envelope{From: "from@a.example", Recipients: []spool.Recipient{{Address: "to@b.example"}}}, []byte("Subject: test\r\n\r\nHello\r\n"))
	dialer := &upstream.Dialer{
		Hostname: func() string { return "relay.example" },
		Events:   rec.tell, Memory: m, Dial: d.dial, LookupSRV: d.lookup,
	}
	began := time.Now()
	err := dialer.Deliver(t.Context(), up, feed)
	took := time.Since(began).Truncate(time.Second)
	d.open.Wait()
	line := strings.Join(d.seen, " ")
	for _, l := range rec.learned {
		line += fmt.Sprintf(" | learned %s %s", l.Way, l.TLS)
	}
	var fault *spool.Fault
	if errors.As(err, &fault) {
		return fmt.Sprintf("%s | %s: %s | %s", line, stageNames[fault.Outcome.Stage], fingerprint.ReplaceAllString(fault.Outcome.Cause, "sha256:…"), took)
	}
	if err != nil || len(rec.opened) != 1 || !rec.opened[0].Verified || feed.Settled()[0].Outcomes[0].Code != 250 {
		t.Errorf("%v, %+v", err, rec.opened)
	}
	return fmt.Sprintf("%s | ok | %s", line, took)
}

const asked = "_submissions._tcp.example.com. _submission._tcp.example.com. "

// Where only the host is given, DNS says where to go, or the usual ports are
// tried, and never without a checked certificate.
func TestFindingTheWay(t *testing.T) {
	const (
		invalid = `its certificate is self-signed, and not in ca_file. If it is the right one, set fingerprint = "sha256:…" in place of ca_file, or add it to the file that ca_file names`
		other   = `its certificate is for mail.provider.test, not for example.com. Correct host, or, if this is the right server, set server_name = "mail.provider.test"`
		cannot  = "lookup example.com.: server misbehaving"
		none    = `its DNS says that it takes no submissions (SRV records with the target ".")`
	)
	base := newDomain(t)
	for name, c := range map[string]struct {
		set   func(*config.Upstream)
		srv   map[string]string
		ports map[string]string
		want  []string // of one delivery after the other, two hours apart
	}{
		"465 first, and straight from then on": {
			ports: map[string]string{"example.com:465": "implicit example.com", "example.com:587": "starttls example.com"},
			want: []string{
				asked + "example.com:465 | learned example.com:465 implicit | ok | 0s",
				"example.com:465 | ok | 0s",
			},
		},
		"587 where 465 is closed": {
			ports: map[string]string{"example.com:587": "starttls example.com"},
			want: []string{
				asked + "example.com:465 example.com:587 | learned example.com:587 starttls | ok | 0s",
				"example.com:587 | ok | 0s",
			},
		},
		"587 where 465 is dropped, which costs five seconds once": {
			ports: map[string]string{"example.com:465": "dropped", "example.com:587": "starttls example.com"},
			want: []string{
				asked + "example.com:465 example.com:587 | learned example.com:587 starttls | ok | 5s",
				"example.com:587 | ok | 0s",
			},
		},
		"587 where 465 takes connections and says nothing": {
			ports: map[string]string{"example.com:465": "silent", "example.com:587": "starttls example.com"},
			want:  []string{asked + "example.com:465 example.com:587 | learned example.com:587 starttls | ok | 5s"},
		},
		"587 where 465 is clear text": {
			ports: map[string]string{"example.com:465": "clear", "example.com:587": "starttls example.com"},
			want:  []string{asked + "example.com:465 example.com:587 | learned example.com:587 starttls | ok | 0s"},
		},
		"587 where the certificate at 465 is nobody's": {
			ports: map[string]string{"example.com:465": "implicit selfsigned", "example.com:587": "starttls example.com"},
			want:  []string{asked + "example.com:465 example.com:587 | learned example.com:587 starttls | ok | 0s"},
		},
		"never in clear": {
			ports: map[string]string{"example.com:587": "clear"},
			want: []string{asked + `example.com:465 example.com:587 | tls: the upstream offers no STARTTLS, which tls = "auto" requires; ` +
				"at example.com:465: could not connect: connection refused | 0s"},
		},
		"never with a certificate of nobody": {
			ports: map[string]string{"example.com:465": "implicit selfsigned", "example.com:587": "starttls selfsigned"},
			want: []string{asked + "example.com:465 example.com:587 | tls: " + invalid +
				"; at example.com:587: TLS handshake failed: " + invalid + " | 0s"},
		},
		"nobody there": {
			ports: map[string]string{"example.com:465": "dropped", "example.com:587": "dropped"},
			want: []string{asked + "example.com:465 example.com:587 | connect: no answer in time; " +
				"at example.com:587: could not connect: no answer in time | 35s"},
		},
		"a pin": {
			set: func(up *config.Upstream) {
				up.CAFile, up.Fingerprints = "", []string{upstreamtest.Fingerprint(base.bench.certs["selfsigned"])}
			},
			ports: map[string]string{"example.com:465": "implicit selfsigned"},
			want:  []string{asked + "example.com:465 | learned example.com:465 implicit | ok | 0s"},
		},
		"records of both kinds, in their order": {
			srv: map[string]string{"submissions": "down.example.com.:465 mx.example.com.:4650", "submission": "mx.example.com.:5870"},
			ports: map[string]string{"mx.example.com:4650": "implicit mx.example.com", "mx.example.com:5870": "starttls mx.example.com",
				"example.com:465": "implicit example.com"},
			want: []string{
				asked + "down.example.com:465 mx.example.com:4650 | learned mx.example.com:4650 implicit | ok | 0s",
				"mx.example.com:4650 | ok | 0s",
			},
		},
		"records for STARTTLS alone": {
			srv:   map[string]string{"submission": "MX.Example.COM.:5870"},
			ports: map[string]string{"mx.example.com:5870": "starttls mx.example.com", "example.com:465": "implicit example.com"},
			want:  []string{asked + "mx.example.com:5870 | learned mx.example.com:5870 starttls | ok | 0s"},
		},
		"the certificate of the domain at a host of it": {
			srv:   map[string]string{"submissions": "mx.example.com.:465"},
			ports: map[string]string{"mx.example.com:465": "implicit example.com"},
			want:  []string{asked + "mx.example.com:465 | learned mx.example.com:465 implicit | ok | 0s"},
		},
		"nobody's certificate at a host of the domain": {
			srv:   map[string]string{"submissions": "mx.example.com.:465"},
			ports: map[string]string{"mx.example.com:465": "implicit selfsigned"},
			want:  []string{asked + "mx.example.com:465 | tls: " + invalid + " | 0s"},
		},
		"the certificate of the domain elsewhere": {
			srv:   map[string]string{"submissions": "mail.provider.test.:465"},
			ports: map[string]string{"mail.provider.test:465": "implicit example.com"},
			want:  []string{asked + "mail.provider.test:465 | learned mail.provider.test:465 implicit | ok | 0s"},
		},
		// Whoever can forge DNS must not choose whose certificate counts.
		"another's certificate elsewhere": {
			srv:   map[string]string{"submissions": "mail.provider.test.:465"},
			ports: map[string]string{"mail.provider.test:465": "implicit mail.provider.test"},
			want:  []string{asked + "mail.provider.test:465 | tls: " + other + " | 0s"},
		},
		"another's certificate elsewhere, by a name that ends alike": {
			srv:   map[string]string{"submissions": "notexample.com.:465"},
			ports: map[string]string{"notexample.com:465": "implicit mail.provider.test"},
			want:  []string{asked + "notexample.com:465 | tls: " + other + " | 0s"},
		},
		"another's certificate elsewhere, confirmed by server_name": {
			set:   func(up *config.Upstream) { up.ServerName = "mail.provider.test" },
			srv:   map[string]string{"submissions": "mail.provider.test.:465"},
			ports: map[string]string{"mail.provider.test:465": "implicit mail.provider.test"},
			want:  []string{asked + "mail.provider.test:465 | learned mail.provider.test:465 implicit | ok | 0s"},
		},
		"no submissions at all": {
			srv:   map[string]string{"submissions": ".:0", "submission": ".:0"},
			ports: map[string]string{"example.com:465": "implicit example.com"},
			want:  []string{strings.TrimSpace(asked) + " | resolve: " + none + " | 0s"},
		},
		"no TLS from the first byte": {
			srv:   map[string]string{"submissions": ".:0"},
			ports: map[string]string{"example.com:465": "implicit example.com", "example.com:587": "starttls example.com"},
			want:  []string{asked + "example.com:587 | learned example.com:587 starttls | ok | 0s"},
		},
		// Nobody knows then what the domain says.
		"DNS cannot be asked": {
			srv:   map[string]string{"submissions": "fails"},
			ports: map[string]string{"example.com:465": "implicit example.com"},
			want:  []string{"_submissions._tcp.example.com. | resolve: " + cannot + " | 0s"},
		},
		"DNS cannot be asked for the second kind": {
			srv:   map[string]string{"submissions": "mx.example.com.:465", "submission": "fails"},
			ports: map[string]string{"mx.example.com:465": "implicit mx.example.com"},
			want:  []string{strings.TrimSpace(asked) + " | resolve: " + cannot + " | 0s"},
		},
		"an address has no records": {
			set:   func(up *config.Upstream) { up.Host = "10.0.0.1" },
			ports: map[string]string{"10.0.0.1:465": "implicit 10.0.0.1"},
			want:  []string{"10.0.0.1:465 | learned 10.0.0.1:465 implicit | ok | 0s"},
		},
		"a name without a domain has no records": {
			set:   func(up *config.Upstream) { up.Host = "gateway" },
			ports: map[string]string{"gateway:587": "starttls gateway"},
			want:  []string{"gateway:465 gateway:587 | learned gateway:587 starttls | ok | 0s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &domain{bench: base.bench, srv: c.srv, ports: c.ports}
				up := &config.Upstream{Host: "example.com", TLS: config.TLSAuto, Account: config.Account{Name: "office", Auth: "none"}, CAFile: base.bench.ca}
				if c.set != nil {
					c.set(up)
				}
				state := t.TempDir()
				for i, want := range c.want {
					// Each time another process.
					if got := d.deliver(t, up, memory.New(&statefile.State{Dir: state})); got != want {
						t.Errorf("delivery %d\n got %s\nwant %s", i, got, want)
					}
					time.Sleep(2 * time.Hour)
				}
			})
		})
	}
}

// A way that worked is taken until it works no more, and looked for again
// once a day.
func TestTheWayChanges(t *testing.T) {
	base := newDomain(t)
	synctest.Test(t, func(t *testing.T) {
		d := &domain{bench: base.bench, ports: map[string]string{"example.com:587": "starttls example.com"}}
		up := &config.Upstream{Host: "example.com", TLS: config.TLSAuto, Account: config.Account{Name: "office", Auth: "none"}, CAFile: base.bench.ca}
		m := memory.New(&statefile.State{Dir: t.TempDir()})
		expect := func(want string) {
			t.Helper()
			if got := d.deliver(t, up, m); got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		}
		expect(asked + "example.com:465 example.com:587 | learned example.com:587 starttls | ok | 0s")
		// The upstream closes that port. The fault of the known way is said
		// where DNS is of no help either.
		d.ports = map[string]string{"example.com:465": "implicit example.com"}
		d.srv = map[string]string{"submissions": "fails"}
		expect("example.com:587 _submissions._tcp.example.com. | connect: connection refused | 0s")
		d.srv = nil
		expect("example.com:587 " + asked + "example.com:465 | learned example.com:465 implicit | ok | 0s")
		expect("example.com:465 | ok | 0s")
		// After a day it is looked for again.
		time.Sleep(25 * time.Hour)
		d.srv = map[string]string{"submissions": "mx.example.com.:465"}
		d.ports["mx.example.com:465"] = "implicit mx.example.com"
		expect(asked + "mx.example.com:465 | learned mx.example.com:465 implicit | ok | 0s")
		// What worked yesterday is still good while DNS cannot be asked.
		time.Sleep(25 * time.Hour)
		d.srv = map[string]string{"submissions": "fails"}
		expect("_submissions._tcp.example.com. mx.example.com:465 | ok | 0s")
		time.Sleep(25 * time.Hour)
		d.srv = map[string]string{"submissions": "mx.example.com.:465"}
		expect(asked + "mx.example.com:465 | ok | 0s") // nothing new
		// Another host: what was learnt does not count.
		up.Host = "gateway"
		d.ports["gateway:465"] = "implicit gateway"
		expect("gateway:465 | learned gateway:465 implicit | ok | 0s")
		// What is remembered cannot be written: this process remembers it.
		m = memory.New(&statefile.State{Dir: "/dev/null/state"})
		d.srv = nil
		if got := d.deliver(t, up, m); !strings.HasPrefix(got, "gateway:465 |") {
			t.Error(got)
		}
		// A time from the future says nothing.
		m = memory.New(&statefile.State{Dir: t.TempDir()})
		if err := m.Learn(t.Context(), "office", "gateway", func(f *memory.Facts) {
			f.Way = &memory.Way{Host: "gateway", Port: 1, Found: time.Now().Add(time.Hour)}
		}); err != nil {
			t.Fatal(err)
		}
		expect("gateway:465 | learned gateway:465 implicit | ok | 0s")
	})
}
