package oauth

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"golang.org/x/oauth2"
	"pgregory.net/rapid"

	"postern/config"
)

func TestMicrosoft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP(t)
		up := accountWith(config.FlowDevice)
		up.OAuth.Provider, up.OAuth.Tenant, up.OAuth.ClientSecret = config.OAuthMicrosoft365, "example.onmicrosoft.com", config.Secret{}
		up.OAuth.Scopes = []string{"https://outlook.office.com/SMTP.Send", "offline_access"}
		tokens := New(Options{State: stateIn(t.TempDir()), Transport: p})
		if _, err := tokens.Login(t.Context(), up, &typist{}); err != nil {
			t.Fatal(err)
		}
		mustToken(t, tokens, up, "access-token-1", "access-token-2")
		base := "POST https://login.microsoftonline.com/example.onmicrosoft.com/oauth2/v2.0/"
		if want := []string{base + "devicecode", base + "token", base + "token"}; !slices.Equal(p.paths, want) {
			t.Error(p.paths)
		}
		if ask := p.asks[1]; ask.Get("scope") != strings.Join(up.OAuth.Scopes, " ") || ask.Get("client_id") != "the client" {
			t.Error(ask)
		}
	})
}

func TestGoogle(t *testing.T) {
	p := newIDP(t)
	up := accountWith(config.FlowCode)
	up.OAuth.Provider, up.OAuth.Scopes = config.OAuthGoogle, []string{"https://mail.google.com/"}
	person := &typist{}
	person.open = func(address string) { person.paste = p.browse(address) }
	tokens := New(Options{State: stateIn(t.TempDir()), Transport: p})
	if _, err := tokens.Login(t.Context(), up, person); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(person.address)
	if err != nil || u.Host != "accounts.google.com" || u.Query().Get("access_type") != "offline" ||
		u.Query().Get("prompt") != "consent" || u.Query().Get("scope") != "https://mail.google.com/" {
		t.Error(u, err)
	}
	if p.paths[0] != "POST "+googleToken || p.asks[0].Get("client_secret") != clientSecret || p.basic[0] != "" {
		t.Error(p.paths, p.asks[0], p.basic) // Google takes secrets in the form only
	}
}

func TestDiscovery(t *testing.T) {
	for name, c := range map[string]struct {
		document map[string]any
		kind     Kind
		text     string // of the error; empty: none
	}{
		"good":          {nil, 0, ""},
		"with a slash":  {map[string]any{"issuer": issuer + "/"}, 0, ""},
		"another":       {map[string]any{"issuer": "https://evil.example"}, Refused, "calls itself https://evil.example"},
		"no issuer":     {map[string]any{"issuer": nil}, Refused, "check issuer"},
		"in clear":      {map[string]any{"token_endpoint": "http://idp.example/token"}, Refused, "without TLS"},
		"device clear":  {map[string]any{"device_authorization_endpoint": "http://idp.example/x"}, Refused, "without TLS"},
		"this machine":  {map[string]any{"token_endpoint": "http://127.0.0.1:25/"}, Refused, "on this machine"},
		"this host":     {map[string]any{"device_authorization_endpoint": "https://LOCALHOST/"}, Refused, "on this machine"},
		"no endpoint":   {map[string]any{"token_endpoint": ""}, Refused, "no token endpoint"},
		"user info":     {map[string]any{"token_endpoint": "https://a:b@idp.example/token"}, Refused, "without TLS"},
		"not that type": {map[string]any{"token_endpoint": 7}, Unreachable, "cannot be read"},
	} {
		p := newIDP(t)
		p.document = c.document
		got, err := New(Options{State: stateIn(t.TempDir()), Transport: p}).Token(t.Context(), accountWith(config.FlowClientCredentials), "")
		if c.text == "" {
			if err != nil || got == "" {
				t.Error(name, err)
			}
			continue
		}
		if e, ok := err.(*Error); !ok || e.Kind != c.kind || !strings.Contains(e.Text, c.text) || p.asked() != 0 {
			t.Error(name, err)
		}
	}
}

