package console

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"postern/relay/origin"
)

// user is a program of this machine that runs as a user.
func user(uid uint32) *Client {
	return &Client{Peer: "127.0.0.1:4711", Connection: func() origin.Key { return origin.Local(uid) }}
}

// Browsers send the cookie to every port of a host. Whoever listens there as
// another user of this machine, and whoever takes it to another place than this
// machine, can do nothing with it.
func TestCookieThatANeighbourWasSent(t *testing.T) {
	f, s := newRelay(t)
	gone := &Client{Peer: "127.0.0.1:4711", Connection: func() origin.Key { return origin.Gone(netip.MustParseAddr("127.0.0.1")) }}
	ask := func(c *Client, secret string) int {
		r, w := newAsk("/queue", secret, "")
		s.ServeHTTP(w, r.WithContext(contextOf(r, c)))
		return w.Code
	}
	hash := f.config.Console.Users["look"].Password
	for _, c := range []struct {
		name          string
		begun, stolen *Client
		good          bool
	}{
		{"the same user", user(1000), user(1000), true},
		{"another user", user(1000), user(33), false},
		{"another machine", user(1000), at("192.0.2.1"), false},
		{"from elsewhere, and then by a program of this machine", at("192.0.2.1"), user(33), false},
		{"a browser whose address changes", at("192.0.2.1"), at("2001:db8::1"), true},
		{"a connection that was closed", user(1000), gone, false},
		{"one that was closed from the beginning", gone, gone, false},
	} {
		secret := s.sessions.begin("look", hash, placeOf(c.begun), time.Now())
		if good := ask(c.stolen, secret) == http.StatusOK; good != c.good {
			t.Errorf("%s: %t", c.name, good)
		}
	}
}

// Another port of the host can set cookies that come before ours, of any name and
// path: nobody is signed out by it, and nobody acts as another user.
func TestCookieThatANeighbourHasSet(t *testing.T) {
	f, s := newRelay(t)
	hash := f.config.Console.Users["operate"].Password
	mine := s.sessions.begin("operate", hash, placeOf(user(1000)), time.Now())
	theirs := s.sessions.begin("look", f.config.Console.Users["look"].Password, placeOf(user(33)), time.Now())
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:2590/queue/hold", strings.NewReader(url.Values{"id": {"0"}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, value := range []string{"", "nothing", theirs, mine} {
		r.AddCookie(&http.Cookie{Name: "postern-console-2590", Value: value})
	}
	r.AddCookie(&http.Cookie{Name: "postern-console-80", Value: theirs}) // of a console at another port
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r.WithContext(contextOf(r, user(1000))))
	if w.Code != http.StatusBadRequest { // which only who may operate is told of an ID
		t.Errorf("%d %s", w.Code, w.Header())
	}
}

// A page of another site or port cannot have anything of the console in itself,
// also where the browser sends the cookie along; a link to it works.
func TestEmbedded(t *testing.T) {
	f, s := newRelay(t)
	secret := s.sessions.begin("look", f.config.Console.Users["look"].Password, "", time.Now())
	for _, c := range []struct {
		site, mode, dest string
		want             int
	}{
		{"same-site", "no-cors", "image", 403}, {"same-site", "no-cors", "script", 403}, {"same-site", "navigate", "iframe", 403},
		{"same-site", "cors", "empty", 403}, {"cross-site", "no-cors", "style", 403}, {"cross-site", "navigate", "object", 403},
		{"same-site", "navigate", "document", 200}, {"cross-site", "navigate", "document", 200}, {"none", "navigate", "document", 200},
		{"same-origin", "cors", "empty", 200}, {"", "", "", 200},
	} {
		for _, path := range []string{"/", "/queue", "/assets/console.css"} {
			r, w := newAsk(path, secret, "")
			for name, value := range map[string]string{"Sec-Fetch-Site": c.site, "Sec-Fetch-Mode": c.mode, "Sec-Fetch-Dest": c.dest} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			if s.ServeHTTP(w, r); w.Code != c.want {
				t.Errorf("%s for %+v: %d", path, c, w.Code)
			}
		}
	}
}
