package oauth

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"postern/config"
	"postern/config/wire"
)

const (
	// askTimeout bounds one question to a provider.
	askTimeout = 30 * time.Second
	// maxToken bounds a token, in bytes. RFC 4954 §4 leaves room for 12,288
	// bytes of base64 in a line of AUTH.
	maxToken = 64 << 10
)

// newHTTP makes the client for all providers. It goes nowhere without TLS
// but to this machine, and follows no redirect: secrets are in the requests.
func newHTTP(transport http.RoundTripper, dates func(string, time.Time)) *http.Client {
	if transport == nil {
		transport = newTransport()
	}
	return &http.Client{
		Transport:     guard{transport, dates},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newTransport keeps no connection for the next question, which comes in an
// hour: a provider could keep this relay busy over one, with pings without end.
func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	t.MaxResponseHeaderBytes = 64 << 10
	t.DisableKeepAlives = true
	return t
}

type guard struct {
	next  http.RoundTripper
	dates func(host string, date time.Time)
}

func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if !secure(r.URL.String()) {
		return nil, errors.New("it would be asked without TLS")
	}
	answer, err := g.next.RoundTrip(r)
	if err == nil && g.dates != nil {
		if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
			g.dates(r.URL.Hostname(), date)
		}
	}
	return answer, err
}

// client is this relay as one provider knows it.
type client struct {
	conf *config.OAuth
	http *http.Client
	at   endpoints
}

// proof is how the client proves who it is.
type proof struct {
	secret string
	params url.Values
	style  oauth2.AuthStyle
}

// prove makes the proof for one request; RFC 6749 §2.3, RFC 7523 §2.2.
func (c *client) prove(ctx context.Context) (*proof, error) {
	p := &proof{params: url.Values{}, style: oauth2.AuthStyleInParams}
	var assertion string
	var err error
	switch {
	case c.conf.ClientSecret.IsSet():
		p.style = c.at.style
		p.secret, err = c.conf.ClientSecret.Read(ctx)
		return p, err
	case c.conf.CertFile != "":
		assertion, err = certificateAssertion(c.conf, c.at.token)
	case c.conf.AssertionFile != "":
		assertion, err = readAssertion(c.conf.AssertionFile)
	default:
		return p, nil // a public client
	}
	p.params.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	p.params.Set("client_assertion", assertion)
	return p, err
}

// ask sends one grant to the token endpoint. scope says whether the scopes
// belong into it.
func (c *client) ask(ctx context.Context, grant url.Values, scope bool) (*oauth2.Token, error) {
	if !secure(c.at.token) {
		return nil, &Error{Kind: Local, Text: "the token endpoint has no TLS"}
	}
	p := &proof{style: oauth2.AuthStyleInParams}
	if c.conf.Flow != config.FlowServiceAccount { // whose grant is the proof
		var err error
		if p, err = c.prove(ctx); err != nil {
			return nil, local(err)
		}
	}
	for key, values := range p.params {
		grant[key] = values
	}
	conf := clientcredentials.Config{
		ClientID: c.conf.ClientID, ClientSecret: p.secret, TokenURL: c.at.token,
		EndpointParams: grant, AuthStyle: p.style,
	}
	if scope {
		conf.Scopes = c.conf.Scopes
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	tok, err := conf.Token(c.context(asking))
	if err != nil {
		return nil, refusal(hostOf(c.at.token), err, secretsOf(p.secret, grant))
	}
	return tok, c.check(tok)
}

// context makes the library use our client.
func (c *client) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, c.http)
}

// check refuses what could not be a bearer token (RFC 6750 §2.1), before
// anything of it goes into a line of SMTP.
func (c *client) check(tok *oauth2.Token) error {
	host := hostOf(c.at.token)
	switch {
	case !strings.EqualFold(tok.Type(), "Bearer"):
		return &Error{Kind: Refused, Text: host + " gives tokens of another kind than Bearer"}
	case !wellFormed(tok.AccessToken) || tok.RefreshToken != "" && !wellFormed(tok.RefreshToken):
		return &Error{Kind: Unreachable, Text: host + " gave an answer that is not a token", garbled: true}
	}
	return nil
}

func wellFormed(token string) bool {
	return token != "" && len(token) <= maxToken && wire.Printable(token) && !strings.Contains(token, " ")
}

// secretsOf are the values of a request that must not be repeated.
func secretsOf(secret string, params url.Values) []string {
	list := []string{secret}
	for _, key := range []string{"refresh_token", "client_assertion", "assertion", "code", "code_verifier", "device_code"} {
		list = append(list, params.Get(key))
	}
	return list
}

// local is trouble with something on this machine. Its errors name files and
// never what is in them.
func local(err error) error {
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	return &Error{Kind: Local, Text: err.Error(), cause: err}
}

// readAssertion reads a JWT that somebody else renews.
func readAssertion(path string) (string, error) {
	b, err := config.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if !wellFormed(token) || strings.Count(token, ".") != 2 {
		return "", errors.New("assertion_file " + path + " holds no JWT")
	}
	return token, nil
}
