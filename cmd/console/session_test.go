package console

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/relay/origin"
)

func contextOf(r *http.Request, c *Client) context.Context {
	return context.WithValue(r.Context(), connKey{}, c)
}

func at(address string) *Client {
	return &Client{Peer: address, Connection: func() origin.Key { return origin.Address(netip.MustParseAddr(address)) }}
}

// Sessions end by age, by idleness and by number.
func TestSessionsEnd(t *testing.T) {
	s, now := newSessions(), time.Now()
	first := s.begin("ann", "h", "", now)
	if s.find(first, "", now.Add(sessionIdle), false) == nil || s.find(first+"x", "", now, false) != nil || s.find("", "", now, false) != nil {
		t.Error("not as it began")
	}
	if s.find(first, "", now.Add(sessionIdle+time.Second), true) != nil {
		t.Error("it is idle, and goes on")
	}
	second := s.begin("ann", "h", "", now)
	for at := now; at.Before(now.Add(sessionAge)); at = at.Add(sessionIdle) {
		if s.find(second, "", at, true) == nil {
			t.Fatalf("over after %s", at.Sub(now))
		}
	}
	if s.find(second, "", now.Add(sessionAge+time.Second), true) != nil {
		t.Error("it is old, and goes on")
	}
	kept := s.begin("bob", "h", "", now)
	var mine []string
	for i := range maxOfUser + 5 {
		mine = append(mine, s.begin("eve", "h", "", now.Add(time.Duration(i))))
	}
	if s.find(mine[4], "", now, false) != nil || s.find(mine[5], "", now, false) == nil {
		t.Error("the oldest of a user does not make room")
	}
	for i := range 2 * maxSessions {
		s.begin(fmt.Sprint("user", i), "h", "", now.Add(time.Minute))
	}
	if len(s.all) != maxSessions || s.find(kept, "", now, false) != nil {
		t.Errorf("%d sessions", len(s.all))
	}
}

// A user who is gone, or has another password, is signed out; one whose role has
// changed has it at once.
func TestSessionFollowsTheConfiguration(t *testing.T) {
	f, s := newRelay(t)
	b := open(t, s, "operate")
	signedIn := func() bool { code, _, _ := b.get("/"); return code == http.StatusOK }
	if !signedIn() {
		t.Fatal("not signed in")
	}
	u := f.config.Console.Users["operate"]
	u.Role = "look"
	if code, _, _ := b.post("/queue/hold", nil); code != http.StatusForbidden {
		t.Errorf("%d", code)
	}
	old := u.Password
	u.Password = hash("another")
	if signedIn() {
		t.Error("the password has changed")
	}
	u.Password = old
	delete(f.config.Console.Users, "operate")
	if signedIn() {
		t.Error("the user is gone")
	}
}

// The cookie cannot be read by scripts or sent by other sites; signing out ends
// the session, not only the cookie.
func TestCookie(t *testing.T) {
	_, s := newRelay(t)
	b := open(t, s, "")
	u, _ := url.Parse(b.base)
	_, h, _ := b.post("/sign-in", url.Values{"name": {"look"}, "password": {"right"}})
	set := h.Get("Set-Cookie")
	for _, want := range []string{"postern-console-" + u.Port() + "=", "HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(set, want) {
			t.Errorf("%q has no %s", set, want)
		}
	}
	for host, want := range map[string]string{
		"console.example": "443", "console.example:8443": "8443", "[::1]:02590": "2590", "x:99999": "443", "x:1;a=b": "443", "": "443",
	} {
		if c := cookie("x", host, true); !c.Secure || c.Name != "__Host-postern-console-"+want || c.Domain != "" {
			t.Errorf("%q: %+v", host, c)
		}
	}
	stolen := b.http.Jar.Cookies(u)
	if code, _, _ := b.get("/queue"); code != http.StatusOK {
		t.Fatal(code)
	}
	// A second sign-in ends the first session.
	b.post("/sign-in", url.Values{"name": {"look"}, "password": {"right"}})
	current := b.http.Jar.Cookies(u)
	b.http.Jar.SetCookies(u, stolen)
	if code, _, _ := b.get("/queue"); code != http.StatusSeeOther {
		t.Errorf("the first session goes on: %d", code)
	}
	b.http.Jar.SetCookies(u, current)
	if code, _, _ := b.post("/sign-out", nil); code != http.StatusSeeOther {
		t.Error(code)
	}
	b.http.Jar.SetCookies(u, current)
	if code, _, _ := b.get("/queue"); code != http.StatusSeeOther {
		t.Errorf("signed out, and goes on: %d", code)
	}
}

// A page that renews itself keeps nobody signed in.
func TestLivePartsAreIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := newRelay(t)
		secret := s.sessions.begin("look", s.settings.Load().console.Users["look"].Password, "", time.Now())
		ask := func(live string) int {
			r, w := newAsk("/", secret, live)
			s.ServeHTTP(w, r)
			return w.Code
		}
		for range 100 {
			ask("1")
			time.Sleep(time.Minute)
		}
		if code := ask(""); code != http.StatusSeeOther {
			t.Errorf("%d", code)
		}
	})
}
