package console

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/relay/oauth"
)

// provider is where somebody types a code, or not.
type provider struct {
	shown chan ShowCode // who is to see the code
	typed chan error    // how it ends
	by    chan string
}

func (p *provider) login(ctx context.Context, upstream, operator string, show ShowCode) error {
	p.by <- upstream + " by " + operator
	p.shown <- show
	select {
	case err := <-p.typed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A code is shown with its address, and what became of it. It is for the session
// alone that has asked for it.
func TestDeviceLogin(t *testing.T) {
	f, s := newRelay(t)
	p := &provider{make(chan ShowCode, 1), make(chan error, 1), make(chan string, 1)}
	s.Login = p.login
	f.config.Upstreams["office"] = &config.Upstream{Account: config.Account{Name: "office", OAuth: &config.OAuth{Flow: config.FlowDevice}}}
	b := open(t, s, "operate")
	if _, _, body := b.get("/upstreams/office"); !strings.Contains(body, `formaction="/upstreams/office/login"`) {
		t.Error("nobody can log in")
	}
	begin := func() (page string, next func() (string, string)) {
		code, h, body := b.post("/upstreams/office/login", nil)
		page = h.Get("Location")
		if code != http.StatusSeeOther || !strings.HasPrefix(page, "/logins/") {
			t.Fatal(code, body)
		}
		if by := <-p.by; by != "office by console:operate" {
			t.Error(by)
		}
		_, next, _ = b.follow(page + "/stream")
		(<-p.shown)("https://login.example/device?"+hostile, "ABCD-EFGH"+hostile, time.Now().Add(time.Minute))
		return page, next
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "Done:"}, {&oauth.Error{Kind: oauth.Refused, Text: "the login was declined " + hostile}, "Refused:"},
		{&oauth.Error{Kind: oauth.NeedsLogin, Text: "nobody typed the code in time"}, "Ended:"}, {errors.New("no network"), "no network"},
	} {
		page, next := begin()
		data := until(t, next, "ABCD-EFGH")
		if !strings.Contains(data, "https://login.example/device?") || strings.Contains(data, "<img") {
			t.Error(data)
		}
		if _, _, body := b.get(page); !strings.Contains(body, "ABCD-EFGH") || !strings.Contains(body, `http-equiv="refresh"`) || strings.Contains(body, "<img") {
			t.Error(body)
		}
		p.typed <- c.err
		if data := until(t, next, c.want); strings.Contains(data, "ABCD") || strings.Contains(data, "<img") || !strings.Contains(data, "data-over") {
			t.Error(data)
		}
		if event, _ := next(); event != "over" {
			t.Error(event)
		}
	}
	page, next := begin()
	other := open(t, serverOf(s, f), "operate")
	if code, _, _ := other.get(page); code != http.StatusNotFound {
		t.Error(code)
	}
	if code, _, _ := b.post(page+"/end", nil); code != http.StatusSeeOther {
		t.Error(code)
	}
	until(t, next, "it was given up")
	if code, _, _ := b.get(strings.Replace(page, "/logins/", "/tests/", 1)); code != http.StatusNotFound {
		t.Error(code)
	}
	for range logins {
		begin()
	}
	if code, _, _ := b.post("/upstreams/office/login", nil); code != http.StatusConflict {
		t.Errorf("one too many: %d", code)
	}
}

// A panic over what a provider says ends the login and nothing else.
func TestPanicWhileLoggingIn(t *testing.T) {
	_, s := newRelay(t)
	s.Login = func(context.Context, string, string, ShowCode) error { panic("a defect") }
	b := open(t, s, "operate")
	_, h, _ := b.post("/upstreams/office/login", nil)
	_, next, _ := b.follow(h.Get("Location") + "/stream")
	if data := until(t, next, "Refused:"); !strings.Contains(data, "defect") {
		t.Error(data)
	}
}
