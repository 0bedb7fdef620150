package intake

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/relay/origin"
)

// TestWhoTakesMostLosesFirst: however one origin holds all places, a client of
// another gets in at once.
func TestWhoTakesMostLosesFirst(t *testing.T) {
	wrong := base64.StdEncoding.EncodeToString([]byte("\x00app2\x00falsch"))
	for name, begin := range map[string]string{
		"silent":        "",
		"half command":  "EH",
		"idle":          "EHLO a\r\n",
		"recipients":    greetAndMail,
		"content":       greetAndMail + "DATA\r\na: b",
		"chunk":         greetAndMail + "BDAT 1000\r\nx",
		"long header":   greetAndMail + "DATA\r\nX: " + strings.Repeat("x", 4000),
		"sign-in":       "EHLO a\r\nAUTH PLAIN " + wrong + "\r\n",
		"between steps": "EHLO a\r\nAUTH LOGIN\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const places = 20
				r := newRig(t, func(l *config.Listener) { withUsers(l); l.MaxConnections = places })
				defer r.server.Close()
				for i := range places {
					io.WriteString(r.dial(fmt.Sprintf("192.0.2.2:%d", i+1)), begin)
				}
				synctest.Wait()
				var modest []net.Conn
				for i := range places / 2 {
					nc := r.dial(fmt.Sprintf("192.0.2.3:%d", i+1))
					modest = append(modest, nc)
					synctest.Wait()
					io.WriteString(nc, greetAndMail+"DATA\r\na: b\r\n.\r\n")
					if got := said(nc); !strings.Contains(got, "250 2.0.0 queued") {
						t.Fatalf("the client in the other place was told %q", got)
					}
				}
				if n := r.listener.count(); n != places {
					t.Errorf("%d connections", n)
				}
				for _, nc := range modest {
					if got := said(nc); strings.Contains(got, "421") {
						t.Errorf("one of the smaller origin had to go: %q", got)
					}
				}
			})
		})
	}
}

// TestNetworksOfOneCustomer: as many networks of IPv6 as there are places keep
// no client of IPv4 out, and none of its connections has to go for another.
func TestNetworksOfOneCustomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places = 500
		r := newRig(t, func(l *config.Listener) {
			l.MaxConnections, l.Allow = places, []netip.Prefix{netip.MustParsePrefix("::/0"), netip.MustParsePrefix("0.0.0.0/0")}
		})
		defer r.server.Close()
		for i := range places {
			r.dial(fmt.Sprintf("[2001:db8:1:%x::1]:1", i))
		}
		synctest.Wait()
		var modest []net.Conn
		for i := range 20 {
			nc := r.dial(fmt.Sprintf("192.0.2.3:%d", i+1))
			modest = append(modest, nc)
			if got := said(nc); !strings.HasPrefix(got, "220 ") {
				t.Fatalf("client %d of IPv4 was told %q", i, got)
			}
			r.dial(fmt.Sprintf("[2001:db8:1:%x::1]:1", places+i)) // takes no place of another's
		}
		for _, nc := range modest {
			if got := said(nc); strings.Contains(got, "421") {
				t.Errorf("one of IPv4 had to go: %q", got)
			}
		}
	})
}

// TestStrangersLockNobodyOut: an address that guesses is slowed down, over
// connections and whatever names it uses, and keeps nobody elsewhere out.
func TestStrangersLockNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(l *config.Listener) { withUsers(l); l.MaxConnections, l.Allow = 50, nil })
		defer r.server.Close()
		plain := func(password string) string {
			return "EHLO a\r\nAUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00app2\x00"+password)) + "\r\n"
		}
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			io.WriteString(r.dial("127.0.0.2:1"), plain("falsch"))
		}
		r.events.mu.Lock()
		failed := 0
		for _, line := range r.events.lines {
			if strings.HasPrefix(line, "sign-in failed") {
				failed++
			}
		}
		r.events.mu.Unlock()
		if failed > 30 {
			t.Errorf("%d guesses in a minute", failed)
		}
		began := time.Now()
		nc := r.dial("[::1]:1")
		io.WriteString(nc, plain("geheim"))
		time.Sleep(3 * time.Second)
		if got := said(nc); !strings.Contains(got, "235 ") {
			t.Errorf("after %s the right password was told %q", time.Since(began), got)
		}
	})
}

// TestSCRAMGuessesAreSlowedDown: there the password costs nothing to check, so
// only what is remembered bounds the guesses.
func TestSCRAMGuessesAreSlowedDown(t *testing.T) {
	sh := newShared()
	from := origin.User("x")
	for range 10 {
		sh.guesses.Failed(from, "app3", time.Now())
	}
	l := testListener()
	withUsers(&l)
	set, err := newSettings(&l, sh)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{settings: set, events: func(Event) {}, ctx: t.Context()}
	c.Connection = func() origin.Key { return from }
	server, err := c.mechanism(mechSCRAM)
	if err != nil {
		t.Fatal(err)
	}
	first, _, err := server.Next([]byte("n,,n=app3,r=abc"))
	if err != nil {
		t.Fatal(err)
	}
	nonce, _, _ := strings.Cut(strings.TrimPrefix(string(first), "r="), ",")
	began := time.Now()
	_, _, err = server.Next([]byte("c=biws,r=" + nonce + ",p=AAAA"))
	if err == nil || time.Since(began) < time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}
