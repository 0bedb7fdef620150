package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/config"
)

// How long a signed statement of ours is good for. Both are used at once.
const (
	clientAssertionLife  = 5 * time.Minute
	serviceAssertionLife = time.Hour // what Google expects
)

// certificateAssertion proves who the client is by private_key_jwt (OpenID
// Connect Core 1.0 §9). Both files are read anew, so that a renewed
// certificate counts at once.
func certificateAssertion(c *config.OAuth, audience string) (string, error) {
	pair, err := config.LoadKeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return "", fmt.Errorf("cert_file and key_file cannot be used: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return "", errors.New("key_file holds a key that cannot sign")
	}
	sum := sha256.Sum256(pair.Certificate[0])
	now := time.Now()
	return sign(key, c.Provider == config.OAuthMicrosoft365, map[string]any{
		"typ":      "JWT",
		"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:]), // RFC 7515 §4.1.8
	}, map[string]any{
		"iss": c.ClientID, "sub": c.ClientID, "aud": audience, "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(clientAssertionLife).Unix(),
	})
}

// serviceAccount is Google's JSON key.
type serviceAccount struct {
	Type     string `json:"type"`
	Email    string `json:"client_email"`
	KeyID    string `json:"private_key_id"`
	Key      string `json:"private_key"`
	TokenURL string `json:"token_uri"`
}

func readServiceAccount(path string) (*serviceAccount, crypto.Signer, error) {
	b, err := config.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	var account serviceAccount
	// No word of what the decoder says: it could quote the key.
	if json.Unmarshal(b, &account) != nil || account.Type != "service_account" || account.Email == "" || account.Key == "" {
		return nil, nil, fmt.Errorf("service_account_file %s is not the JSON key of a service account", path)
	}
	if account.TokenURL == "" {
		at, _ := (&config.OAuth{Provider: config.OAuthGoogle}).Endpoints()
		account.TokenURL = at.Token
	}
	if !secure(account.TokenURL) {
		return nil, nil, fmt.Errorf("service_account_file %s names a token endpoint without TLS", path)
	}
	key, err := parseKey(account.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("service_account_file %s: %w", path, err)
	}
	return &account, key, nil
}

func parseKey(text string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("private_key is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return nil, errors.New("private_key cannot be read")
		}
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("private_key cannot sign")
	}
	return signer, nil
}

// statement is the grant of RFC 7523 §2.1, as Google wants it.
func (a *serviceAccount) statement(key crypto.Signer, c *config.OAuth) (string, error) {
	now := time.Now()
	header := map[string]any{"typ": "JWT"}
	if a.KeyID != "" {
		header["kid"] = a.KeyID
	}
	return sign(key, false, header, map[string]any{
		"iss": a.Email, "sub": c.Subject, "scope": strings.Join(c.Scopes, " "), "aud": a.TokenURL,
		"iat": now.Unix(), "exp": now.Add(serviceAssertionLife).Unix(),
	})
}

// sign makes a JWS (RFC 7515) with the algorithm that fits the key (RFC 7518
// §3): ES256, or RS256, which everybody knows, or PS256 where that is wanted.
func sign(key crypto.Signer, pss bool, header, claims map[string]any) (string, error) {
	var sum func(digest []byte) ([]byte, error)
	switch k := key.(type) {
	case *rsa.PrivateKey:
		header["alg"] = "RS256"
		var opts crypto.SignerOpts = crypto.SHA256
		if pss {
			header["alg"] = "PS256"
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
		}
		sum = func(digest []byte) ([]byte, error) { return k.Sign(rand.Reader, digest, opts) }
	case *ecdsa.PrivateKey:
		if k.Curve != elliptic.P256() {
			return "", errors.New("the key is on another curve than P-256")
		}
		header["alg"] = "ES256"
		sum = func(digest []byte) ([]byte, error) {
			r, s, err := ecdsa.Sign(rand.Reader, k, digest)
			if err != nil {
				return nil, err
			}
			signature := make([]byte, 64) // RFC 7518 §3.4: both halves, one behind the other
			r.FillBytes(signature[:32])
			s.FillBytes(signature[32:])
			return signature, nil
		}
	default:
		return "", errors.New("the key is neither RSA nor on the curve P-256")
	}
	head, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(body)
	digest := sha256.Sum256([]byte(text))
	signature, err := sum(digest[:])
	if err != nil {
		return "", errors.New("the key does not sign")
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
