//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"postern/cmd/control"
	"postern/queue"
)

// provider gives out tokens over HTTP: a device's, and one for each refresh
// token, which is good once.
type provider struct {
	mu      sync.Mutex
	url     string
	issued  int
	good    string // access token that the upstream takes
	refresh string // that the provider takes
}

func startProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := map[string]any{}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer = map[string]any{"issuer": p.url, "token_endpoint": p.url + "/token", "device_authorization_endpoint": p.url + "/device"}
	case "/device":
		answer = map[string]any{"device_code": "secret-device", "user_code": "WXYZ", "verification_uri": p.url + "/go", "expires_in": 60, "interval": 1}
	case "/token":
		_ = r.ParseForm()
		if r.PostForm.Get("grant_type") == "refresh_token" && (p.refresh == "" || r.PostForm.Get("refresh_token") != p.refresh) {
			w.WriteHeader(http.StatusBadRequest)
			answer = map[string]any{"error": "invalid_grant", "error_description": "gone: " + r.PostForm.Encode()}
			break
		}
		p.issued++
		p.good, p.refresh = fmt.Sprintf("secret-access-%d", p.issued), fmt.Sprintf("secret-refresh-%d", p.issued)
		answer = map[string]any{"access_token": p.good, "refresh_token": p.refresh, "token_type": "Bearer", "expires_in": 3600}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (p *provider) revoke(access, refresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if access {
		p.good = "nothing"
	}
	if refresh {
		p.refresh = ""
	}
}

// tokenSink is a sink that wants XOAUTH2 with the token that is good.
type tokenSink struct {
	*sink
	provider *provider
}

func (d tokenSink) NewSession(*smtp.Conn) (smtp.Session, error) {
	return &tokenSession{sinkSession: sinkSession{d.sink}, provider: d.provider}, nil
}

type tokenSession struct {
	sinkSession
	provider *provider
	signedIn bool
}

func (*tokenSession) AuthMechanisms() []string { return []string{"XOAUTH2"} }

func (s *tokenSession) Auth(string) (sasl.Server, error) { return &tokenExchange{session: s}, nil }

func (s *tokenSession) Mail(string, *smtp.MailOptions) error {
	if !s.signedIn {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 57}, Message: "Client not authenticated to send mail"}
	}
	return nil
}

type tokenExchange struct {
	session *tokenSession
	refused bool
}

func (e *tokenExchange) Next(response []byte) ([]byte, bool, error) {
	e.session.provider.mu.Lock()
	defer e.session.provider.mu.Unlock()
	switch {
	case e.refused && len(response) == 0:
		return nil, true, &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "no"}
	case string(response) == "user=billing@example.com\x01auth=Bearer "+e.session.provider.good+"\x01\x01":
		e.session.signedIn = true
		return nil, true, nil
	case e.refused:
		return nil, true, errors.New("nonsense")
	}
	e.refused = true
	return []byte(`{"status":"401","schemes":"bearer"}`), false, nil
}

func startTokenSink(t *testing.T, addr string, p *provider) *sink {
	t.Helper()
	s := &sink{}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(tokenSink{s, p})
	server.Domain, server.AllowInsecureAuth = "token.test", true
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return s
}

// withTokens is a configuration whose upstream wants tokens, and which tries
// a parked upstream again in an hour only.
func withTokens(listen, upstream, issuer string) string {
	text := ordinary(listen, upstream)
	text = strings.Replace(text, "tls = \"off\"\n", fmt.Sprintf(`tls = "off"
auth = "xoauth2"
username = "billing@example.com"
[upstream.office.oauth]
provider = "generic"
issuer = %q
flow = "device"
client_id = "relay"
client_secret_file = "DIR/client.secret"
scopes = ["smtp"]
[upstream.unused]
host = "127.0.0.1"
tls = "off"
`, issuer), 1)
	return strings.Replace(text, `["1s"]`, `["1h"]`, 1)
}

