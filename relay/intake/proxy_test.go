package intake

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/relay/origin"
)

func behindProxy(l *config.Listener) {
	l.Proxies = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("127.0.0.1/32")}
}

// version2 is a header of version 2 with these bytes, in hex, behind its
// signature: version and command, family, length, addresses.
func version2(rest string) string {
	b, err := hex.DecodeString("0d0a0d0a000d0a515549540a" + strings.ReplaceAll(rest, " ", ""))
	if err != nil {
		panic(err)
	}
	return string(b)
}

const (
	v1Client    = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n"
	v1Forbidden = "PROXY TCP4 203.0.113.9 198.51.100.1 4711 25\r\n"
)

// TestProxyNamesItsClient: what a proxy of a named network says in front is who
// the client is, and nobody else can say it.
func TestProxyNamesItsClient(t *testing.T) {
	v2Client := version2("2111 000c c0000207 c6336401 1267 0019")
	long := "2111 0813 c0000207 c6336401 1267 0019" // a byte more than is taken
	for name, c := range map[string]struct {
		from, first string
		want        string // of the reply
		peer        string // in Received
		told        string
	}{
		"version 1":            {"198.51.100.1:5000", v1Client, "250 2.0.0 queued", "[192.0.2.7]", ""},
		"version 1, IPv6":      {"198.51.100.1:5000", "PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\n", "554 5.7.1", "", "refused [2001:db8::7]:4711: address not allowed"},
		"version 2":            {"198.51.100.1:5000", v2Client, "250 2.0.0 queued", "[192.0.2.7]", ""},
		"mapped address":       {"198.51.100.1:5000", version2("2121 0024 00000000000000000000ffffc0000207 00000000000000000000ffffc6336401 1267 0019"), "250 2.0.0 queued", "[192.0.2.7]", ""},
		"with further fields":  {"198.51.100.1:5000", version2("2111 0010 c0000207 c6336401 1267 0019 ea00 0141"), "250 2.0.0 queued", "[192.0.2.7]", ""},
		"who may not":          {"198.51.100.1:5000", v1Forbidden, "554 5.7.1", "", "refused 203.0.113.9:4711: address not allowed"},
		"of this machine":      {"127.0.0.1:5000", "PROXY TCP4 127.0.0.1 127.0.0.1 4711 25\r\n", "250 2.0.0 queued", "[127.0.0.1]", ""},
		"itself, version 1":    {"127.0.0.1:5000", "PROXY UNKNOWN\r\n", "250 2.0.0 queued", "[127.0.0.1]", ""},
		"itself, version 2":    {"127.0.0.1:5000", version2("2000 0000"), "250 2.0.0 queued", "[127.0.0.1]", ""},
		"itself, not allowed":  {"198.51.100.1:5000", version2("2000 0000"), "554 5.7.1", "", "refused 198.51.100.1:5000: address not allowed"},
		"loopback by another":  {"198.51.100.1:5000", "PROXY TCP4 127.0.0.1 127.0.0.1 4711 25\r\n", "", "", "a client that cannot be at 127.0.0.1"},
		"unspecified":          {"198.51.100.1:5000", "PROXY TCP4 0.0.0.0 198.51.100.1 4711 25\r\n", "", "", "a client that cannot be at 0.0.0.0"},
		"no header":            {"198.51.100.1:5000", "EHLO a.example\r\n", "", "", "no header of the PROXY protocol"},
		"TLS and no header":    {"198.51.100.1:5000", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaa", "", "", "no header of the PROXY protocol"},
		"endless line":         {"198.51.100.1:5000", "PROXY TCP4 " + strings.Repeat("1", 500) + "\r\n", "", "", "a line that is too long"},
		"bad line":             {"198.51.100.1:5000", "PROXY TCP4 somewhere else\r\n", "", "", "refused 198.51.100.1:5000: proxy: "},
		"too many bytes":       {"198.51.100.1:5000", version2(long) + strings.Repeat("x", 3000), "", "", "a header of "},
		"datagrams":            {"198.51.100.1:5000", version2("2112 000c c0000207 c6336401 1267 0019"), "", "", "a client that is none of TCP"},
		"a path":               {"198.51.100.1:5000", version2("2131 00d8") + strings.Repeat("a", 216), "", "", "a client that is none of TCP"},
		"short addresses":      {"198.51.100.1:5000", version2("2111 0004 c0000207"), "", "", "refused 198.51.100.1:5000: proxy: "},
		"version 3":            {"198.51.100.1:5000", version2("3111 000c c0000207 c6336401 1267 0019"), "", "", "refused 198.51.100.1:5000: proxy: "},
		"not by a proxy":       {"192.0.2.8:5000", v1Client, "500 5.5.1", "", ""},
		"a client that is one": {"192.0.2.8:5000", "", "250 2.0.0 queued", "[192.0.2.8]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(l *config.Listener) { behindProxy(l); l.Early = "allow" })
				defer r.server.Close()
				nc := r.dial(c.from)
				io.WriteString(nc, c.first)
				synctest.Wait()
				io.WriteString(nc, greetAndMail+"DATA\r\na: b\r\n.\r\nQUIT\r\n")
				synctest.Wait()
				got := said(nc)
				if !strings.Contains(got, c.want) || c.want == "" && got != "(closed)" {
					t.Errorf("was told %q, want %q", got, c.want)
				}
				if all := r.store.all(); c.peer != "" && (len(all) != 1 || !strings.Contains(all[0].content, c.peer)) {
					t.Errorf("%d messages, or another client: %+v", len(all), all)
				}
				if c.told != "" && !r.events.has(c.told) {
					t.Errorf("events %q, want %q", r.events.lines, c.told)
				}
				nc.Close()
				if synctest.Wait(); r.listener.count() != 0 {
					t.Error("it still has its place")
				}
			})
		})
	}
}

