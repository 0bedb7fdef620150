package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// bearers listens at a host for whatever clients say, and takes every token.
type bearers struct {
	addr string
	mu   sync.Mutex
	said []string
}

func listenForBearers(t *testing.T, host string) *bearers {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b := &bearers{addr: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.serve(c)
		}
	}()
	return b
}

func (b *bearers) serve(c net.Conn) {
	defer c.Close()
	fmt.Fprint(c, "220 fake.test ESMTP\r\n")
	for in := bufio.NewScanner(c); in.Scan(); {
		b.mu.Lock()
		b.said = append(b.said, in.Text())
		b.mu.Unlock()
		switch verb, _, _ := strings.Cut(in.Text(), " "); verb {
		case "EHLO":
			fmt.Fprint(c, "250-fake.test\r\n250 AUTH XOAUTH2\r\n")
		case "AUTH":
			fmt.Fprint(c, "235 2.7.0 ok\r\n")
		case "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 ok\r\n")
		}
	}
}

// auths is how many tokens were shown.
func (b *bearers) auths() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.said {
		if strings.HasPrefix(line, "AUTH") {
			n++
		}
	}
	return n
}

// TestLoginGoesNowhereElse: whoever points an upstream at a server of their own
// doesn't get the login that somebody made for another one.
func TestLoginGoesNowhereElse(t *testing.T) {
	t.Parallel()
	var generous atomic.Bool
	office, evil := listenForBearers(t, "127.0.0.1"), listenForBearers(t, "127.0.0.2")
	provider := forgetful(t, &generous)
	at := func(b *bearers) string {
		host, port, _ := net.SplitHostPort(b.addr)
		return ordinary(freeAddr(t), office.addr) + fmt.Sprintf("[upstream.token]\nhost = %q\nport = %s\ntls = \"off\"\nauth = \"xoauth2\"\nusername = \"a@example.com\"\n[upstream.token.oauth]\nprovider = \"generic\"\nissuer = %q\nflow = \"device\"\nclient_id = \"1\"\nscopes = [\"smtp\"]\n", host, port, provider)
	}
	h := newHarness(t, at(office))
	h.must("upstream", "login", "token")
	h.must("upstream", "test", "token")
	if office.auths() == 0 {
		t.Fatal("nobody has signed in")
	}
	h.write(at(evil))
	if r := h.do("upstream", "test", "token"); r.code == 0 || !strings.Contains(r.stdout, "the stored login is for another client, user or server") {
		t.Errorf("%+v", r)
	}
	if n := evil.auths(); n != 0 {
		t.Errorf("another server was shown %d tokens", n)
	}
	h.must("upstream", "login", "token")
	if h.must("upstream", "test", "token"); evil.auths() == 0 {
		t.Error("after a login of its own nobody signs in")
	}
}
