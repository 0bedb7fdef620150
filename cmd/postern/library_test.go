//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"strings"
	"testing"
	"time"
)

// A server of address books that goes on talking unasked gets no line of its own
// on standard error: net/http writes what it said by the standard logger.
func TestLibrariesWriteNoLines(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer": "http://%s", "token_endpoint": "http://%s/token"}`, r.Host, r.Host)
			return
		case "/token":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"access_token": "a", "token_type": "Bearer", "expires_in": 3600}`)
			return
		}
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
		time.Sleep(200 * time.Millisecond)
		fmt.Fprint(c, "HTTP/1.1 299 \x1b[31munasked\r\n\r\n")
		time.Sleep(200 * time.Millisecond)
	}))
	defer server.Close()
	listen, upstream := freeAddr(t), freeAddr(t)
	h := newHarness(t, ordinary(listen, upstream)+fmt.Sprintf(`[book.m365]
provider = "graph"
url = "%s/v1.0"
[book.m365.oauth]
provider = "generic"
issuer = %q
scopes = ["graph"]
flow = "client_credentials"
client_id = "relay"
client_secret = "secret-client"
`, server.URL, server.URL))
	h.start()
	c, err := smtp.Dial(listen)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := errors.Join(c.Mail("a@example.com"), c.Rcpt("alice")); err == nil || !strings.Contains(err.Error(), "book") {
		t.Fatalf("a name in a book that is away: %v", err)
	}
	eventually(t, "the log tells", func() bool { return strings.Contains(h.log.String(), `"library-said"`) })
	for line := range strings.Lines(h.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no line of ours: %q", line)
		}
	}
}
