//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A provider of tokens that goes on talking unasked gets no line of its own on
// standard error: net/http writes what it said by the standard logger.
func TestLibrariesWriteNoLines(t *testing.T) {
	server := httptest.NewServer(nil)
	defer server.Close()
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/token" {
			fmt.Fprintf(w, `{"issuer": %q, "token_endpoint": "%s/token"}`, server.URL, server.URL)
			return
		}
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		answer := `{"access_token": "a", "token_type": "Bearer", "expires_in": 3600}`
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
		time.Sleep(200 * time.Millisecond)
		fmt.Fprint(c, "HTTP/1.1 299 \x1b[31munasked\r\n\r\n")
		time.Sleep(200 * time.Millisecond)
	})
	listen, upstream := freeAddr(t), freeAddr(t)
	config := strings.Replace(withTokens(listen, upstream, server.URL), `flow = "device"`, `flow = "client_credentials"`, 1)
	h := newHarness(t, config)
	if err := os.WriteFile(filepath.Join(h.dir, "client.secret"), []byte("secret-client\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start()
	send(t, listen, "a@example.com", "one")
	eventually(t, "the log tells", func() bool { return strings.Contains(h.log.String(), `"library-said"`) })
	for line := range strings.Lines(h.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no line of ours: %q", line)
		}
	}
}
