package console

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/spool"
)

// Whoever has not signed in gets the form, whatever is asked, and learns of no
// path.
func TestNobodyWithoutSignIn(t *testing.T) {
	f, s := newRelay(t)
	id := f.put(t, envelope("a@example.com", "b@example.org"), "Subject: x\r\n\r\n")
	b := open(t, s, "")
	for _, route := range routes {
		if route.needs == nobody {
			continue
		}
		path := strings.NewReplacer("{id}", id.String(), "{op}", "remove", "{name}", "office").Replace(route.path)
		ask := b.get
		if route.method == http.MethodPost {
			ask = func(path string) (int, http.Header, string) {
				return b.post(path, url.Values{"id": {id.String()}, "reason": {"x"}})
			}
		}
		want := "/sign-in"
		if route.method == http.MethodGet && path != "/" {
			want += "?back=" + url.QueryEscape((&url.URL{Path: path}).RequestURI())
		}
		if code, h, _ := ask(path); code != http.StatusSeeOther || h.Get("Location") != want {
			t.Errorf("%s %s: %d to %q", route.method, path, code, h.Get("Location"))
		}
	}
	if code, h, _ := b.get("/no-such-page"); code != http.StatusSeeOther || h.Get("Location") != "/sign-in?back=%2Fno-such-page" {
		t.Errorf("%d to %q", code, h.Get("Location"))
	}
	if done := f.noted(); done != "" {
		t.Errorf("done: %s", done)
	}
}

// Each role may do what it may, and nothing of the next one.
func TestRoles(t *testing.T) {
	f, s := newRelay(t)
	id := f.put(t, envelope("a@example.com", "b@example.org"), "Subject: x\r\n\r\n")
	for _, user := range []config.Role{config.RoleLook, config.RoleOperate, config.RoleDefine} {
		b := open(t, serverOf(s, f), string(user))
		for _, route := range routes {
			if route.needs == nobody || route.path == "/sign-out" {
				continue
			}
			path := strings.NewReplacer("{id}", id.String(), "{op}", "hold", "{name}", "office").Replace(route.path)
			if strings.HasPrefix(path, "/upstreams/office/") {
				path = "/upstreams/office/pause"
			}
			var code int
			if route.method == http.MethodPost {
				code, _, _ = b.post(path, url.Values{"id": {id.String()}})
			} else {
				code, _, _ = b.get(path)
			}
			if allowed := code != http.StatusForbidden; allowed != user.Covers(route.needs) || code >= 500 {
				t.Errorf("%s: %s %s: %d", user, route.method, path, code)
			}
		}
		done := f.noted()
		if user == config.RoleLook && done != "" {
			t.Errorf("%s did %s", user, done)
		}
		if want := "hold [" + id.String() + "] by console:" + string(user); user != config.RoleLook && !strings.Contains(done, want) {
			t.Errorf("%s did %s", user, done)
		}
	}
}

// serverOf is another server for the same relay: one serves one listener.
func serverOf(s *Server, f *relay) *Server {
	fresh := New(s.Options)
	fresh.Use(&Settings{console: &f.config.Console, hostname: f.config.Hostname})
	return fresh
}

