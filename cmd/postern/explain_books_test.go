//go:build unix

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/relay/graph/graphtest"
)

// TestExplainAsksBooksWithTokens: `postern explain` asks a book with OAuth by a token
// of its own, as the relay does.
func TestExplainAsksBooksWithTokens(t *testing.T) {
	g := graphtest.New(t)
	var url string
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/token" {
			fmt.Fprint(w, `{"token_type":"Bearer","access_token":"good","expires_in":3600}`)
			return
		}
		fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":%q}`, url, url+"/token")
	}))
	defer provider.Close()
	url = provider.URL
	h := newHarness(t, ordinary(freeAddr(t), "127.0.0.1:1")+`
[book.m365]
provider = "graph"
url = "`+g.URL+`/v1.0"
what = ["users"]
[book.m365.oauth]
provider = "generic"
issuer = "`+url+`"
flow = "client_credentials"
client_id = "1"
client_secret_file = "DIR/secret"
scopes = ["x"]
`)
	if err := os.WriteFile(filepath.Join(h.dir, "secret"), []byte("hunter2hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := h.must("explain", "--from", "me@example.com", "--to", "book:m365/Alice Liddell"); !strings.Contains(out, "alice@corp.test") {
		t.Error(out)
	}
}
