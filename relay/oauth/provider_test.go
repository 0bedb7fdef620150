package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/spool/statefile"
)

const (
	issuer       = "https://idp.example"
	clientSecret = "cl1ent/secret+of the=relay"
	user         = "billing@example.com"
)

// idp is a provider: discovery, device, browser, and a token endpoint whose
// refresh tokens are good once. Requests reach it without a socket, so that
// it lives in the time of synctest.
type idp struct {
	t *testing.T

	mu       sync.Mutex
	life     time.Duration // of access tokens; 0: it does not say
	keep     bool          // refresh tokens are not rotated
	ends     func() any    // when refresh tokens do, in seconds from now; nil: it does not say
	same     bool          // it gives the same access token again and again
	latency  time.Duration
	down     error                                      // of the network
	answers  []func(http.ResponseWriter, *http.Request) // in place of its own, one for each ask
	document map[string]any                             // changes to the discovery document
	device   []string                                   // error codes before the device's token

	issued  int
	refresh string // the one that is good
	code    string // of the browser, with its challenge
	chal    string
	back    string
	asks    []url.Values // of the token endpoint
	paths   []string     // of every request
	basic   []string     // user:password of the last
}

func newIDP(t *testing.T) *idp { return &idp{t: t, life: time.Hour} }

func (p *idp) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	down, latency := p.down, p.latency
	p.mu.Unlock()
	if latency > 0 {
		select {
		case <-time.After(latency):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if down != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: down}
	}
	return roundTrip(p, r)
}

// roundTrip reaches a handler without a socket.
func roundTrip(h http.Handler, r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func (p *idp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paths = append(p.paths, r.Method+" "+r.URL.Scheme+"://"+r.URL.Host+r.URL.Path)
	_ = r.ParseForm()
	name, password, _ := r.BasicAuth()
	p.basic = []string{name, password}
	if strings.HasSuffix(r.URL.Path, "/token") {
		p.asks = append(p.asks, maps.Clone(r.PostForm))
		if len(p.answers) > 0 {
			answer := p.answers[0]
			p.answers = p.answers[1:]
			if answer != nil {
				answer(w, r)
				return
			}
		}
		p.token(w, r.PostForm)
		return
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
		doc := map[string]any{
			"issuer": issuer, "authorization_endpoint": issuer + "/auth", "token_endpoint": issuer + "/token",
			"device_authorization_endpoint": issuer + "/devicecode",
		}
		maps.Copy(doc, p.document)
		writeJSON(w, 200, doc)
	case strings.HasSuffix(r.URL.Path, "/devicecode"):
		writeJSON(w, 200, map[string]any{
			"device_code": "device-code", "user_code": "ABCD-EFGH", "verification_uri": issuer + "/activate",
			"expires_in": 600, "interval": 5,
		})
	default:
		http.NotFound(w, r)
	}
}

func (p *idp) token(w http.ResponseWriter, form url.Values) {
	switch grant := form.Get("grant_type"); grant {
	case "refresh_token":
		if form.Get("refresh_token") != p.refresh || p.refresh == "" {
			writeJSON(w, 400, map[string]any{"error": "invalid_grant", "error_description": "the refresh token is used up"})
			return
		}
	case "authorization_code":
		sum := sha256.Sum256([]byte(form.Get("code_verifier")))
		if form.Get("code") != p.code || base64.RawURLEncoding.EncodeToString(sum[:]) != p.chal || form.Get("redirect_uri") != p.back {
			writeJSON(w, 400, map[string]any{"error": "invalid_grant"})
			return
		}
	case "urn:ietf:params:oauth:grant-type:device_code":
		if len(p.device) > 0 {
			code := p.device[0]
			p.device = p.device[1:]
			writeJSON(w, 400, map[string]any{"error": code})
			return
		}
	case "client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer":
	default:
		writeJSON(w, 400, map[string]any{"error": "unsupported_grant_type"})
		return
	}
	writeJSON(w, 200, p.issue())
}

// issue gives out a pair of tokens.
func (p *idp) issue() map[string]any {
	if !p.same || p.issued == 0 {
		p.issued++
	}
	if !p.keep || p.refresh == "" {
		p.refresh = fmt.Sprintf("refresh-token-%d", p.issued)
	}
	answer := map[string]any{
		"access_token": fmt.Sprintf("access-token-%d", p.issued), "token_type": "bearer", "refresh_token": p.refresh,
	}
	if p.life > 0 {
		answer["expires_in"] = int(p.life.Seconds())
	}
	if p.ends != nil {
		answer["refresh_token_expires_in"] = p.ends()
	}
	return answer
}

// browse is what a browser does at the address that the terminal shows, when
// its user agrees: it returns the address that it is sent to.
func (p *idp) browse(address string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	u, err := url.Parse(address)
	if err != nil {
		p.t.Error(err)
	}
	q := u.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("response_type") != "code" || q.Get("state") == "" {
		p.t.Errorf("the browser is sent to %s", address)
	}
	p.code, p.chal, p.back = "the-code", q.Get("code_challenge"), q.Get("redirect_uri")
	return p.back + "?" + url.Values{"code": {p.code}, "state": {q.Get("state")}}.Encode()
}

func (p *idp) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// asked is how often the token endpoint was asked.
func (p *idp) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asks)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// refuse is an answer with an error of RFC 6749 §5.2.
func refuse(status int, code, description string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, status, map[string]any{"error": code, "error_description": description})
	}
}

