//go:build unix

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestReadSocket: whoever may look sees the state, and neither reads a content
// nor changes anything.
func TestReadSocket(t *testing.T) {
	h := newHarness(t, strings.Replace(captured(freeAddr(t)), "[control]\n", "[control]\nread_socket = \"DIR/read.sock\"\n", 1))
	h.start()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", h.dir+"/read.sock")
	}}}
	defer client.CloseIdleConnections()
	for request, want := range map[string]int{
		"GET /v1/status": 200, "GET /v1/queue": 200, "GET /metrics": 200, "GET /healthz": 200,
		"GET /v1/messages/0/content": 403, "POST /v1/queue/remove": 403, "POST /v1/reload": 403, "POST /v1/upstreams/dev/pause": 403,
		"POST /v1/upstreams/dev/forget-tls": 403, "POST /v1/status": 405, "POST /v1/nothing": 404,
	} {
		method, path, _ := strings.Cut(request, " ")
		body := ""
		if method == http.MethodPost {
			body = `{"all":true}`
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://postern"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: %d %s; want %d", request, answer.StatusCode, text, want)
		}
	}
}
