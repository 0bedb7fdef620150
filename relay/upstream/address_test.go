package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// host is a name with several addresses, each behind a script of its own.
type host struct {
	t       *testing.T
	bench   *bench
	order   []string
	scripts map[string]upstreamtest.Script // by address; nil: it refuses connections
	mute    map[string]bool                // addresses that don't answer at all
	mu      sync.Mutex
	dialed  []string
	dialer  *upstream.Dialer
	rec     *recorder
}

func newHost(t *testing.T, b *bench, order ...string) *host {
	h := &host{t: t, bench: b, order: order, scripts: map[string]upstreamtest.Script{}, mute: map[string]bool{}, rec: &recorder{}}
	h.dialer = &upstream.Dialer{Hostname: func() string { return "relay.example" }, Events: h.rec.tell,
		LookUp: func(context.Context, string) (found []netip.Addr, err error) {
			for _, a := range h.order {
				found = append(found, netip.MustParseAddr(a))
			}
			return found, nil
		},
		Dial: h.dial,
	}
	return h
}

func (h *host) dial(ctx context.Context, _, address string) (net.Conn, error) {
	name, _, _ := net.SplitHostPort(address)
	h.mu.Lock() // attempts race
	h.dialed = append(h.dialed, name)
	h.mu.Unlock()
	if h.mute[name] {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	script := h.scripts[name]
	if script == nil {
		return nil, errors.New("connection refused")
	}
	client, server := upstreamtest.Pipe()
	go script.Play(server, h.bench.certs)
	return client, nil
}

// deliver sends a message, and returns the fault and how long it took.
func (h *host) deliver(up *config.Upstream) (*spool.Fault, time.Duration) {
	h.t.Helper()
	h.dialed = nil
	feed := upstreamtest.NewFeed()
	feed.Add(&spool.Envelope{From: "from@a.example", Recipients: []spool.Recipient{{Address: "to@b.example"}}}, []byte("Subject: test\r\n\r\nHello\r\n"))
	began := time.Now()
	err := h.dialer.Deliver(h.t.Context(), up, feed)
	took := time.Since(began)
	var fault *spool.Fault
	errors.As(err, &fault)
	if err == nil && (len(feed.Settled()) != 1 || feed.Settled()[0].Outcomes[0].Code != 250) {
		h.t.Errorf("not delivered: %+v", feed.Settled())
	}
	return fault, took
}

var (
	goodClear = upstreamtest.Script{"* hello PIPELINING", "* accept", "* quit"}
	goodTLS   = upstreamtest.Script{"* hello STARTTLS", "C: STARTTLS", "S: 220 go", "* tls good",
		"C: EHLO relay.example", "S: 250-mx.example", "S: 250 PIPELINING", "* accept", "* quit"}
)

// Whatever is wrong with the first address of a host, the second one gets the
// mail, after seconds at most; and the next session begins there.
func TestEveryAddressOfAHost(t *testing.T) {
	b := newBench(t)
	startTLS := func(lines ...string) upstreamtest.Script {
		return append(upstreamtest.Script{"* hello STARTTLS", "C: STARTTLS"}, lines...)
	}
	for name, c := range map[string]struct {
		first  upstreamtest.Script
		mute   bool
		tls    config.UpstreamTLS
		within time.Duration
	}{
		"refuses connections":                  {within: 0},
		"is silent to SYN":                     {mute: true, within: 300 * time.Millisecond},
		"421 in place of a greeting":           {first: upstreamtest.Script{"S: 421 4.3.2 not now", "* ignore"}},
		"554 in place of a greeting":           {first: upstreamtest.Script{"S: 554 5.7.1 not you", "* ignore"}},
		"closes":                               {first: upstreamtest.Script{"* close"}},
		"resets":                               {first: upstreamtest.Script{"* reset"}},
		"says nothing":                         {first: upstreamtest.Script{"* ignore"}, within: 6 * time.Second},
		"speaks HTTP":                          {first: upstreamtest.Script{"S: HTTP/1.1 400 Bad Request", "* ignore"}},
		"refuses EHLO and HELO":                {first: upstreamtest.Script{"S: 220 hi", "C: EHLO relay.example", "S: 550 no", "C: HELO relay.example", "S: 550 no", "* ignore"}},
		"says nothing to EHLO":                 {first: upstreamtest.Script{"S: 220 hi", "C: EHLO relay.example", "* ignore"}, within: 6 * time.Second},
		"offers no STARTTLS":                   {tls: config.TLSVerify, first: upstreamtest.Script{"* hello PIPELINING", "* quit"}},
		"refuses STARTTLS":                     {tls: config.TLSVerify, first: startTLS("S: 454 4.7.0 no", "* ignore")},
		"fails the handshake":                  {tls: config.TLSVerify, first: startTLS("S: 220 go", "S: nonsense instead of TLS", "* ignore")},
		"stalls in the handshake":              {tls: config.TLSVerify, first: startTLS("S: 220 go", "* ignore"), within: 6 * time.Second},
		"shows a certificate of another":       {tls: config.TLSVerify, first: startTLS("S: 220 go", "* tls wrongname", "* ignore")},
		"shows a certificate that has expired": {tls: config.TLSVerify, first: startTLS("S: 220 go", "* tls expired", "* ignore")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, b, "192.0.2.1", "192.0.2.2")
				h.scripts["192.0.2.1"], h.mute["192.0.2.1"] = c.first, c.mute
				up := &config.Upstream{Account: config.Account{Name: "test"}, Host: "mx.example", Port: 25, TLS: config.TLSOff, CAFile: b.ca}
				h.scripts["192.0.2.2"] = goodClear
				if c.tls != "" {
					up.TLS = c.tls
					h.scripts["192.0.2.2"] = goodTLS
				}
				if fault, took := h.deliver(up); fault != nil || took > c.within {
					t.Errorf("after %s: %v", took, fault)
				}
				if n := len(h.rec.addresses); n != 1 || h.rec.addresses[0].Remote != "192.0.2.1:25" {
					t.Errorf("told of %+v", h.rec.addresses)
				}
				told := len(h.rec.addresses)
				fault, took := h.deliver(up)
				if fault != nil || took > 0 || h.dialed[0] != "192.0.2.2" {
					t.Errorf("the next session, after %s by %v: %v", took, h.dialed, fault)
				}
				if len(h.rec.addresses) != told {
					t.Error("told twice")
				}
				synctest.Wait()
			})
		})
	}
}