// TestProxyHeaderIsWaitedForAWhile: a proxy that says nothing, or half a
// header, is let go, and a shutdown does not wait for it.
func TestProxyHeaderIsWaitedForAWhile(t *testing.T) {
	for _, first := range []string{"", "PROXY TCP4 192.0", version2("2111 000c c000")} {
		for _, shut := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, behindProxy)
				defer r.server.Close()
				begun := time.Now()
				nc := r.dial("198.51.100.1:5000")
				io.WriteString(nc, first)
				synctest.Wait()
				if shut {
					r.listener.wake(wokenShutdown)
				}
				io.Copy(io.Discard, nc)
				if took := time.Since(begun); shut && took > time.Second || took > proxyTimeout+time.Second {
					t.Errorf("%q, shutdown %t: %v", first, shut, took)
				}
			})
		}
	}
}

// TestClientsOfAProxyAreOrigins: behind one proxy, too, the one who takes most
// places loses first.
func TestClientsOfAProxyAreOrigins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places = 10
		r := newRig(t, func(l *config.Listener) { behindProxy(l); l.MaxConnections = places })
		defer r.server.Close()
		for i := range places {
			io.WriteString(r.dial(fmt.Sprintf("198.51.100.1:%d", 5000+i)), fmt.Sprintf("PROXY TCP4 192.0.2.66 198.51.100.1 %d 25\r\n", 6000+i))
			synctest.Wait()
		}
		for i := range places / 2 {
			nc := r.dial(fmt.Sprintf("198.51.100.1:%d", 7000+i))
			io.WriteString(nc, fmt.Sprintf("PROXY TCP4 192.0.2.%d 198.51.100.1 7000 25\r\n", 10+i))
			synctest.Wait()
			io.WriteString(nc, greetAndMail+"DATA\r\na: b\r\n.\r\n")
			if got := said(nc); !strings.Contains(got, "250 2.0.0 queued") {
				t.Fatalf("client %d was told %q", i, got)
			}
		}
		if r.listener.places == nil {
			t.Fatal("nobody counts")
		}
		most := origin.Address(netip.MustParseAddr("192.0.2.66"))
		if n := r.listener.places.Own(most); n != places-places/2 {
			t.Errorf("who took most has %d places, want %d", n, places-places/2)
		}
		if n := r.listener.places.Own(origin.Address(netip.MustParseAddr("198.51.100.1"))); n != 0 {
			t.Errorf("the proxy has %d places", n)
		}
	})
}

func FuzzProxyHeader(f *testing.F) {
	for _, s := range []string{v1Client, v1Forbidden, "PROXY UNKNOWN\r\n", version2("2111 000c c0000207 c6336401 1267 0019"), version2("2000 0000"), version2("2121 0024"), "PROXY TCP6 ::1 ::1 1 1\r\n"} {
		f.Add([]byte(s))
	}
	proxy := netip.MustParseAddr("198.51.100.1")
	f.Fuzz(func(t *testing.T, b []byte) {
		r := strings.NewReader(string(b) + "rest")
		head, err := readProxyHeader(r)
		if err != nil {
			return
		}
		if len(head) > 16+proxyMore || !strings.HasPrefix(string(b)+"rest", string(head)) {
			t.Fatalf("%q was read of %q", head, b)
		}
		client, err := parseProxyHeader(head, proxy)
		if a := client.Addr(); err == nil && client.IsValid() && (a.IsLoopback() || a.IsUnspecified() || a.Is4In6() || a.Zone() != "") {
			t.Fatalf("%q is %v", head, client)
		}
	})
}
