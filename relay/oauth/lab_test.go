package oauth_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/relay/oauth"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool/statefile"
)

// minter is a provider whose tokens a real server checks: JWTs, signed with a
// key that the server trusts.
type minter struct {
	t   *testing.T
	key *rsa.PrivateKey
	url string

	mu     sync.Mutex
	minted int
	stale  int // so many of the next tokens have ended already
}

func (m *minter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path != "/token" {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": m.url, "token_endpoint": m.url + "/token"})
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.minted++
	from := time.Now()
	if m.stale > 0 {
		m.stale--
		from = from.Add(-2 * time.Hour)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": m.mint(from), "token_type": "Bearer", "expires_in": 3600})
}

func (m *minter) mint(from time.Time) string {
	b64 := base64.RawURLEncoding.EncodeToString
	head, _ := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT"})
	body, _ := json.Marshal(map[string]any{
		"iss": "https://login.postern.test", "azp": "postern", "sub": "alice", "email": "alice@postern.test",
		"scope": "https://outlook.office.com/SMTP.Send",
		"iat":   from.Add(-5 * time.Second).Unix(), "nbf": from.Add(-5 * time.Second).Unix(), "exp": from.Add(time.Hour).Unix(),
	})
	text := b64(head) + "." + b64(body)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, m.key, crypto.SHA256, digest[:])
	if err != nil {
		m.t.Error(err)
	}
	return text + "." + b64(signature)
}

// TestLabSignedTokens shows tokens to a Dovecot that looks at their signature
// and their end. relay/signin/lab/run starts it.
func TestLabSignedTokens(t *testing.T) {
	if os.Getenv("POSTERN_LAB") == "" {
		t.Skip("no lab here; relay/signin/lab/run starts one, as root on Debian 12")
	}
	text, err := os.ReadFile("/etc/postern/token.key")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	m := &minter{t: t, key: key.(*rsa.PrivateKey)}
	provider := httptest.NewServer(m)
	t.Cleanup(provider.Close)
	m.url = provider.URL
	for _, auth := range []string{"xoauth2", "oauthbearer", "auto"} {
		for stale, want := range []bool{true, true, false} { // one token that has ended is replaced; two are not
			up := config.DefaultUpstream("dovecot")
			up.Host, up.Port, up.CAFile = "mail.ad.postern.test", 11588, "/etc/postern/ca.pem"
			up.TLS = config.TLSVerify
			up.Auth, up.Username = config.Mechanism(auth), "alice@postern.test"
			up.OAuth = &config.OAuth{
				Provider: config.OAuthGeneric, Issuer: m.url, Flow: config.FlowClientCredentials,
				ClientID: "postern", ClientSecret: config.NewSecret("secret"), Scopes: []string{"smtp"},
			}
			m.minted, m.stale = 0, stale
			var seen upstream.Opened
			told := func(e upstream.Event) {
				if o, ok := e.(*upstream.Opened); ok {
					seen = *o
				}
			}
			d := &upstream.Dialer{Events: told, Tokens: oauth.New(oauth.Options{State: &statefile.State{Dir: t.TempDir()}})}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			err := d.Deliver(ctx, up, upstreamtest.NewFeed())
			cancel()
			t.Logf("%s, %d stale: %v, %+v, %d tokens", auth, stale, err, seen, m.minted)
			if (err == nil) != want || m.minted != min(stale+1, 2) {
				t.Errorf("%s, %d stale: %v, %d tokens", auth, stale, err, m.minted)
			}
		}
	}
}
