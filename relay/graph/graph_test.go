package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/relay/directory"
	"postern/relay/graph/graphtest"
)

// fixture is a server with the settings for it.
type fixture struct{ *graphtest.Server }

func newFixture(t *testing.T) *fixture { return &fixture{graphtest.New(t)} }

func (f *fixture) book(what ...string) *config.Book {
	if what == nil {
		what = []string{"users", "orgcontacts", "groups", "contacts:office@corp.test"}
	}
	return &config.Book{Name: "m365", Provider: config.BookGraph, URL: f.URL + "/v1.0", What: what, Directory: config.Directory{
		Timeout: 5 * time.Second, Cache: time.Hour, Max: 50, Account: config.Account{Name: "book:m365", OAuth: &config.OAuth{ClientID: "client"}},
	}}
}

// tokens gives a stale token first, and then the good one.
type tokens struct{ list []string }

func (s *tokens) Token(_ context.Context, _ *config.Account, refused string) (string, error) {
	if refused != "" && len(s.list) > 1 {
		s.list = s.list[1:]
	}
	if len(s.list) == 0 {
		return "", errors.New("nobody has logged in")
	}
	return s.list[0], nil
}

func (f *fixture) graph(what ...string) *Graph {
	g := New("the book m365", f.book(what...))
	g.UseTokens(&tokens{[]string{"stale", "good"}})
	return g
}

func names(a *directory.Answer) string {
	var all []string
	for _, e := range a.Entries {
		all = append(all, e.Name+" <"+e.Address()+">")
	}
	return strings.Join(all, ", ")
}

// Every question finds who it is about, in every part, over several pages, with a
// token that is renewed, and nobody who is hidden.
func TestQuestions(t *testing.T) {
	f := newFixture(t)
	f.Page = 1
	g := f.graph()
	ask := func(what string, question func(context.Context, string, int) (*directory.Answer, error), text, want string) {
		t.Helper()
		a, err := question(t.Context(), text, 10)
		if err != nil {
			t.Errorf("%s %q: %v", what, text, err)
		} else if got := names(a); got != want {
			t.Errorf("%s %q: %s; want %s", what, text, got, want)
		}
	}
	ask("find", g.Find, "ali", "Alice Liddell <alice@corp.test>, Ali Outside <ali@partner.test>")
	ask("find", g.Find, "admin", "")
	ask("find", g.Find, "carol cust", "Carol Customer <carol@customer.test>")
	ask("find", g.Find, "sales", "Sales <sales@corp.test>")
	ask("find", g.Find, `x" OR "mail:alice`, "")
	ask("exact", g.Exact, "alice liddell", "Alice Liddell <alice@corp.test>")
	ask("exact", g.Exact, "LIDDELL@corp.test", "Alice Liddell <alice@corp.test>")
	ask("exact", g.Exact, "alice@login.example", "Alice Liddell <alice@corp.test>")
	ask("exact", g.Exact, "bob o'brien", "Bob O'Brien <bob@corp.test>")
	ask("exact", g.Exact, "x' or mail ne null or 'a' eq 'a", "")
	ask("exact", g.Exact, "twin same", "Twin Same <twin1@corp.test>, Twin Same <twin2@corp.test>")
	ask("exact", g.Exact, "cc", "Carol Customer <carol@customer.test>")
	ask("exact", g.Exact, "Ali", "Ali Outside <ali@partner.test>") // by mailNickname
	ask("prefix", g.Prefix, "lid", "Alice Liddell <alice@corp.test>")
	ask("prefix", g.Prefix, "cust", "Carol Customer <carol@customer.test>")
	ask("groups", g.Groups, "", "Sales <sales@corp.test>")
	ask("groups", g.Groups, "secure", "Secure <>")
	if a, err := g.Find(t.Context(), "twin", 1); err != nil || len(a.Entries) != 1 || !a.More {
		t.Errorf("%+v, %v", a, err)
	}
	for _, r := range f.Asked() {
		if r.Header.Get("ConsistencyLevel") != "eventual" || r.Method != http.MethodGet {
			t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
		}
	}
	n := len(f.Asked())
	if _, err := g.Find(t.Context(), "ali", 10); err != nil || len(f.Asked()) != n {
		t.Errorf("asked again within a minute: %v", err)
	}
}