// When all have failed, the fault says what each one said.
func TestNoAddressOfAHost(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, b, "192.0.2.1", "2001:db8::2", "192.0.2.3")
		h.scripts["192.0.2.1"] = upstreamtest.Script{"S: 421 4.3.2 overloaded", "* ignore"}
		h.scripts["192.0.2.3"] = upstreamtest.Script{"S: 554 5.7.1 blocked using bl.example", "* ignore"}
		up := &config.Upstream{Account: config.Account{Name: "test"}, Host: "mx.example", Port: 25, TLS: config.TLSOff}
		fault, _ := h.deliver(up)
		if fault == nil {
			t.Fatal("delivered")
		}
		said := fault.Error() + " " + fault.Outcome.Cause
		for _, want := range []string{"overloaded", "blocked using bl.example", "[2001:db8::2]:25: could not connect: connection refused"} {
			if !strings.Contains(said, want) {
				t.Errorf("%q is missing in %q", want, said)
			}
		}
		synctest.Wait()
	})
}

// A host whose IPv6 is dead costs a quarter of a second, and families take
// turns.
func TestDeadFamilyCostsAQuarterOfASecond(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, b, "2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1")
		for _, a := range h.order[:3] {
			h.mute[a] = true
		}
		h.scripts["192.0.2.1"] = goodClear
		up := &config.Upstream{Account: config.Account{Name: "test"}, Host: "mx.example", Port: 25, TLS: config.TLSOff}
		if fault, took := h.deliver(up); fault != nil || took != 250*time.Millisecond {
			t.Errorf("after %s: %v", took, fault)
		}
		synctest.Wait()
	})
}

// What is wrong on this side is told once, and no address is blamed for it.
func TestAddressesAreNotBlamedForOurs(t *testing.T) {
	b := newBench(t)
	for name, c := range map[string]struct {
		cause string
		setUp func(h *host, up *config.Upstream)
		dials int
	}{
		"a CA file that is not there": {"no-such-file", func(_ *host, up *config.Upstream) { up.CAFile = "no-such-file" }, 1},
		"no descriptors left": {"too many open files", func(h *host, _ *config.Upstream) {
			h.dialer.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, syscall.EMFILE }
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, b, "192.0.2.1", "192.0.2.2")
				for _, a := range h.order {
					h.scripts[a] = upstreamtest.Script{"* hello STARTTLS", "C: STARTTLS", "S: 220 go", "* ignore"}
				}
				up := &config.Upstream{Account: config.Account{Name: "test"}, Host: "mx.example", Port: 25, TLS: config.TLSVerify, CAFile: b.ca}
				c.setUp(h, up)
				fault, _ := h.deliver(up)
				if fault == nil || strings.Count(fault.Outcome.Cause, c.cause) != 1 {
					t.Errorf("the fault is %v", fault)
				}
				if len(h.dialed) != c.dials || len(h.rec.addresses) != 0 {
					t.Errorf("dialed %v, told of %+v", h.dialed, h.rec.addresses)
				}
				synctest.Wait()
			})
		})
	}
}

// However many addresses take connections and say nothing, no other one is
// tried after connect_timeout; the next session begins with those.
func TestAddressesTogetherHaveALimit(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, b)
		for n := range 20 {
			a := fmt.Sprintf("192.0.2.%d", n+1)
			h.order = append(h.order, a)
			h.scripts[a] = upstreamtest.Script{"* ignore"}
		}
		h.scripts["192.0.2.5"] = goodClear
		up := &config.Upstream{Account: config.Account{Name: "test"}, Host: "mx.example", Port: 25, TLS: config.TLSOff, ConnectTimeout: 12 * time.Second}
		if fault, took := h.deliver(up); fault == nil || took != 15*time.Second || len(h.dialed) != 3 {
			t.Errorf("after %s by %v: %v", took, h.dialed, fault)
		}
		if fault, took := h.deliver(up); fault != nil || took != 5*time.Second || h.dialed[0] != "192.0.2.4" {
			t.Errorf("the next session, after %s by %v: %v", took, h.dialed, fault)
		}
		synctest.Wait()
	})
}

