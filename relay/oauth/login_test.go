package oauth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
)

// typist is a person who does as told.
type typist struct {
	address, code string
	open          func(address string) // in the browser
	paste         string               // "": nothing, until the end
	eof           bool
}

func (p *typist) TypeCode(address, code string, _ time.Time) { p.address, p.code = address, code }

func (p *typist) Open(address string) {
	p.address = address
	if p.open != nil {
		p.open(address)
	}
}

func (p *typist) Paste(ctx context.Context) (string, error) {
	switch {
	case p.paste != "":
		return p.paste, nil
	case p.eof:
		return "", io.EOF
	}
	<-ctx.Done()
	return "", ctx.Err()
}

func TestDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w, dir := newIDP(t), &witness{}, t.TempDir()
		// 5 s, 5 s, then 10 s for good, and twice that after a time-out.
		p.device = []string{"authorization_pending", "slow_down", "authorization_pending"}
		p.answers = []func(http.ResponseWriter, *http.Request){nil, nil, nil, refuse(503, "", "")}
		tokens := New(Options{State: stateIn(dir), Transport: p, Events: w.tell})
		up := accountWith(config.FlowDevice)
		began, person := time.Now(), &typist{}
		st, err := tokens.Login(t.Context(), up, person)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 5*time.Second+5*time.Second+10*time.Second+10*time.Second+20*time.Second {
			t.Error(took)
		}
		if person.code != "ABCD-EFGH" || person.address != issuer+"/activate" || !st.Renewable || !st.Present {
			t.Errorf("%+v %+v", person, st)
		}
		if tok := onDisk(t, dir, up); tok.Refresh != p.refresh {
			t.Error("the login is not on disk")
		}
		if obtained, _ := w.told(); len(obtained) != 1 || obtained[0].Reason != Login {
			t.Errorf("%+v", obtained)
		}
		mustToken(t, New(Options{State: stateIn(dir), Transport: p}), up, "", "access-token-1")
	})
}

func TestDeviceEnds(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*idp)
		kind   Kind
		text   string
	}{
		"declined": {func(p *idp) { p.device = []string{"access_denied"} }, Refused, "declined"},
		"expired":  {func(p *idp) { p.device = []string{"authorization_pending", "expired_token"} }, NeedsLogin, "in time"},
		"never": {func(p *idp) {
			for range 1000 {
				p.device = append(p.device, "authorization_pending")
			}
		}, NeedsLogin, "in time"},
		"no endpoint":      {func(p *idp) { p.document = map[string]any{"device_authorization_endpoint": ""} }, Refused, `flow = "code"`},
		"no refresh token": {func(p *idp) { p.answers = append(p.answers, withoutRefresh) }, Refused, "offline_access"},
		"garbled": {func(p *idp) {
			p.answers = append(p.answers, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<p>Welcome") })
		}, Unreachable, "not a token"},
		"down": {func(p *idp) { p.down = syscall.ENETUNREACH }, Unreachable, "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, dir := newIDP(t), t.TempDir()
				c.change(p)
				_, err := New(Options{State: stateIn(dir), Transport: p}).Login(t.Context(), accountWith(config.FlowDevice), &typist{})
				var e *Error
				if !errors.As(err, &e) || e.Kind != c.kind || !strings.Contains(e.Text, c.text) {
					t.Error(err)
				}
				if tok := onDisk(t, dir, accountWith(config.FlowDevice)); tok != nil {
					t.Error("something was kept")
				}
			})
		})
	}
}

func withoutRefresh(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, 200, map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 60})
}

// How a client with a secret asks for a device code: the library leaves that out.
func TestDeviceProof(t *testing.T) {
	for _, style := range []string{"client_secret_basic", "client_secret_post", "nobody"} {
		synctest.Test(t, func(t *testing.T) {
			p := newIDP(t)
			p.document = map[string]any{"token_endpoint_auth_methods_supported": []string{style}}
			up := accountWith(config.FlowDevice)
			if style == "nobody" {
				up.OAuth.ClientSecret = config.Secret{}
			}
			var seen url.Values
			var basic string
			transport := observer{p, func(r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/devicecode") {
					body, _ := r.GetBody()
					text, _ := io.ReadAll(body)
					seen, _ = url.ParseQuery(string(text))
					_, basic, _ = r.BasicAuth()
				}
			}}
			if _, err := New(Options{State: stateIn(t.TempDir()), Transport: transport}).Login(t.Context(), up, &typist{}); err != nil {
				t.Fatal(style, err)
			}
			if seen.Get("client_id") != "the client" || (seen.Get("client_secret") == clientSecret) != (style == "client_secret_post") ||
				(basic != "") != (style == "client_secret_basic") {
				t.Error(style, seen, basic)
			}
		})
	}
}

type observer struct {
	next http.RoundTripper
	look func(*http.Request)
}

func (o observer) RoundTrip(r *http.Request) (*http.Response, error) {
	o.look(r)
	return o.next.RoundTrip(r)
}

