package upstream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// hostile is an upstream that does as it likes with each connection.
func hostile(t *testing.T, do func(net.Conn)) *config.Upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				do(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	up := config.DefaultUpstream("office")
	up.Host, up.Port, up.TLS, up.Auth = "127.0.0.1", l.Addr().(*net.TCPAddr).Port, config.TLSOff, "none"
	up.ConnectTimeout, up.CommandTimeout, up.DataTimeout = 200*time.Millisecond, 200*time.Millisecond, 200*time.Millisecond
	return up
}

// fails delivers one message, which has to fail within the time, and without
// much memory.
func fails(t *testing.T, d *upstream.Dialer, up *config.Upstream, limit time.Duration) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	feed := upstreamtest.NewFeed()
	feed.Add(envelopeTo("to@b.example"), []byte("Subject: x\r\n\r\nx\r\n"))
	err := d.Deliver(t.Context(), up, feed)
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	var fault *spool.Fault
	if !errors.As(err, &fault) {
		t.Errorf("%v", err)
	}
	if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; took > limit || mib > 32 {
		t.Errorf("it took %s and %d MiB", took, mib)
	}
}

// An upstream that answers a byte at a time, or in lines without end, gets the
// time of one command for one reply, whichever.
func TestDrippedReplies(t *testing.T) {
	steps := []string{"", "EHLO", "MAIL", "RCPT", "DATA", "."}
	for at, name := range steps {
		for how, drip := range map[string]string{"a byte at a time": "2", "lines without end": "250-x\r\n", "empty lines": "\r\n"} {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				up := hostile(t, func(c net.Conn) {
					in := make([]byte, 4096)
					for i := range steps {
						if i > 0 {
							if _, err := c.Read(in); err != nil {
								return
							}
						}
						if i == at {
							break
						}
						reply := "250 ok\r\n"
						if steps[i] == "" {
							reply = "220 mx.example\r\n"
						} else if steps[i] == "DATA" {
							reply = "354 go on\r\n"
						}
						if _, err := io.WriteString(c, reply); err != nil {
							return
						}
					}
					for {
						if _, err := io.WriteString(c, drip); err != nil {
							return
						}
						time.Sleep(20 * time.Millisecond)
					}
				})
				fails(t, &upstream.Dialer{}, up, 5*time.Second)
			})
		}
	}
}

// A chain of 100 certificates, or of more than a MiB, ends the session.
func TestHugeChains(t *testing.T) {
	leaf := upstreamtest.Forge(t, nil, nil, nil)
	for name, cert := range map[string]tls.Certificate{
		"100 certificates": func() tls.Certificate {
			c := leaf.TLS()
			for i := range 100 {
				c.Certificate = append(c.Certificate, upstreamtest.Forge(t, nil, nil, upstreamtest.AsAuthority(fmt.Sprint(i))).DER)
			}
			return c
		}(),
		"more than a MiB": func() tls.Certificate {
			c := leaf.TLS()
			for size := 0; size < 1<<20; size += len(leaf.DER) {
				c.Certificate = append(c.Certificate, leaf.DER)
			}
			return c
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			up := hostile(t, func(c net.Conn) { tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake() })
			up.TLS, up.ServerName, up.ConnectTimeout = config.TLSImplicit, "mx.example", 20*time.Second
			fails(t, &upstream.Dialer{}, up, 10*time.Second)
		})
	}
}

// Records without end in place of a handshake.
func TestEndlessRecords(t *testing.T) {
	for name, record := range map[string]string{
		"of nothing":             "\x16\x03\x03\x00\x00",
		"that change the cipher": "\x14\x03\x03\x00\x01\x01",
		"of warnings":            "\x15\x03\x03\x00\x02\x01\x5a",
		"of a byte":              "\x16\x03\x03\x00\x01\x02",
		"of a long message":      "\x16\x03\x03\x40\x00\x02\x00\xff\xff" + strings.Repeat("x", 16<<10-4),
	} {
		for _, pause := range []time.Duration{0, 10 * time.Millisecond} {
			t.Run(fmt.Sprint(name, " ", pause), func(t *testing.T) {
				t.Parallel()
				up := hostile(t, func(c net.Conn) {
					c.Read(make([]byte, 4096))
					for {
						if _, err := io.WriteString(c, record); err != nil {
							return
						}
						time.Sleep(pause)
					}
				})
				up.TLS = config.TLSImplicit
				fails(t, &upstream.Dialer{}, up, 5*time.Second)
			})
		}
	}
}