// A thousand addresses that failed don't make the last ones forgotten.
func TestOldestFailureIsForgotten(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, b)
		h.scripts["192.0.2.2"] = goodClear
		up := &config.Upstream{Account: config.Account{Name: "test"}, Host: "mx.example", Port: 25, TLS: config.TLSOff}
		for n := range 1000 {
			h.order = []string{fmt.Sprintf("10.0.%d.%d", n/256, n%256), "192.0.2.2"}
			if fault, _ := h.deliver(up); fault != nil {
				t.Fatal(fault)
			}
			time.Sleep(time.Millisecond)
		}
		h.order = []string{"10.1.0.0", "192.0.2.2"}
		_, _ = h.deliver(up)
		for _, c := range [][2]string{{"10.0.0.1", "192.0.2.2"}, {"10.1.0.0", "192.0.2.2"}, {"10.0.0.0", "10.0.0.0"}} {
			h.order = []string{c[0], "192.0.2.2"}
			if fault, _ := h.deliver(up); fault != nil || h.dialed[0] != c[1] {
				t.Errorf("%s: dialed %v: %v", c[0], h.dialed, fault)
			}
		}
		synctest.Wait()
	})
}

// An address that works where it is the only one is well again.
func TestLoneAddressHeals(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, b, "192.0.2.1", "192.0.2.2")
		h.scripts["192.0.2.2"] = goodClear
		up := &config.Upstream{Account: config.Account{Name: "test"}, Host: "mx.example", Port: 25, TLS: config.TLSOff}
		_, _ = h.deliver(up)
		h.scripts["192.0.2.1"] = goodClear
		h.order = h.order[:1]
		_, _ = h.deliver(up)
		h.order = h.order[:2]
		if fault, _ := h.deliver(up); fault != nil || h.dialed[0] != "192.0.2.1" {
			t.Errorf("dialed %v: %v", h.dialed, fault)
		}
		synctest.Wait()
	})
}

// A second address is no way around what is remembered of TLS, nor is a
// rejected sign-in tried at each.
func TestAddressesDoNotWeaken(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, b, "192.0.2.1", "192.0.2.2")
		for _, a := range h.order {
			h.scripts[a] = upstreamtest.Script{"* hello PIPELINING|AUTH PLAIN", "C? AUTH PLAIN", "S: 535 5.7.8 no", "* quit"}
		}
		up := &config.Upstream{Host: "mx.example", Port: 25, TLS: config.TLSOff,
			Account: config.Account{Name: "test", Auth: "plain", Username: "user", Password: config.NewSecret("pencil")}}
		fault, _ := h.deliver(up)
		if fault == nil || fault.Outcome.Code != 535 || len(h.dialed) != 1 {
			t.Errorf("dialed %v: %v", h.dialed, fault)
		}
		synctest.Wait()
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, b, "192.0.2.1", "192.0.2.2")
		h.scripts["192.0.2.1"] = upstreamtest.Script{"* hello STARTTLS", "C: STARTTLS", "S: 454 4.7.0 no", "* ignore"}
		h.scripts["192.0.2.2"] = upstreamtest.Script{"* hello PIPELINING", "* quit"}
		up := &config.Upstream{Account: config.Account{Name: "test"}, Host: "mx.example", Port: 25, TLS: config.TLSEncrypt}
		if fault, _ := h.deliver(up); fault == nil || fault.Outcome.Stage != spool.StageTLS {
			t.Errorf("went on in clear: %v", fault)
		}
		synctest.Wait()
	})
}

// The place of a session is free before the answer to QUIT comes, for which the
// session itself waits.
func TestPlaceIsFreeBeforeTheAnswerToQUIT(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, b, "192.0.2.1")
		h.scripts["192.0.2.1"] = upstreamtest.Script{"* hello PIPELINING", "* accept", "C: QUIT", "* sleep 3s", "S: 221 bye", "* eof"}
		feed := upstreamtest.NewFeed()
		feed.Add(envelopeTo("to@b.example"), []byte("Subject: test\r\n\r\nHello\r\n"))
		left := time.Duration(-1)
		began := time.Now()
		feed.OnLeave = func() { left = time.Since(began) }
		err := h.dialer.Deliver(t.Context(), &config.Upstream{Account: config.Account{Name: "test"}, Host: "mx.example", Port: 25, TLS: config.TLSOff}, feed)
		if took := time.Since(began); err != nil || left != 0 || took != 3*time.Second {
			t.Errorf("left after %s, ended after %s: %v", left, took, err)
		}
		for _, breach := range feed.Breaches() {
			t.Error(breach)
		}
		synctest.Wait()
	})
}