// The browser runs here and comes back by itself.
func TestCodeByBrowser(t *testing.T) {
	for _, redirect := range []string{"http://127.0.0.1", "http://localhost", "http://127.0.0.1/callback"} {
		t.Run(redirect, func(t *testing.T) {
			p, dir := newIDP(t), t.TempDir()
			up := accountWith(config.FlowCode)
			up.OAuth.RedirectURL = redirect
			person := &typist{eof: true, open: func(address string) {
				back := p.browse(address)
				u, err := url.Parse(back)
				if err != nil || u.Port() == "" || !strings.HasPrefix(back, redirect[:len("http://127.0.0.1")]) {
					t.Errorf("%q, %v", back, err)
				}
				// A page that guesses learns nothing and breaks nothing.
				for _, wrong := range []string{"/?code=x&state=guess", "/", "/other?" + u.RawQuery, "/?error=access_denied"} {
					resp, err := http.Get("http://" + u.Host + wrong)
					if err != nil || resp.StatusCode != http.StatusBadRequest {
						t.Error(wrong, resp, err)
					}
				}
				resp, err := http.Get(back)
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Error(resp, err)
				}
			}}
			st, err := New(Options{State: stateIn(dir), Transport: p}).Login(t.Context(), up, person)
			if err != nil || !st.Renewable {
				t.Fatal(st, err)
			}
			if ask := p.asks[0]; ask.Get("code_verifier") == "" || ask.Has("scope") {
				t.Error(ask)
			}
		})
	}
}

// The browser runs elsewhere; what it ends at is pasted.
func TestCodeByPaste(t *testing.T) {
	decline := func(back string) string {
		u, _ := url.Parse(back)
		q := u.Query()
		q.Del("code")
		q.Set("error", "access_denied")
		q.Set("error_description", "no\x1b[2J thanks")
		u.RawQuery = q.Encode()
		return u.String()
	}
	for name, c := range map[string]struct {
		paste func(back string) string
		want  string // part of the error; "": none
	}{
		"address":       {func(back string) string { return "  " + back + "\r\n" }, ""},
		"query":         {func(back string) string { _, q, _ := strings.Cut(back, "?"); return q }, ""},
		"code":          {func(string) string { return "the-code\n" }, ""},
		"another login": {func(string) string { return "http://127.0.0.1/?code=the-code&state=other" }, "another login"},
		"declined":      {decline, "access_denied (no?[2J thanks)"},
		"nonsense":      {func(string) string { return "what do you mean?" }, "no code"},
		"wrong code":    {func(string) string { return "another-code" }, "invalid_grant"},
		"blank":         {func(string) string { return " \n" }, "nothing was pasted"},
		"other issuer":  {func(back string) string { return back + "&iss=https%3A%2F%2Fevil.example" }, "another issuer"},
		"its issuer":    {func(back string) string { return back + "&iss=" + url.QueryEscape(issuer) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newIDP(t)
			person := &typist{}
			person.open = func(address string) { person.paste = c.paste(p.browse(address)) }
			_, err := New(Options{State: stateIn(t.TempDir()), Transport: p}).Login(t.Context(), accountWith(config.FlowCode), person)
			var e *Error
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (!errors.As(err, &e) || !strings.Contains(e.Text, c.want)):
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// An address that is not of this machine has no listener; there is only the paste.
func TestCodeWithoutCallback(t *testing.T) {
	p := newIDP(t)
	up := accountWith(config.FlowCode)
	up.OAuth.RedirectURL = "https://app.example.com/callback"
	person := &typist{}
	person.open = func(address string) { person.paste = p.browse(address) }
	if _, err := New(Options{State: stateIn(t.TempDir()), Transport: p}).Login(t.Context(), up, person); err != nil {
		t.Error(err)
	}
	if p.back != up.OAuth.RedirectURL {
		t.Error(p.back)
	}
	_, err := New(Options{State: stateIn(t.TempDir()), Transport: p}).Login(t.Context(), up, &typist{eof: true, open: func(a string) { p.browse(a) }})
	if err == nil {
		t.Error("no error where nothing can come")
	}
}

func TestLoginIsGivenUp(t *testing.T) {
	for _, flow := range []config.Flow{config.FlowCode, config.FlowDevice} {
		p := newIDP(t)
		for range 100 {
			p.device = append(p.device, "authorization_pending")
		}
		ctx, cancel := context.WithCancel(t.Context())
		person := &typist{open: func(string) { cancel() }}
		if flow == config.FlowDevice {
			time.AfterFunc(20*time.Millisecond, cancel)
		}
		if _, err := New(Options{State: stateIn(t.TempDir()), Transport: p}).Login(ctx, accountWith(flow), person); !errors.Is(err, context.Canceled) {
			t.Error(flow, err)
		}
		cancel()
	}
}

// Where nobody has to log in, a login shows that it works, by a new token.
func TestLoginWithoutAPerson(t *testing.T) {
	p := newIDP(t)
	tokens := New(Options{State: stateIn(t.TempDir()), Transport: p})
	up := accountWith(config.FlowClientCredentials)
	for i := range 2 {
		st, err := tokens.Login(t.Context(), up, &typist{})
		if err != nil || !st.Present || p.asked() != i+1 {
			t.Error(st, err, p.asked())
		}
	}
	p.answers = append(p.answers, refuse(401, "invalid_client", "AADSTS7000222: expired"))
	_, err := tokens.Login(t.Context(), up, &typist{})
	var e *Error
	if !errors.As(err, &e) || e.Kind != Refused || !strings.Contains(e.Text, "AADSTS7000222") || !strings.Contains(e.Text, "expired") {
		t.Error(err)
	}
}
