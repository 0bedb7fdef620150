package console

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/relay/peer"
	"postern/relay/upstream/upstreamtest"
)

// TestTLS: cookies are Secure, the certificate of the configuration in force is
// shown, and whoever fails in the handshake is told of by name and ends one
// connection.
func TestTLS(t *testing.T) {
	f, s := newRelay(t)
	ca := upstreamtest.NewAuthority(t)
	use := func(names ...string) {
		cert, key := upstreamtest.WritePair(t, t.TempDir(), "console", ca.Issue(t, names...))
		cfg := *f.config // which nobody changes that it is in force for
		cfg.Console.Listener = config.Listener{Address: "127.0.0.1:1", TLS: config.ListenerTLSImplicit, CertFile: cert, KeyFile: key}
		set, err := Prepare(&cfg)
		if err != nil {
			t.Fatal(err)
		}
		s.Use(set)
	}
	use("console.example.net", "127.0.0.1")
	l, err := peer.ListenTCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l, 16) }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	signIn := func(name string) *http.Response {
		client := &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport:     &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), ServerName: name}},
		}
		r, err := http.NewRequest("POST", "https://"+l.Addr().String()+"/sign-in", strings.NewReader(url.Values{"name": {"look"}, "password": {"right"}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = name
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer
	}
	check := func(name string) {
		t.Helper()
		answer := signIn(name)
		if c := answer.Header.Get("Set-Cookie"); answer.StatusCode != http.StatusSeeOther || answer.ProtoMajor != 1 ||
			!strings.HasPrefix(c, secureCookie+"443=") || !strings.Contains(c, "; Secure") || answer.Header.Get("Strict-Transport-Security") == "" {
			t.Errorf("%s: %d HTTP/%d %q", name, answer.StatusCode, answer.ProtoMajor, c)
		}
	}
	check("console.example.net")

	for _, hello := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\xff\xff", strings.Repeat("\x00", 300)} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprint(c, hello)
		_ = c.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(c)
		if strings.Contains(string(b), "HTTP/1.") {
			t.Errorf("%q was answered %q", hello, b)
		}
		c.Close()
	}
	use("other.example.net", "127.0.0.1") // by a reload
	check("other.example.net")

	cfg := *f.config
	cfg.Console.Listener = config.Listener{Address: "127.0.0.1:1", TLS: config.ListenerTLSOff} // which takes a restart
	set, err := Prepare(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Use(set)
	if c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: ca.Pool(), ServerName: "other.example.net"}); err != nil {
		t.Errorf("after a reload without TLS: %v", err)
	} else {
		c.Close()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	failed := 0
	for _, e := range f.events {
		switch e := e.(type) {
		case *TLSFailed:
			if failed++; !strings.HasPrefix(e.Client.Peer, "127.0.0.1:") || e.Client.Connection().String() == "" || e.Err == nil {
				t.Errorf("%+v", e)
			}
		case *Failed:
			t.Errorf("a defect: %s", e.Text)
		}
	}
	if failed != 3 {
		t.Errorf("%d handshakes are told to have failed, not 3", failed)
	}
}