// A name server that answers with anything whatever.
func TestHostileNameServer(t *testing.T) {
	for name, answer := range map[string]func(m *dnsmessage.Message, add func(dnsmessage.Resource)){
		"1,000 addresses": func(m *dnsmessage.Message, add func(dnsmessage.Resource)) {
			for i := range 1000 {
				add(dnsmessage.Resource{Header: header(m.Questions[0].Name, dnsmessage.TypeA),
					Body: &dnsmessage.AResource{A: [4]byte{127, 1, byte(i >> 8), byte(i)}}})
			}
		},
		"a chain of names": func(m *dnsmessage.Message, add func(dnsmessage.Resource)) {
			for i := range 500 {
				add(dnsmessage.Resource{Header: header(dnsmessage.MustNewName(fmt.Sprintf("n%d.example.", i)), dnsmessage.TypeCNAME),
					Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(fmt.Sprintf("n%d.example.", (i+1)%500))}})
			}
		},
		"50 KiB of text": func(m *dnsmessage.Message, add func(dnsmessage.Resource)) {
			for range 200 {
				add(dnsmessage.Resource{Header: header(m.Questions[0].Name, dnsmessage.TypeTXT),
					Body: &dnsmessage.TXTResource{TXT: []string{strings.Repeat("x", 250)}}})
			}
		},
		"nothing, ever": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resolver := streamServer(t, answer)
			var dialed atomic.Int32
			d := &upstream.Dialer{
				LookUp: func(ctx context.Context, host string) ([]netip.Addr, error) {
					return resolver.LookupNetIP(ctx, "ip", host)
				},
				Dial: func(context.Context, string, string) (net.Conn, error) {
					dialed.Add(1)
					return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
				},
			}
			up := hostile(t, func(net.Conn) {})
			up.Host = "n0.example."
			fails(t, d, up, 5*time.Second)
			if n := dialed.Swap(0); n > 8 {
				t.Errorf("%d addresses are tried", n)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if r := d.Examine(ctx, up, nil); len(r.Addresses) > 8 || dialed.Load() > 20 {
				t.Errorf("an examination tells of %d addresses and tries %d", len(r.Addresses), dialed.Load())
			}
		})
	}
}

// 10,000 addresses, as a resolver of the system may give: a few are tried.
func TestManyAddresses(t *testing.T) {
	var all []netip.Addr
	for i := range 10_000 {
		all = append(all, netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}))
	}
	var dialed atomic.Int32
	d := &upstream.Dialer{
		LookUp: func(context.Context, string) ([]netip.Addr, error) { return all, nil },
		Dial: func(context.Context, string, string) (net.Conn, error) {
			dialed.Add(1)
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		},
	}
	up := hostile(t, func(net.Conn) {})
	up.Host = "n0.example."
	for range 3 { // those that failed are tried last
		fails(t, d, up, 5*time.Second)
		if n := dialed.Swap(0); n > 8 {
			t.Errorf("%d addresses are tried", n)
		}
	}
}

func header(name dnsmessage.Name, kind dnsmessage.Type) dnsmessage.ResourceHeader {
	return dnsmessage.ResourceHeader{Name: name, Type: kind, Class: dnsmessage.ClassINET, TTL: 60}
}

// streamServer is a name server that is asked over TCP, for long answers; nil:
// it never answers.
func streamServer(t *testing.T, answer func(*dnsmessage.Message, func(dnsmessage.Resource))) *net.Resolver {
	t.Helper()
	server := hostile(t, func(c net.Conn) {
		for {
			question := make([]byte, 2)
			if _, err := io.ReadFull(c, question); err != nil {
				return
			}
			question = make([]byte, int(question[0])<<8|int(question[1]))
			var m dnsmessage.Message
			if _, err := io.ReadFull(c, question); err != nil || m.Unpack(question) != nil {
				return
			}
			if answer == nil {
				continue
			}
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			answer(&m, func(r dnsmessage.Resource) { m.Answers = append(m.Answers, r) })
			packed, err := m.Pack()
			if err != nil {
				t.Error(err)
				return
			}
			c.Write(append([]byte{byte(len(packed) >> 8), byte(len(packed))}, packed...))
		}
	})
	address := fmt.Sprintf("127.0.0.1:%d", server.Port)
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}}
}