func TestExpand(t *testing.T) {
	f := newFixture(t)
	f.Page = 2
	g := f.graph()
	sales, err := g.Groups(t.Context(), "sales", 10)
	if err != nil || len(sales.Entries) != 1 {
		t.Fatal(sales, err)
	}
	x, err := g.Expand(t.Context(), sales.Entries[0], 100)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, m := range x.Members {
		got += m.Name + " <" + m.Address + "> by " + strings.Join(m.Path, " > ") + "\n"
	}
	want := "Alice Liddell <alice@corp.test> by Sales\nBob O'Brien <bob@corp.test> by Sales\nAli Outside <ali@partner.test> by Sales\n"
	if got != want || !slices.Equal(x.Missing, []string{"Admin Only has no address"}) {
		t.Errorf("%s%q", got, x.Missing)
	}
	var many *directory.TooMany
	if _, err := g.Expand(t.Context(), sales.Entries[0], 2); !errors.As(err, &many) || many.Limit != 2 {
		t.Errorf("3 of 2: %v", err)
	}
	f.Data["/groups/g1/transitiveMembers"] = []map[string]any{{"@odata.type": "#microsoft.graph.user", "id": "1", "displayName": nil, "mail": nil, "proxyAddresses": nil}}
	var away *directory.Away
	if _, err := f.graph().Expand(t.Context(), sales.Entries[0], 100); !errors.As(err, &away) || !strings.Contains(err.Error(), "does not tell who the members are") {
		t.Errorf("members that may not be read: %v", err)
	}
}

