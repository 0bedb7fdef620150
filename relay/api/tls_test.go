package api

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"postern/relay/upstream/upstreamtest"
)

// HTTPS: names of the certificate are asked for, a failed handshake is told of
// and ends one connection, and clients that begin one and stop keep nobody out.
func TestTLS(t *testing.T) {
	ca := upstreamtest.NewAuthority(t)
	cert, key := upstreamtest.WritePair(t, t.TempDir(), "http", ca.Issue(t, "mail.shop.example.com", "127.0.0.1"))
	r := newRig(t, fmt.Sprintf("tls = \"implicit\"\ncert_file = %q\nkey_file = %q\nmax_connections = 20\n", cert, key))
	address := strings.TrimPrefix(r.url, "http://")
	post := func(host string) (int, string) {
		client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true, ForceAttemptHTTP2: true,
			TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), ServerName: "mail.shop.example.com"},
		}}
		req, err := http.NewRequest("POST", "https://"+address+"/emails", strings.NewReader(good))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("Content-Type", mediaJSON)
		req.Header.Set("Authorization", "Bearer "+secret)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		if res.ProtoMajor != 1 {
			t.Errorf("it is HTTP/%d", res.ProtoMajor)
		}
		return res.StatusCode, string(b)
	}
	status, body := post("mail.shop.example.com")
	if status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	content, env := r.message(strings.Split(body, `"`)[3])
	if !strings.Contains(content, "with HTTPS id") || !strings.Contains(content, "\r\n\ttls TLS_") || env.User != "shop" {
		t.Errorf("%q %+v", content, env)
	}
	if status, body := post("evil.example"); status != 421 {
		t.Errorf("a name that the certificate lacks: %d %s", status, body)
	}
	for range 60 { // in clear, or within a handshake
		c := r.dial(false)
		io.WriteString(c, "\x16\x03\x01\x02\x00\x01")
	}
	c := r.dial(false)
	io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if b, _ := io.ReadAll(c); strings.Contains(string(b), "HTTP/1.1 200") {
		t.Errorf("in clear: %q", b)
	}
	if status, body := post("mail.shop.example.com"); status != 200 {
		t.Errorf("beside others: %d %s", status, body)
	}
	if r.saw("TLSFailed") == 0 {
		t.Error("nobody was told of a handshake that failed")
	}
}