// Another site's page cannot do anything with the cookie of a user.
func TestCrossSite(t *testing.T) {
	f, s := newRelay(t)
	id := f.put(t, envelope("a@example.com", "b@example.org"), "x")
	dir := withBooks(t, f)
	withFiles(t, f, reminderFiles())
	b := open(t, s, "operate")
	for name, head := range map[string]http.Header{
		"a form of another site":     {"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}},
		"a neighbour of this site":   {"Sec-Fetch-Site": {"same-site"}, "Origin": {"http://127.0.0.1:8080"}},
		"a browser without metadata": {"Origin": {"https://evil.example"}},
		"a page without an origin":   {"Origin": {"null"}},
	} {
		for _, path := range []string{"/queue/remove", "/sign-in", "/sign-out", "/upstreams/office/pause", "/reload", "/alerts/test",
			"/books/team/save", "/books/team/card", "/books/team/remove", "/books/team/members/add", "/message-files/note", "/made/x/send"} {
			r, _ := http.NewRequest(http.MethodPost, b.base+path, strings.NewReader("id="+id.String()+"&name=Eve&group=Crew&who=alice&from=a%40example.com&to=b%40example.org"))
			r.Header = head.Clone()
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if code, _, _ := b.do(r); code != http.StatusForbidden {
				t.Errorf("%s: %s: %d", name, path, code)
			}
		}
	}
	for _, path := range []string{"/queue/remove?id=" + id.String(), "/reload", "/upstreams/office/pause"} {
		if code, _, _ := b.get(path); code != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: %d", path, code)
		}
	}
	if done := f.noted(); done != "" {
		t.Errorf("done: %s", done)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 3 || len(f.handed) > 0 {
		t.Errorf("%v, and %d messages", entries, len(f.handed))
	}
}

// A name that a web page had lead here is not answered.
func TestRebinding(t *testing.T) {
	f, s := newRelay(t)
	f.config.Console.Hosts = []string{"console.example.net"}
	b := open(t, s, "look")
	for host, want := range map[string]int{
		"evil.example": 421, "evil.example:2590": 421, "": 400, "127.0.0.1.evil.example": 421,
		"relay.example.com": 200, "RELAY.example.com.:80": 200, "console.example.net": 200, "localhost:2590": 200, "[::1]:2590": 200, "127.0.0.1": 200,
	} {
		for _, path := range []string{"/", "/sign-in", "/assets/console.css"} {
			r, _ := http.NewRequest(http.MethodGet, b.base+path, nil)
			r.Host = host
			if host == "" {
				continue // net/http fills it in
			}
			code, _, _ := b.do(r)
			if code == http.StatusSeeOther {
				code = http.StatusOK
			}
			// The cookie is that of the address, which the client sends by the URL.
			if code != want {
				t.Errorf("%s %s: %d, want %d", host, path, code, want)
			}
		}
	}
}

// No page can be framed, runs anything that is not this server's, tells where it
// was, or is kept.
func TestHeaders(t *testing.T) {
	f, s := newRelay(t)
	id := f.put(t, envelope("a@example.com", "b@example.org"), "Subject: x\r\n\r\n<script>alert(1)</script>")
	b := open(t, s, "define")
	for _, path := range []string{"/", "/queue", "/messages/" + id.String(), "/messages/" + id.String() + "/life", "/messages/" + id.String() + "/source",
		"/upstreams", "/upstreams/office", "/trace", "/nothing", "/queue?state=no", "/assets/htmx.min.js"} {
		_, h, body := b.get(path)
		for name, want := range map[string]string{"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
			if h.Get(name) != want {
				t.Errorf("%s: %s: %q", path, name, h.Get(name))
			}
		}
		csp := h.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none';") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %s", path, csp)
		}
		if !strings.HasPrefix(path, "/assets/") && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s", path, h.Get("Cache-Control"))
		}
		if strings.HasPrefix(h.Get("Content-Type"), "text/html") {
			for _, bad := range []string{" style=", "<style", "javascript:", " onclick=", "http://", "https://"} {
				if strings.Contains(body, bad) {
					t.Errorf("%s has %q", path, bad)
				}
			}
		}
		if strings.HasSuffix(path, "/source") && (h.Get("Content-Type") != "text/plain; charset=utf-8" || !strings.Contains(csp, "sandbox")) {
			t.Errorf("source: %v", h)
		}
	}
}

