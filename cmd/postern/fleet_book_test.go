//go:build unix

package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"postern/spool/postgres/postgrestest"
)

// TestFleetBookLogin: the token of a book that was got at one relay is used by the
// other one, from the database.
func TestFleetBookLogin(t *testing.T) {
	var given atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/.well-known/openid-configuration":
			io.WriteString(w, `{"issuer":"http://`+r.Host+`","token_endpoint":"http://`+r.Host+`/token","authorization_endpoint":"http://`+r.Host+`/auth"}`)
		case r.URL.Path == "/token":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, given.Add(1))
		case r.Header.Get("Authorization") != "Bearer token-1":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(http.StatusMultiStatus)
			io.WriteString(w, `<multistatus xmlns="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav"><response><href>/b/</href><propstat><prop><resourcetype><c:addressbook/></resourcetype><displayname>People</displayname></prop><status>HTTP/1.1 200 OK</status></propstat></response></multistatus>`)
		}
	}))
	defer s.Close()
	url := postgrestest.Start(t, "fsync=off").Database(t)
	key := filepath.Join(t.TempDir(), "token.key")
	if err := os.WriteFile(key, []byte("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	relay := func(name string) *harness {
		conf := strings.Replace(shared("127.0.0.1:1", "127.0.0.1:2", url, name), "relay =", fmt.Sprintf("token_key_file = %q\nrelay =", key), 1)
		return newHarness(t, conf+"\n[book.crm]\nprovider = \"carddav\"\nurl = \""+s.URL+"/b/\"\n[book.crm.oauth]\nprovider = \"generic\"\nissuer = \""+s.URL+
			"\"\nscopes = [\"cards\"]\nclient_id = \"me\"\nflow = \"client_credentials\"\nclient_secret = \"s3cret\"\n")
	}
	one, two := relay("one"), relay("two")
	one.must("database", "migrate")
	one.must("book", "login", "crm")
	two.must("book", "test", "crm")
	one.must("book", "test", "crm")
	if r := one.do("database", "forget", "three"); r.code != exitData || !strings.Contains(r.stderr, `no relay "three"`) {
		t.Errorf("%+v", r)
	}
	if n := given.Load(); n != 1 {
		t.Errorf("the provider gave out %d tokens", n)
	}
}