// What a server does wrong, or doesn't let us do, is told, and never taken for an
// answer.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		instead func(f *fixture, w http.ResponseWriter, r *http.Request)
		want    string
		hint    string
	}{
		"not granted": {func(_ *fixture, w http.ResponseWriter, _ *http.Request) {
			graphtest.Deny(w, 403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
		}, "users: it answers 403 Forbidden, Authorization_RequestDenied: Insufficient privileges", "User.Read.All"},
		"no token is good": {func(_ *fixture, w http.ResponseWriter, _ *http.Request) {
			graphtest.Deny(w, 401, "InvalidAuthenticationToken", "x")
		}, "401", "the token is not for"},
		"throttled for long": {func(_ *fixture, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "600")
			graphtest.Deny(w, 429, "TooManyRequests", "x")
		}, "429 Too Many Requests", "10m0s"},
		"leads to another host": {func(_ *fixture, w http.ResponseWriter, _ *http.Request) {
			json.NewEncoder(w).Encode(map[string]any{"value": []any{}, "@odata.nextLink": "https://evil.example/v1.0/users"})
		}, "another host, which gets no token", ""},
		"leads to http": {func(f *fixture, w http.ResponseWriter, _ *http.Request) {
			json.NewEncoder(w).Encode(map[string]any{"value": []any{}, "@odata.nextLink": strings.Replace(f.URL, "http://", "http://x@", 1)})
		}, "another host", ""},
		"redirects": {func(_ *fixture, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example/", http.StatusFound)
		}, "302 Found", ""},
		"pages without end": {func(f *fixture, w http.ResponseWriter, r *http.Request) {
			json.NewEncoder(w).Encode(map[string]any{"value": []any{}, "@odata.nextLink": f.URL + "/v1.0/users?$skiptoken=1"})
		}, "its answer has no end", ""},
		"no JSON":    {func(_ *fixture, w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "does not answer as Microsoft Graph does", ""},
		"wrong JSON": {func(_ *fixture, w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"value":{"id":[]}}`) }, "does not answer as Microsoft Graph does", ""},
		"deep JSON": {func(_ *fixture, w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"value":`+strings.Repeat("[", 1<<20))
		}, "does not answer as Microsoft Graph does", ""},
		"too large": {func(_ *fixture, w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"value":[{"id":"`)
			for range 17 << 4 {
				fmt.Fprint(w, strings.Repeat("x", 1<<16))
			}
		}, "its answer is too large", ""},
		"too many": {func(_ *fixture, w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"value":[`+strings.Repeat("{},", maxItems)+"{}]}")
		}, "its answer is too large", ""},
		"half an answer": {func(_ *fixture, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"value":[]}`)
		}, "unexpected EOF", ""},
		"hostile text": {func(_ *fixture, w http.ResponseWriter, _ *http.Request) {
			graphtest.Deny(w, 400, "Bad", "a\x1b[31m\nb")
		}, "400 Bad Request, Bad: a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.Instead = func(w http.ResponseWriter, r *http.Request) bool { c.instead(f, w, r); return true }
			g := f.graph()
			began := time.Now()
			_, err := g.Find(t.Context(), "alice", 10)
			var away *directory.Away
			if !errors.As(err, &away) || !strings.Contains(err.Error(), c.want) || !strings.Contains(away.Hint, c.hint) {
				t.Errorf("%v; hint %q", err, away)
			}
			if strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("%q", err)
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// Nobody asks again for a minute after a failure, but where the question was at
// fault or whoever asked went away.
func TestAway(t *testing.T) {
	f := newFixture(t)
	status := 500
	f.Instead = func(w http.ResponseWriter, _ *http.Request) bool {
		graphtest.Deny(w, status, "x", "y")
		return true
	}
	g := f.graph("users")
	for range 3 {
		if _, err := g.Find(t.Context(), "bob", 10); err == nil {
			t.Error("an answer that nobody gave")
		}
	}
	if len(f.Asked()) != 1 {
		t.Errorf("asked %d times", len(f.Asked()))
	}
	status = 400
	g = f.graph("users")
	for range 3 {
		if _, err := g.Find(t.Context(), "bob", 10); err == nil {
			t.Error("an answer that nobody gave")
		}
	}
	if len(f.Asked()) != 4 {
		t.Errorf("asked %d times", len(f.Asked()))
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	f.Instead = nil
	if _, err := g.Find(gone, "bob", 10); err == nil {
		t.Error("an answer for nobody")
	}
	if a, err := g.Find(t.Context(), "bob", 10); err != nil || len(a.Entries) != 1 {
		t.Error(a, err)
	}
}

// A throttled question comes again when it is wanted to.
func TestThrottled(t *testing.T) {
	f := newFixture(t)
	times := 0
	f.Instead = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "Bearer good" {
			return false
		}
		if times++; times == 1 {
			w.Header().Set("Retry-After", "1")
			graphtest.Deny(w, 429, "TooManyRequests", "x")
			return true
		}
		return false
	}
	began := time.Now()
	a, err := f.graph("users").Exact(t.Context(), "alice@corp.test", 10)
	if err != nil || names(a) != "Alice Liddell <alice@corp.test>" || time.Since(began) < time.Second {
		t.Errorf("%v, %v after %v", a, err, time.Since(began))
	}
}

func TestTest(t *testing.T) {
	f := newFixture(t)
	all, ok := f.graph().Test(t.Context())
	got := ""
	for _, p := range all {
		got += fmt.Sprintf("%s as %s: %d, %d %s\n", strings.TrimPrefix(p.URL, f.URL), p.As, p.People, p.Groups, p.Error)
	}
	want := "/v1.0/users as client: 5, 0 \n/v1.0/contacts as client: 1, 0 \n/v1.0/groups as client: 0, 1 \n/v1.0/users/office@corp.test/contacts as client: 2, 0 \n"
	if got != want || !ok {
		t.Errorf("%s, %v; want\n%s", got, ok, want)
	}
	g := f.graph("contacts:nobody@corp.test")
	if all, ok := g.Test(t.Context()); ok || !strings.Contains(all[0].Error, "Request_ResourceNotFound") {
		t.Errorf("%+v", all)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for s, want := range map[string]time.Duration{
		"": 0, "x": 0, "-1": 0, "7": 7 * time.Second, "999999": time.Hour, "Fri, 02 Jan 2026 03:05:05 GMT": time.Minute,
		"Fri, 02 Jan 2026 03:00:00 GMT": 0, "99999999999999999999": 0,
	} {
		if got := retryAfter(s, now); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}
