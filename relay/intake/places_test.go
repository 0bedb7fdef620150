package intake

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
)

// TestFlood: beyond the limit, those who idle make room, and an ordinary
// client gets through; when nobody idles, the newcomer is told at once.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(l *config.Listener) { l.MaxConnections = 20 })
		var flood []net.Conn
		for i := range 20 {
			flood = append(flood, r.dial(fmt.Sprintf("127.0.0.1:%d", i+1)))
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if got := said(r.dial("")); !strings.HasPrefix(got, "421 4.3.2 too many connections") || !strings.HasSuffix(got, "(closed)") {
			t.Errorf("the newcomer was told %q", got)
		}
		time.Sleep(evictIdle)
		for i := range 5 {
			nc := r.dial("")
			io.WriteString(nc, greetAndMail+"DATA\r\na: b\r\n.\r\n")
			time.Sleep(lingerTimeout)
			if got := said(nc); !strings.Contains(got, "250 2.0.0 queued") {
				t.Errorf("an ordinary client was told %q", got)
			}
			if got := said(flood[i]); !strings.Contains(got, "421 4.3.2 ") {
				t.Errorf("who waited longest was told %q", got)
			}
		}
		for _, nc := range flood[5:] {
			if got := said(nc); strings.Contains(got, "421") {
				t.Errorf("more had to go than was needed: %q", got)
			}
		}
		if n := r.listener.count(); n != 20 {
			t.Errorf("%d connections", n)
		}
	})
}

// TestDrippersMakeRoom: a byte now and then, in a command, in a message or in
// place of a handshake, doesn't keep an ordinary client out.
func TestDrippersMakeRoom(t *testing.T) {
	cert, key := testCert(t)
	for name, c := range map[string]struct {
		begin string
		every time.Duration
		after time.Duration // an ordinary client gets through
		tls   config.ListenerTLS
	}{
		"command":   {"", 300 * time.Millisecond, evictIdle, config.ListenerTLSOff},
		"recipient": {"EHLO a\r\nMAIL FROM:<a@example.com>\r\n", 3 * time.Second, evictMail, config.ListenerTLSOff},
		"content":   {greetAndMail + "DATA\r\n", time.Second, evictMail, config.ListenerTLSOff},
		"chunk":     {greetAndMail + "BDAT 100000\r\n", time.Second, evictMail, config.ListenerTLSOff},
		"handshake": {"\x16\x03\x01\x01\x00", 300 * time.Millisecond, evictIdle, config.ListenerTLSImplicit},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const places = 20
				r := newRig(t, func(l *config.Listener) {
					l.MaxConnections, l.TLS, l.CertFile, l.KeyFile = places, c.tls, cert, key
				})
				var dripping sync.WaitGroup
				for i := range places {
					nc := r.dial(fmt.Sprintf("127.0.0.1:%d", i+1))
					dripping.Go(func() {
						io.WriteString(nc, c.begin)
						for {
							if _, err := nc.Write([]byte("x")); err != nil {
								return
							}
							time.Sleep(c.every)
						}
					})
				}
				defer dripping.Wait()
				defer r.server.Close()
				time.Sleep(c.after / 2)
				r.dial("")
				synctest.Wait()
				if n := r.listener.count(); n != places {
					t.Errorf("%d connections: somebody had to go too early", n)
				}
				time.Sleep(c.after)
				nc := r.dial("")
				synctest.Wait()
				if got := said(nc); strings.HasSuffix(got, "(closed)") || c.tls == config.ListenerTLSOff && !strings.HasPrefix(got, "220 ") {
					t.Errorf("the newcomer was told %q", got)
				}
				time.Sleep(2 * lingerTimeout)
				if n := r.listener.count(); n != places {
					t.Errorf("%d connections, one of the drippers has to be gone", n)
				}
			})
		})
	}
}

// said is what the client was told so far.
func said(nc net.Conn) string {
	synctest.Wait()
	h := nc.(*pipe).in
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return string(h.buf) + "(closed)"
	}
	return string(h.buf)
}

// TestPlaces: the peer with most connections makes room first, and within a
// transaction later than outside.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(l *config.Listener) { l.MaxConnections = 3 })
		modest := r.dial("192.0.2.1:1000")
		time.Sleep(time.Second)
		greedy := r.dial("192.0.2.9:1001")
		busy := r.dial("192.0.2.9:1002")
		io.WriteString(busy, greetAndMail)
		time.Sleep(evictIdle)
		synctest.Wait()
		if got := said(r.dial("192.0.2.2:1003")); !strings.HasPrefix(got, "220 ") {
			t.Errorf("the newcomer was told %q", got)
		}
		if got := said(modest); strings.Contains(got, "421") {
			t.Errorf("the modest peer was told %q", got)
		}
		if got := said(greedy); !strings.Contains(got, "421 4.3.2") {
			t.Errorf("the greedy peer was told %q", got)
		}
		if got := said(busy); strings.Contains(got, "421") {
			t.Errorf("one in a transaction was told %q", got)
		}
	})
}