// Whatever a message says is text, in every field and on every page.
func TestHostileMessage(t *testing.T) {
	f, s := newRelay(t)
	env := envelope(hostile, hostile+"@example.org")
	env.MessageID, env.Peer, env.Listener, env.User, env.UnixUser, env.Helo, env.EnvelopeID = hostile, hostile, hostile, hostile, hostile, hostile, hostile
	id := f.put(t, env, hostile)
	d, err := f.store.Take(t.Context(), id, 0)
	if err != nil {
		t.Fatal(err)
	}
	o := spool.Outcome{Stage: spool.StageRcpt, Code: 450, Enhanced: hostile, Text: hostile, Cause: hostile, Remote: hostile}
	if _, err := f.store.Settle(t.Context(), d, spool.Settlement{Outcomes: []spool.Outcome{o}, Due: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	b := open(t, s, "define")
	b.post("/reload", url.Values{"back": {"/trace?q=" + url.QueryEscape(hostile)}}) // its answer is said on the next page
	q := url.QueryEscape(hostile)
	for _, path := range []string{"/", "/queue", "/queue?from=" + q, "/queue?to=" + q + "&upstream=" + q, "/queue?after=" + q, "/messages/" + id.String(),
		"/messages/" + url.PathEscape(hostile), "/messages/" + id.String() + "/life", "/upstreams", "/upstreams/office", "/upstreams/" + url.PathEscape(hostile),
		"/trace?q=" + q, "/" + url.PathEscape(hostile), "/sign-in"} {
		_, h, body := b.get(path)
		if !strings.HasPrefix(h.Get("Content-Type"), "text/html") && h.Get("Location") == "" {
			t.Errorf("%s: %s", path, h.Get("Content-Type"))
		}
		for _, bad := range []string{"<script>alert", "<img src=x", "\x1b", "\u202e"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %q: %s", path, bad, body[max(0, strings.Index(body, bad)-200):])
			}
		}
	}
	code, _, body := b.post("/sign-in", url.Values{"name": {hostile}, "password": {"wrong"}})
	if code != http.StatusForbidden || strings.Contains(body, "<script>alert") {
		t.Errorf("%d %s", code, body)
	}
}

// No path leads out of what is embedded, and no form to another site.
func TestTraversal(t *testing.T) {
	_, s := newRelay(t)
	b := open(t, s, "operate")
	for _, path := range []string{"/assets/..%2ftemplates%2flayout.html", "/assets/%2e%2e%2fserver.go", "/assets/..", "/assets/", "/assets/htmx.LICENSE", "/assets/%00", "/messages/..%2f..%2fetc%2fpasswd", "/messages/0"} {
		if code, _, body := b.get(path); code != http.StatusNotFound || strings.Contains(body, "{{") {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	for _, back := range []string{"https://evil.example/", "//evil.example", `/\evil.example`, "/%5cevil.example/..//x", "javascript:alert(1)", "", "x", "///evil.example"} {
		_, h, _ := b.post("/queue/hold", url.Values{"back": {back}})
		u, err := url.Parse(h.Get("Location"))
		if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(h.Get("Location"), "//") || strings.HasPrefix(h.Get("Location"), `/\`) {
			t.Errorf("%q leads to %q", back, h.Get("Location"))
		}
	}
	if _, h, _ := b.post("/queue/hold", url.Values{"back": {"/queue?from=a%40b"}}); h.Get("Location") != "/queue?from=a%40b" {
		t.Errorf("%q", h.Get("Location"))
	}
}

// A form has a bound, wherever it goes.
func TestOversized(t *testing.T) {
	f, s := newRelay(t)
	for _, user := range []string{"", "operate"} {
		b := open(t, serverOf(s, f), user)
		path := "/sign-in"
		if user != "" {
			path = "/queue/hold"
		}
		code, _, _ := b.post(path, url.Values{"id": {strings.Repeat("x", maxBody)}})
		if code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d", path, code)
		}
	}
}

// Guesses are answered slower and slower, and then not at all, while another
// origin still comes in.
func TestBruteForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := newRelay(t)
		try := func(client *Client, name, password string) int {
			r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/sign-in", strings.NewReader(url.Values{"name": {name}, "password": {password}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r.WithContext(contextOf(r, client)))
			return w.Code
		}
		evil, good := at("192.0.2.1"), at("198.51.100.1")
		begun := time.Now()
		for i := range 50 {
			if code := try(evil, []string{"define", "nobody"}[i%2], "wrong"); code != http.StatusForbidden {
				t.Fatalf("guess %d: %d", i, code)
			}
		}
		if took := time.Since(begun); took < 4*time.Minute {
			t.Errorf("50 guesses took %s", took)
		}
		// Many at once are not even looked at.
		codes := make(chan int, 50)
		for range 50 {
			go func() { codes <- try(evil, "define", "wrong") }()
		}
		refused := 0
		for range 50 {
			if <-codes == http.StatusTooManyRequests {
				refused++
			}
		}
		if refused < 30 {
			t.Errorf("%d of 50 at once were refused", refused)
		}
		begun = time.Now()
		if code := try(good, "define", "right"); code != http.StatusSeeOther || time.Since(begun) > 3*time.Second {
			t.Errorf("the user is answered %d after %s", code, time.Since(begun))
		}
		failed := 0
		for _, e := range f.events {
			if _, ok := e.(*SignInFailed); ok {
				failed++
			}
		}
		if failed != 100 {
			t.Errorf("%d events", failed)
		}
	})
}
