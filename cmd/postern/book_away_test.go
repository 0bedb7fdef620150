//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/relay/directory/directorytest"
	"postern/relay/graph/graphtest"
)

// misbehaving is a server that takes connections and has do with each, until the
// test ends. It returns its address.
func misbehaving(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended, all := make(chan struct{}), sync.WaitGroup{}
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				do(c)
				<-ended
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		close(ended)
		all.Wait()
	})
	return l.Addr().String()
}

// halfClosing begins an answer, and closes its half of the connection.
func halfClosing(begun string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, begun)
		_ = c.(*net.TCPConn).CloseWrite()
	}
}

// dripping begins an answer, and goes on with a blank at a time, without an end.
func dripping(begun string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, err := io.WriteString(c, begun)
		for ; err == nil; _, err = io.WriteString(c, " ") {
			time.Sleep(50 * time.Millisecond) // the slowness itself; it ends when the client has gone
		}
	}
}

// cardLiar is a server of CardDAV that tells of somebody else, whoever is looked for.
func cardLiar(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, prop := "/", "<d:resourcetype><d:collection/><c:addressbook/></d:resourcetype>"
		switch {
		case r.Method == "REPORT":
			path, prop = "/e.vcf", "<d:getetag>1</d:getetag><c:address-data>BEGIN:VCARD\r\nVERSION:4.0\r\nUID:e\r\nFN:Eve Evil\r\nEMAIL:eve@evil.test\r\nEND:VCARD\r\n</c:address-data>"
		case r.Header.Get("Depth") == "1":
			path, prop = "/e.vcf", "<d:getetag>1</d:getetag>"
		}
		w.WriteHeader(http.StatusMultiStatus)
		fmt.Fprintf(w, `<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav"><d:response><d:href>%s</d:href><d:propstat><d:prop>%s</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>`, path, prop)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// tokens is a provider that gives "good" to everybody.
func tokens(t *testing.T) string {
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/token" {
			_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "good", "token_type": "Bearer", "expires_in": 3600})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": s.URL, "token_endpoint": s.URL + "/token"})
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// A directory that is dead, silent, slow, ends half-way, talks nonsense or answers with
// somebody else is no reason to call anybody unknown, or to write to somebody else:
// each with what `postern send` ends with.
func TestBooksThatMisbehave(t *testing.T) {
	t.Parallel()
	silent := func(net.Conn) {}
	html := "HTTP/1.1 207 Multi-Status\r\nContent-Type: text/xml\r\nContent-Length: 1000\r\n\r\n<"
	ldapLiar := directorytest.New(t)
	ldapLiar.Search = func(c *directorytest.Asker, _, _ string) { c.Person("Eve", "eve@evil.test"); c.Done(0) }
	ldapLiar.Start(t)
	graphLiar := graphtest.New(t)
	graphLiar.Instead = func(w http.ResponseWriter, _ *http.Request) bool {
		_ = json.NewEncoder(w).Encode(map[string]any{"value": []any{graphtest.Person("1", "Eve Evil", "eve@evil.test")}})
		return true
	}
	address := func(url string) string { return url[strings.LastIndex(url, "/")+1:] }
	books := map[string]string{
		"ldap":    "provider = \"ldap\"\nurl = \"ldap://ADDRESS\"\ntls = \"off\"\nauth = \"anonymous\"\n",
		"carddav": "provider = \"carddav\"\nurl = \"http://ADDRESS/\"\nusername = \"me\"\npassword_file = \"DIR/secret\"\n",
		"graph": "provider = \"graph\"\nurl = \"http://ADDRESS/v1.0\"\nwhat = [\"users\", \"groups\"]\n" +
			"[book.theirs.oauth]\nprovider = \"generic\"\nissuer = \"" + tokens(t) + "\"\nflow = \"client_credentials\"\nclient_id = \"x\"\nclient_secret_file = \"DIR/secret\"\nscopes = [\"x\"]\n",
	}
	for _, c := range []struct {
		book, does, address string
		code                int
	}{
		{"ldap", "is dead", "127.0.0.1:1", exitTempFail},
		{"ldap", "is silent", misbehaving(t, silent), exitTempFail},
		{"ldap", "ends half-way", misbehaving(t, halfClosing("\x30\x32\x02\x01")), exitTempFail},
		{"ldap", "talks nonsense", misbehaving(t, halfClosing("220 ready\r\n")), exitTempFail},
		{"ldap", "lies", address(ldapLiar.URL), exitNoUser},
		{"ldap", "drips", misbehaving(t, dripping("\x30\x84\x00\x00\xff\xff")), exitTempFail},
		{"carddav", "is dead", "127.0.0.1:1", exitTempFail},
		{"carddav", "is silent", misbehaving(t, silent), exitTempFail},
		{"carddav", "ends half-way", misbehaving(t, halfClosing(html)), exitTempFail},
		{"carddav", "talks nonsense", misbehaving(t, halfClosing("220 ready\r\n")), exitTempFail},
		{"carddav", "drips", misbehaving(t, dripping(strings.NewReplacer("1000", "100000", "<", "").Replace(html))), exitTempFail},
		{"carddav", "lies", address(cardLiar(t)), exitNoUser},
		{"graph", "is dead", "127.0.0.1:1", exitTempFail},
		{"graph", "is silent", misbehaving(t, silent), exitTempFail},
		{"graph", "ends half-way", misbehaving(t, halfClosing(strings.Replace(html, "207 Multi-Status", "200 OK", 1))), exitTempFail},
		{"graph", "talks nonsense", misbehaving(t, halfClosing("220 ready\r\n")), exitTempFail},
		{"graph", "drips", misbehaving(t, dripping(strings.NewReplacer("207 Multi-Status", "200 OK", "1000", "100000", "<", "").Replace(html))), exitTempFail},
		{"graph", "lies", address(graphLiar.URL), exitNoUser},
	} {
		t.Run(c.book+" "+c.does, func(t *testing.T) {
			t.Parallel()
			book, tables, _ := strings.Cut(strings.ReplaceAll(books[c.book], "ADDRESS", c.address), "[")
			if tables != "" {
				tables = "[" + tables
			}
			timeout := "30s"
			if c.does == "is silent" || c.does == "drips" {
				timeout = "1s"
			}
			h := newHarness(t, strings.Replace(capturing, "ADDR", "127.0.0.1:1", 1)+"[book.theirs]\ntimeout = \""+timeout+"\"\n"+book+tables)
			if err := os.WriteFile(filepath.Join(h.dir, "secret"), []byte("s3cret"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, to := range []string{"Alice", "group:Sales", "book:theirs/Alice"} {
				r := h.do("send", "--from", "me@example.com", "--to", to, "--subject", "s", "--body", "b")
				if r.code != c.code || r.code == exitTempFail && !strings.Contains(r.stderr, "can't be asked now") || strings.Contains(r.stderr, "s3cret") {
					t.Errorf("%s: exit %d, want %d\n%s", to, r.code, c.code, r.stderr)
				}
			}
		})
	}
}