// A document is read once an hour; where there is none, that is not for ever.
func TestDiscoveryIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP(t)
		p.life = 20 * time.Minute
		tokens := New(Options{State: stateIn(t.TempDir()), Transport: p})
		up := accountWith(config.FlowClientCredentials)
		for range 6 {
			if _, err := tokens.Token(t.Context(), up, ""); err != nil {
				t.Fatal(err)
			}
			time.Sleep(p.life)
		}
		read := 0
		for _, path := range p.paths {
			if strings.HasPrefix(path, "GET ") {
				read++
			}
		}
		if read != 2 || p.asked() != 6 {
			t.Errorf("read %d times, asked %d times", read, p.asked())
		}
	})
	for status, kind := range map[int]Kind{404: Refused, 503: Unreachable, 429: Unreachable, 301: Refused} {
		gone := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		tokens := New(Options{State: stateIn(t.TempDir()), Transport: handled{gone}})
		mustFail(t, tokens, accountWith(config.FlowClientCredentials), "", kind)
	}
}

type handled struct{ http.Handler }

func (h handled) RoundTrip(r *http.Request) (*http.Response, error) { return roundTrip(h, r) }

// A redirect would carry the secret to wherever it points.
func TestNoRedirect(t *testing.T) {
	p := newIDP(t)
	for range 4 {
		p.answers = append(p.answers, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://evil.example/token")
			w.WriteHeader(http.StatusTemporaryRedirect)
		})
	}
	mustFail(t, New(Options{State: stateIn(t.TempDir()), Transport: p}), accountWith(config.FlowClientCredentials), "", Unreachable)
	for _, path := range p.paths {
		if strings.Contains(path, "evil") {
			t.Error(path)
		}
	}
}

// Without TLS nothing goes out, whatever the configuration let through.
func TestGuard(t *testing.T) {
	p := newIDP(t)
	up := accountWith(config.FlowClientCredentials)
	up.OAuth.Issuer = "http://idp.example"
	mustFail(t, New(Options{State: stateIn(t.TempDir()), Transport: p}), up, "", Unreachable)
	if len(p.paths) != 0 {
		t.Error(p.paths)
	}
	for raw, want := range map[string]bool{
		"https://a.example/t": true, "http://127.0.0.1:9/t": true, "http://[::1]/t": true, "http://LOCALHOST/": true,
		"http://a.example/t": false, "http://127.0.0.1.example/": false, "https://": false, "": false,
		"https://a.example/#f": false, "ftp://a.example/": false, "https://u@a.example/": false, "//a.example/": false,
	} {
		if secure(raw) != want {
			t.Errorf("secure(%q) is not %v", raw, want)
		}
	}
}

func TestStyle(t *testing.T) {
	for _, c := range []struct {
		methods []string
		want    oauth2.AuthStyle
	}{
		{nil, oauth2.AuthStyleInHeader},
		{[]string{"client_secret_post", "client_secret_basic"}, oauth2.AuthStyleInHeader},
		{[]string{"client_secret_post"}, oauth2.AuthStyleInParams},
		{[]string{"private_key_jwt"}, oauth2.AuthStyleInParams},
	} {
		if styleOf(c.methods) != c.want {
			t.Error(c)
		}
	}
}

// A token of another kind, or with what could break out of a line of SMTP.
func TestNotAToken(t *testing.T) {
	for name, answer := range map[string]map[string]any{
		"mac":      {"access_token": "a", "token_type": "mac"},
		"control":  {"access_token": "a\x01auth=Bearer b", "token_type": "Bearer"},
		"newline":  {"access_token": "a\r\nQUIT", "token_type": "Bearer"},
		"long":     {"access_token": strings.Repeat("a", maxToken+1), "token_type": "Bearer"},
		"none":     {"token_type": "Bearer"},
		"refresh":  {"access_token": "a", "token_type": "Bearer", "refresh_token": "a b"},
		"not text": {"access_token": 7},
	} {
		p := newIDP(t)
		p.answers = append(p.answers, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, answer) })
		got, err := New(Options{State: stateIn(t.TempDir()), Transport: p}).Token(t.Context(), accountWith(config.FlowClientCredentials), "")
		if err == nil || got != "" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// What is shown is one printable line without a secret, whatever comes.
