//go:build unix

package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/relay/graph/graphtest"
)

// ofTenant is a book of Microsoft 365 whose tokens the lab's provider gives out.
func ofTenant(server, flow, client, more string) string {
	return "[book.m365]\nprovider = \"graph\"\nurl = \"" + server + "/v1.0\"\nwhat = [\"users\", \"orgcontacts\", \"groups\", \"contacts:office@corp.test\"]\n[book.m365.oauth]\n" +
		"provider = \"generic\"\nissuer = \"" + idp + "\"\nflow = \"" + flow + "\"\nclient_id = \"" + client + "\"\n" + more
}

// goodAtProvider asks the provider what a token is worth, as Dovecot does.
func goodAtProvider(t *testing.T, token string) bool {
	r, err := http.NewRequest("POST", idp+"/oauth/introspect", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		t.Error(err)
		return false
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("device", "device-s3cret")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return false
	}
	defer a.Body.Close()
	var said struct{ Active bool }
	return json.NewDecoder(a.Body).Decode(&said) == nil && said.Active
}

// tenant is a server of Graph that takes the provider's tokens, and gives out two
// people for each of the names, on a page each.
func tenant(t *testing.T, names ...string) *graphtest.Server {
	g := graphtest.New(t)
	g.Good = func(token string) bool { return goodAtProvider(t, token) }
	g.Page = 1
	for _, n := range names {
		for _, last := range []string{"First", "Second"} {
			g.Data["/users"] = append(g.Data["/users"], graphtest.Person(n+last, n+" "+last, strings.ToLower(n+"."+last)+"@corp.test"))
		}
	}
	return g
}

// A book of Microsoft 365 with the tokens of a real provider: it is tested, found
// in and written to; a token that is taken back or ends between two pages costs
// nothing but another one; a server that wants us to wait is waited for, or left
// alone; and no answer leads a token elsewhere.
func TestLabBookOfMicrosoft365(t *testing.T) {
	needsLab(t)
	g := tenant(t, "Revoked", "Ended", "Busy", "Busier", "Elsewhere")
	var elsewhere atomic.Int64
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(evil.Close)
	h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1)+
		ofTenant(g.URL, "client_credentials", "sid1", "client_secret_file = \"DIR/client.secret\"\nscopes = [\"openid\"]\n"))
	if err := os.WriteFile(filepath.Join(h.dir, "client.secret"), []byte("verysecret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start()
	finds := func(name string) {
		t.Helper()
		out := h.must("book", "find", name)
		for _, last := range []string{"first", "second"} {
			if !strings.Contains(out, name+"."+last+"@corp.test") {
				t.Errorf("no %s.%s in\n%s", name, last, out)
			}
		}
	}
	// before has something happen before the second page of a name.
	before := func(name string, what func(http.ResponseWriter, *http.Request) (answered bool)) {
		done := false
		defer g.Lock()()
		g.Instead = func(w http.ResponseWriter, r *http.Request) bool {
			if done || !strings.Contains(strings.ToLower(r.URL.RawQuery), name) || !r.URL.Query().Has("$skiptoken") {
				return false
			}
			done = true
			return what(w, r)
		}
	}

	if out := h.must("book", "test", "m365"); !strings.Contains(out, "/v1.0/users/office@corp.test/contacts") {
		t.Error(out)
	}
	h.must("send", "--from", "me@example.com", "--to", "group:Sales", "--cc", "Carol Customer", "--subject", "s", "--body", "b")
	mail := h.captured(1)[0]
	for _, who := range []string{"alice@corp.test", "bob@corp.test", "ali@partner.test", "carol@customer.test"} {
		if !strings.Contains(mail, "Delivered-To: "+who) {
			t.Errorf("not to %s:\n%s", who, mail)
		}
	}

	before("revoked", func(http.ResponseWriter, *http.Request) bool { atProvider(t, "revoke?what=access"); return false })
	finds("revoked")
	atProvider(t, "life?seconds=1")
	atProvider(t, "revoke?what=access")
	ended := false
	before("ended", func(_ http.ResponseWriter, r *http.Request) bool {
		atProvider(t, "life?seconds=300")
		for end := time.Now().Add(waitLimit); time.Now().Before(end) && !ended; time.Sleep(10 * time.Millisecond) {
			ended = !goodAtProvider(t, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		}
		return false
	})
	finds("ended")
	if !ended {
		t.Error("the token has not ended between the pages")
	}
	before("busy", func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "1")
		graphtest.Deny(w, http.StatusTooManyRequests, "TooManyRequests", "x")
		return true
	})
	finds("busy")
	before("busier", func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "600")
		graphtest.Deny(w, http.StatusTooManyRequests, "TooManyRequests", "x")
		return true
	})
	r := h.do("book", "find", "busier")
	if r.code != exitTempFail || !strings.Contains(r.stderr, "429 Too Many Requests") {
		t.Errorf("exit %d\n%s", r.code, r.stderr)
	}
	asked := len(g.Asked())
	r = h.do("send", "--from", "me@example.com", "--to", "Busier First", "--subject", "s", "--body", "b")
	if r.code != exitTempFail || len(g.Asked()) != asked {
		t.Errorf("exit %d, and it was asked %d times before its time\n%s", r.code, len(g.Asked())-asked, r.stderr)
	}
	if out := h.must("book", "find", "revoked"); !strings.Contains(out, "revoked.first@corp.test") {
		t.Errorf("what was heard before does not count:\n%s", out)
	}
	h.stop()
	h.start() // nobody waits any more
	before("elsewhere", func(w http.ResponseWriter, _ *http.Request) bool {
		_ = json.NewEncoder(w).Encode(map[string]any{"value": []any{}, "@odata.nextLink": evil.URL + "/v1.0/users?$skiptoken=1"})
		return true
	})
	if r := h.do("book", "find", "elsewhere"); r.code != exitTempFail || !strings.Contains(r.stderr, "another host, which gets no token") || elsewhere.Load() != 0 {
		t.Errorf("exit %d, %d requests elsewhere\n%s", r.code, elsewhere.Load(), r.stderr)
	}
	h.stop()
}

// A person logs in for a book, the login is taken back, and the person logs in
// again.
func TestLabBookLogin(t *testing.T) {
	needsLab(t)
	g := tenant(t)
	h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1)+
		ofTenant(g.URL, "device", "device", "client_secret = \"device-s3cret\"\nscopes = [\"openid\", \"offline_access\"]\n"))
	send := []string{"send", "--from", "me@example.com", "--to", "Alice Liddell", "--subject", "s", "--body", "b"}
	fails := func() {
		t.Helper()
		for _, args := range [][]string{send, {"book", "test", "m365"}} {
			r := h.do(args...)
			if r.code != exitTempFail || args[0] == "book" && !strings.Contains(r.stdout+r.stderr, "postern book login m365") {
				t.Errorf("%q: exit %d\n%s%s", args, r.code, r.stdout, r.stderr)
			}
		}
	}
	h.start()
	fails()
	h.loginTo("book", "login", "m365").byDevice("There is a token")
	h.stop()
	h.start()
	h.must(send...)
	atProvider(t, "revoke?what=access")
	h.stop()
	h.start()
	h.must(send...) // with another token, of the refresh token
	atProvider(t, "revoke?what=both")
	h.stop()
	h.start()
	fails()
	h.loginTo("book", "login", "m365").byDevice("There is a token")
	h.stop()
	h.start()
	h.must(send...)
	h.captured(3)
	h.stop()
}