// The life of a login: nobody has logged in, somebody does, the upstream
// forgets the token, the provider forgets the login.
func TestLoginEndToEnd(t *testing.T) {
	p, listen, upstream := startProvider(t), freeAddr(t), freeAddr(t)
	h := newHarness(t, withTokens(listen, upstream, p.url))
	if err := os.WriteFile(filepath.Join(h.dir, "client.secret"), []byte("secret-client\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sink := startTokenSink(t, upstream, p)
	h.start()

	send(t, listen, "a@example.com", "one")
	eventually(t, "the upstream is parked", func() bool { return h.office().State == queue.Parked })
	lane := h.office()
	if lane.Token == nil || !lane.Token.NeedsLogin || lane.Token.Present || !strings.Contains(lane.Reason, "postern upstream login office") {
		t.Errorf("%+v %+v", lane, lane.Token)
	}
	tested := h.refused("upstream", "test", "office")
	for _, want := range []string{"connected to " + upstream, "announced in clear", "nobody has logged in yet", "without a token there is nothing to sign in with"} {
		if !strings.Contains(tested, want) {
			t.Errorf("the test before the login does not say %q:\n%s", want, tested)
		}
	}
	shown := h.must("upstream", "login", "office")
	if !strings.Contains(shown, "WXYZ") || !strings.Contains(shown, p.url+"/go") || !strings.Contains(shown, "Logged in") {
		t.Errorf("the login showed:\n%s", shown)
	}
	eventually(t, "the mail goes out after the login", func() bool { return len(sink.received()) == 1 })
	eventually(t, "its delivery is on record", func() bool { return len(h.queued()) == 0 })
	if lane := h.office(); lane.Token.Expires.IsZero() || lane.Token.NeedsLogin || !lane.Token.Renewable {
		t.Errorf("%+v", lane.Token)
	}
	if out := h.must("status"); !strings.Contains(out, "renewed by itself") {
		t.Errorf("status:\n%s", out)
	}

	// The upstream does not take the token any more: there is another, and it
	// survives a kill.
	h.kill()
	p.revoke(true, false)
	h.start()
	send(t, listen, "a@example.com", "two")
	eventually(t, "the mail goes out with another token", func() bool { return len(sink.received()) == 2 })
	eventually(t, "its delivery is on record", func() bool { return len(h.queued()) == 0 })
	h.kill()
	h.start()
	send(t, listen, "a@example.com", "three")
	eventually(t, "the token is still there", func() bool { return len(sink.received()) == 3 })
	p.mu.Lock()
	if p.issued != 2 {
		t.Errorf("%d tokens were given out", p.issued)
	}
	p.mu.Unlock()

	// The provider does not take the login any more: parked once, mail kept.
	h.stop()
	p.revoke(true, true)
	before := strings.Count(h.log.String(), `"state":"parked"`)
	h.start()
	send(t, listen, "a@example.com", "four")
	eventually(t, "the upstream is parked again", func() bool { return h.office().State == queue.Parked })
	if n := strings.Count(h.log.String(), `"state":"parked"`) - before; n != 1 {
		t.Errorf("%d alerts", n)
	}
	if list := h.queued(); len(list) != 1 {
		t.Errorf("%d in the queue", len(list))
	}
	shown += h.must("upstream", "login", "office")
	eventually(t, "the kept mail goes out", func() bool { return len(sink.received()) == 4 })

	everything := shown + h.log.String() + h.must("status") + h.must("status", "--json") + h.must("check") +
		h.must("check", "--json") + h.must("upstream", "list", "--json")
	if at := strings.Index(everything, "secret-"); at >= 0 {
		t.Errorf("a secret is shown: %q", everything[max(0, at-100):min(len(everything), at+40)])
	}
}

func (h *harness) office() *control.Lane {
	h.t.Helper()
	var st control.Status
	if err := json.Unmarshal([]byte(h.must("status", "--json")), &st); err != nil {
		h.t.Fatal(err)
	}
	for i := range st.Lanes {
		if st.Lanes[i].Upstream == "office" {
			return &st.Lanes[i]
		}
	}
	h.t.Fatal("there is no lane of that name")
	return nil
}

func TestLoginInVain(t *testing.T) {
	p := startProvider(t)
	h := newHarness(t, withTokens("127.0.0.1:0", "127.0.0.1:1", p.url))
	if err := os.WriteFile(filepath.Join(h.dir, "client.secret"), []byte("secret-client\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, says string
		code       int
	}{
		{"nobody", `there is no upstream "nobody"`, exitData},
		{"unused", "needs no login", exitData},
	} {
		if r := h.do("upstream", "login", c.name); r.code != c.code || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
	h.write(withTokens("127.0.0.1:0", "127.0.0.1:1", "http://127.0.0.1:1"))
	if r := h.do("upstream", "login", "office"); r.code != exitUnavailable || !strings.Contains(r.stderr, "cannot be reached") {
		t.Errorf("%+v", r)
	}
}