// witness keeps events.
type witness struct {
	mu       sync.Mutex
	obtained []Obtained
	failed   []Failed
}

func (w *witness) tell(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := e.(type) {
	case *Obtained:
		w.obtained = append(w.obtained, *e)
	case *Failed:
		w.failed = append(w.failed, *e)
	}
}

func (w *witness) told() (obtained []Obtained, failed []Failed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.obtained, w.failed
}

// accountWith is an account whose provider is the idp.
func accountWith(flow config.Flow) *config.Account {
	return &config.Account{Name: "office", Auth: "xoauth2", Username: user, OAuth: &config.OAuth{
		Provider: config.OAuthGeneric, Issuer: issuer, Flow: flow, ClientID: "the client",
		ClientSecret: config.NewSecret(clientSecret), Scopes: []string{"smtp", "offline_access"},
		RedirectURL: "http://127.0.0.1",
	}}
}

// loggedIn is a folder in which somebody has logged in at p.
func loggedIn(t *testing.T, p *idp) string {
	t.Helper()
	dir := t.TempDir()
	up := accountWith(config.FlowDevice)
	s := &store{state: stateIn(dir)}
	unlock, err := s.hold(t.Context(), up.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	given := p.issue()
	tok := &token{Identity: identity(up), Access: given["access_token"].(string), Refresh: p.refresh, Obtained: time.Now()}
	if p.life > 0 {
		tok.Expires = time.Now().Add(p.life)
	}
	if err := s.save(t.Context(), up.Name, config.Secret{}, tok); err != nil {
		t.Fatal(err)
	}
	return dir
}

// relay is a process whose upstream somebody has logged in to by device.
type relay struct {
	*idp
	*witness
	dir    string
	tokens *Tokens
	up     *config.Account
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	r := &relay{idp: newIDP(t), witness: &witness{}, up: accountWith(config.FlowDevice)}
	r.dir = loggedIn(t, r.idp)
	r.tokens = New(Options{State: stateIn(r.dir), Transport: r.idp, Events: r.witness.tell})
	return r
}

// onDisk is what a new process would find.
func onDisk(t *testing.T, dir string, up *config.Account) *token {
	t.Helper()
	tok, err := (&store{state: stateIn(dir)}).load(t.Context(), up.Name, up.OAuth.TokenKey)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func mustToken(t *testing.T, tokens *Tokens, up *config.Account, refused, want string) {
	t.Helper()
	got, err := tokens.Token(t.Context(), up, refused)
	if err != nil || got != want {
		t.Fatalf("token %q, %v; want %q", got, err, want)
	}
}

func mustFail(t *testing.T, tokens *Tokens, up *config.Account, refused string, kind Kind) *Error {
	t.Helper()
	got, err := tokens.Token(t.Context(), up, refused)
	var e *Error
	if !errors.As(err, &e) || e.Kind != kind || got != "" {
		t.Fatalf("token %q, %v; want an error of the kind %v", got, err, kind)
	}
	return e
}

func secretFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// stateIn keeps tokens in a folder.
func stateIn(dir string) *statefile.State { return &statefile.State{Dir: dir} }
