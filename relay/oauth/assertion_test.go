package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
)

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// pair writes a certificate and its key, and returns its thumbprint.
// googleToken is where Google is asked for tokens.
const googleToken = "https://oauth2.googleapis.com/token"

func pair(t *testing.T, key crypto.Signer) (certFile, keyFile, thumbprint string) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "relay"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert)
	return secretFile(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))),
		secretFile(t, "key.pem", pemKey(t, key)), base64.RawURLEncoding.EncodeToString(sum[:])
}

func pemKey(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// verify checks a JWS with the algorithm that it has to have.
func verify(t *testing.T, jws, alg string, key crypto.PublicKey) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(jws, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			t.Fatal(err)
		}
	}
	if json.Unmarshal(raw[0], &header) != nil || json.Unmarshal(raw[1], &claims) != nil || header["alg"] != alg {
		t.Fatalf("%s.%s is not %s", raw[0], raw[1], alg)
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	good := false
	switch alg {
	case "RS256":
		good = rsa.VerifyPKCS1v15(key.(*rsa.PublicKey), crypto.SHA256, digest[:], raw[2]) == nil
	case "PS256":
		good = rsa.VerifyPSS(key.(*rsa.PublicKey), crypto.SHA256, digest[:], raw[2], &rsa.PSSOptions{SaltLength: 32}) == nil
	case "ES256":
		r, s := new(big.Int).SetBytes(raw[2][:32]), new(big.Int).SetBytes(raw[2][32:])
		good = len(raw[2]) == 64 && ecdsa.Verify(key.(*ecdsa.PublicKey), digest[:], r, s)
	}
	if !good {
		t.Error("the signature is not valid")
	}
	return header, claims
}

func TestCertificate(t *testing.T) {
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		provider      config.TokenProvider
		alg, audience string
		key           crypto.Signer
	}{
		{config.OAuthMicrosoft365, "PS256", "https://login.microsoftonline.com/example.com/oauth2/v2.0/token", rsaKey()},
		{config.OAuthGeneric, "RS256", issuer + "/token", rsaKey()},
		{config.OAuthGeneric, "ES256", issuer + "/token", ecKey},
	} {
		p := newIDP(t)
		up := accountWith(config.FlowClientCredentials)
		up.OAuth.Provider, up.OAuth.Tenant, up.OAuth.ClientSecret = c.provider, "example.com", config.Secret{}
		var thumbprint string
		up.OAuth.CertFile, up.OAuth.KeyFile, thumbprint = pair(t, c.key)
		mustToken(t, New(Options{State: stateIn(t.TempDir()), Transport: p}), up, "", "access-token-1")
		ask := p.asks[0]
		if ask.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" ||
			ask.Get("client_id") != "the client" || ask.Has("client_secret") || p.basic[0] != "" {
			t.Error(ask)
		}
		header, claims := verify(t, ask.Get("client_assertion"), c.alg, c.key.Public())
		if header["x5t#S256"] != thumbprint || header["typ"] != "JWT" {
			t.Error(header)
		}
		life := claims["exp"].(float64) - claims["iat"].(float64)
		if claims["iss"] != "the client" || claims["sub"] != "the client" || claims["aud"] != c.audience ||
			claims["jti"] == "" || life != 300 || claims["nbf"] != claims["iat"] {
			t.Error(claims)
		}
	}
}

func TestFederation(t *testing.T) {
	p := newIDP(t)
	up := accountWith(config.FlowClientCredentials)
	up.OAuth.ClientSecret = config.Secret{}
	up.OAuth.AssertionFile = secretFile(t, "token", "eyJ.first.sig\n")
	tokens := New(Options{State: stateIn(t.TempDir()), Transport: p})
	mustToken(t, tokens, up, "", "access-token-1")
	// It is renewed by somebody else, and read at each use.
	if err := os.WriteFile(up.OAuth.AssertionFile, []byte("eyJ.second.sig"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustToken(t, tokens, up, "access-token-1", "access-token-2")
	if p.asks[0].Get("client_assertion") != "eyJ.first.sig" || p.asks[1].Get("client_assertion") != "eyJ.second.sig" {
		t.Error(p.asks)
	}
	for _, bad := range []string{"", "not a jwt", "a.b", "a.b.c d"} {
		if err := os.WriteFile(up.OAuth.AssertionFile, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		mustFail(t, tokens, up, "access-token-2", Local)
	}
	_ = os.Remove(up.OAuth.AssertionFile)
	mustFail(t, tokens, up, "access-token-2", Local)
}

func serviceKey(t *testing.T, tokenURL string) string {
	t.Helper()
	content, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "relay@project.iam.gserviceaccount.com",
		"private_key_id": "key-7", "private_key": pemKey(t, rsaKey()), "token_uri": tokenURL,
	})
	if err != nil {
		t.Fatal(err)
	}
	return secretFile(t, "service.json", string(content))
}

func accountOfService(file string) *config.Account {
	return &config.Account{Name: "workspace", Auth: "xoauth2", Username: user, OAuth: &config.OAuth{
		Provider: config.OAuthGoogle, Flow: config.FlowServiceAccount, ServiceAccountFile: file,
		Subject: user, Scopes: []string{"https://mail.google.com/"},
	}}
}

func TestServiceAccount(t *testing.T) {
	p := newIDP(t)
	up := accountOfService(serviceKey(t, googleToken))
	mustToken(t, New(Options{State: stateIn(t.TempDir()), Transport: p}), up, "", "access-token-1")
	ask := p.asks[0]
	if ask.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || ask.Has("scope") || ask.Has("client_id") ||
		!slices.Equal(p.paths, []string{"POST " + googleToken}) {
		t.Error(ask, p.paths)
	}
	header, claims := verify(t, ask.Get("assertion"), "RS256", rsaKey().Public())
	if header["kid"] != "key-7" || claims["sub"] != user || claims["iss"] != "relay@project.iam.gserviceaccount.com" ||
		claims["scope"] != "https://mail.google.com/" || claims["aud"] != googleToken ||
		claims["exp"].(float64)-claims["iat"].(float64) != 3600 {
		t.Error(header, claims)
	}
}

func TestServiceAccountUnusable(t *testing.T) {
	for name, file := range map[string]string{
		"missing":   "/nowhere/service.json",
		"no JSON":   secretFile(t, "a", "-----BEGIN PRIVATE KEY-----\nhunter2"),
		"a user":    secretFile(t, "b", `{"type": "authorized_user", "client_secret": "hunter2"}`),
		"no key":    secretFile(t, "c", `{"type": "service_account", "client_email": "a@b", "private_key": "hunter2"}`),
		"in clear":  serviceKey(t, "http://oauth2.example.com/token"),
		"other key": secretFile(t, "d", `{"type": "service_account", "client_email": "a@b", "private_key": "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n"}`),
	} {
		p := newIDP(t)
		e := mustFail(t, New(Options{State: stateIn(t.TempDir()), Transport: p}), accountOfService(file), "", Local)
		if strings.Contains(e.Text, "hunter2") || strings.Contains(e.Text, "aHVudGVyMg") || len(p.paths) != 0 {
			t.Error(name, e, p.paths)
		}
	}
}
