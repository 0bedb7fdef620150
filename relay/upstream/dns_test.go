package upstream_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// nameServer answers questions for SRV records over UDP.
type nameServer struct {
	records map[string][]dnsmessage.SRVResource // by name, "_submissions._tcp.example.com."
	rcode   map[string]dnsmessage.RCode
	exist   bool // names without records exist
	silent  bool
	garbled bool
}

func (n *nameServer) start(t *testing.T) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		buf := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := n.answer(buf[:size]); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	})
	t.Cleanup(func() {
		conn.Close()
		serving.Wait()
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (n *nameServer) answer(question []byte) []byte {
	var m dnsmessage.Message
	if n.silent || m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	name := m.Questions[0].Name
	m.Response, m.RecursionAvailable, m.RCode, m.Additionals = true, true, n.rcode[name.String()], nil
	records := n.records[name.String()]
	if len(records) == 0 && m.RCode == 0 && !n.exist {
		m.RCode = dnsmessage.RCodeNameError
	}
	for i := range records {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeSRV, Class: dnsmessage.ClassINET, TTL: 60},
			Body:   &records[i],
		})
	}
	answer, err := m.Pack()
	if err != nil {
		return nil
	}
	if n.garbled {
		return answer[:len(answer)-3]
	}
	return answer
}

func srv(priority, weight, port uint16, target string) dnsmessage.SRVResource {
	return dnsmessage.SRVResource{Priority: priority, Weight: weight, Port: port, Target: dnsmessage.MustNewName(target)}
}

// What the records of a real name server come to: where is dialed, in order.
func TestServiceRecords(t *testing.T) {
	const first, second = "_submissions._tcp.example.com.", "_submission._tcp.example.com."
	many := []dnsmessage.SRVResource{}
	for i := range 20 {
		many = append(many, srv(uint16(i), 0, 465, "mx.example.com."))
	}
	for name, c := range map[string]struct {
		server nameServer
		want   string
	}{
		"no such names": {nameServer{}, "example.com:465 example.com:587"},
		"names without such records": {nameServer{exist: true},
			"example.com:465 example.com:587"},
		"by priority": {nameServer{records: map[string][]dnsmessage.SRVResource{
			first:  {srv(30, 0, 465, "c.example.com."), srv(10, 0, 4650, "a.example.com."), srv(20, 5, 465, "b.example.com.")},
			second: {srv(2, 0, 587, "e.example.com."), srv(1, 0, 587, "d.example.com.")},
		}}, "a.example.com:4650 b.example.com:465 c.example.com:465 d.example.com:587 e.example.com:587"},
		"not offered": {nameServer{records: map[string][]dnsmessage.SRVResource{
			first: {srv(0, 0, 0, ".")}, second: {srv(0, 0, 0, ".")},
		}}, "resolve"},
		"half offered": {nameServer{records: map[string][]dnsmessage.SRVResource{
			first: {srv(0, 0, 0, ".")}, second: {srv(0, 0, 587, "mx.example.com.")},
		}}, "mx.example.com:587"},
		"more than anybody needs": {nameServer{records: map[string][]dnsmessage.SRVResource{first: many}},
			strings.TrimSpace(strings.Repeat("mx.example.com:465 ", 8))},
		"names that are none": {nameServer{records: map[string][]dnsmessage.SRVResource{
			first: {srv(0, 0, 465, "a\r\nQUIT.example.com."), srv(1, 0, 465, "\x1b[2J.example.com."), srv(2, 0, 465, "mx.example.com.")},
		}}, "mx.example.com:465"},
		"only names that are none": {nameServer{records: map[string][]dnsmessage.SRVResource{
			first: {srv(0, 0, 465, "a\r\nQUIT.example.com.")}, second: {srv(0, 0, 587, "\x1b[2J.example.com.")},
		}}, "resolve"},
		"server failure": {nameServer{rcode: map[string]dnsmessage.RCode{first: dnsmessage.RCodeServerFailure}}, "resolve"},
		"refused":        {nameServer{rcode: map[string]dnsmessage.RCode{second: dnsmessage.RCodeRefused}}, "resolve"},
		"silence":        {nameServer{silent: true}, "resolve"},
		"garbled": {nameServer{garbled: true, records: map[string][]dnsmessage.SRVResource{
			first: {srv(0, 0, 465, "mx.example.com.")},
		}}, "resolve"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resolver := c.server.start(t)
			var dialed []string
			d := &upstream.Dialer{LookupSRV: resolver.LookupSRV, Dial: func(_ context.Context, _, address string) (net.Conn, error) {
				dialed = append(dialed, address)
				return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
			}}
			up := &config.Upstream{Host: "example.com", TLS: config.TLSAuto, Account: config.Account{Name: "office", Auth: "none"}, ConnectTimeout: time.Second}
			err := d.Deliver(t.Context(), up, upstreamtest.NewFeed())
			var fault *spool.Fault
			if !errors.As(err, &fault) {
				t.Fatal(err)
			}
			got := strings.Join(dialed, " ")
			if fault.Outcome.Stage == spool.StageResolve {
				got += stageNames[spool.StageResolve]
			}
			if got != c.want || fault.Outcome.Cause == "" || strings.ContainsAny(fault.Outcome.Cause, "\r\n\x1b") {
				t.Errorf("%q, %+v; want %q", got, fault.Outcome, c.want)
			}
		})
	}
}

// Records of one priority are tried in another order each time, by weight
// (RFC 2782).
func TestServiceRecordsByWeight(t *testing.T) {
	server := nameServer{records: map[string][]dnsmessage.SRVResource{"_submissions._tcp.example.com.": {
		srv(1, 10, 465, "a.example.com."), srv(1, 10, 465, "b.example.com."),
	}}}
	resolver := server.start(t)
	up := &config.Upstream{Host: "example.com", TLS: config.TLSAuto, Account: config.Account{Name: "office", Auth: "none"}}
	var firsts []string
	for len(firsts) < 2 { // one of two, at random: the other one comes, sooner or later
		var dialed []string
		d := &upstream.Dialer{LookupSRV: resolver.LookupSRV, Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			dialed = append(dialed, address)
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}}
		_ = d.Deliver(t.Context(), up, upstreamtest.NewFeed())
		if len(dialed) != 2 {
			t.Fatal(dialed)
		}
		if !slices.Contains(firsts, dialed[0]) {
			firsts = append(firsts, dialed[0])
		}
	}
}