func TestClean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[A-Za-z0-9+/=._-]{8,40}`).Draw(t, "secret")
		text := rapid.String().Draw(t, "before") + secret + rapid.String().Draw(t, "after") + url.QueryEscape(secret)
		got := clean(text, []string{secret})
		if strings.Contains(got, secret) || strings.ContainsAny(got, "\r\n\x00\x1b") || len(got) > maxDescription+len("…") {
			t.Fatalf("%q", got)
		}
	})
}

// Whatever a provider answers, to discovery, to a device or to a grant: what
// is taken for a token can stand in a line of AUTH, and what is not is one
// printable line without a secret.
func FuzzAnswer(f *testing.F) {
	f.Add(200, "application/json", `{"access_token":"abc","token_type":"Bearer","expires_in":3600,"refresh_token":"def"}`)
	f.Add(200, "application/x-www-form-urlencoded", "access_token=a%0Ab&token_type=bearer&expires_in=-1")
	f.Add(200, "application/json", `{"access_token":"a\r\nb","token_type":"mac","expires_in":"1e99"}`)
	f.Add(400, "application/json", `{"error":"invalid_grant","error_description":"hidden-secret \u001b[2J"}`)
	f.Add(200, "application/json", `{"issuer":"https://idp.example","token_endpoint":"http://idp.example/token"}`)
	f.Add(200, "application/json", `{"device_code":"hidden","user_code":"WXYZ","verification_uri":"https://idp.example/go","interval":-5,"expires_in":99999999999}`)
	f.Add(503, "text/html", "<html>")
	f.Fuzz(func(t *testing.T, status int, kind, body string) {
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(100 + (status%900+900)%900)
			w.Write([]byte(body))
		})
		web := newHTTP(transportOf{h}, nil)
		c := &client{http: web, at: endpoints{token: "https://idp.example/token", device: "https://idp.example/device"},
			conf: &config.OAuth{ClientID: "relay", ClientSecret: config.NewSecret("hidden-secret"), Flow: config.FlowClientCredentials}}
		tok, err := c.ask(t.Context(), url.Values{"grant_type": {"client_credentials"}}, true)
		if err == nil && !wellFormed(tok.AccessToken) {
			t.Errorf("a token: %q", tok.AccessToken)
		}
		_, found := discover(t.Context(), web, "https://idp.example")
		_, shown := c.deviceCode(t.Context())
		for _, err := range []error{err, shown} {
			checkOneLine(t, err)
		}
		if found != nil {
			checkOneLine(t, found)
		}
	})
}

func checkOneLine(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	text := err.Error()
	if _, ok := errors.AsType[*Error](err); !ok || strings.ContainsFunc(text, unicode.IsControl) || strings.Contains(text, "hidden-secret") || len(text) > 1000 {
		t.Errorf("%T %q", err, text)
	}
}

// transportOf reaches a handler without a socket.
type transportOf struct{ http.Handler }

func (h transportOf) RoundTrip(r *http.Request) (*http.Response, error) {
	return roundTrip(h.Handler, r)
}

// Pasted text never makes trouble of another kind than an error.
func FuzzPaste(f *testing.F) {
	f.Add("http://127.0.0.1:1/?code=a&state=b")
	f.Add("code=%zz")
	f.Add("4/0AX4XfWh%2Fx")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := parsePaste(text)
		if err != nil {
			return
		}
		c := &client{conf: &config.OAuth{}}
		if code, err := c.codeOf(values, "state"); err == nil && !wellFormed(code) {
			t.Errorf("%q", code)
		}
	})
}
