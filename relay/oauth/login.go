package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"postern/config"
)

// Person is who logs in: at a terminal, with a browser somewhere.
type Person interface {
	// TypeCode asks to open address in a browser, on whatever machine, and
	// to type code there.
	TypeCode(address, code string, until time.Time)
	// Open asks to open address in a browser. Where that runs on another
	// machine, it ends at an address that does not answer, which is then
	// pasted.
	Open(address string)
	// Paste returns what was pasted: that address, or the code in it. It
	// ends with ctx.
	Paste(ctx context.Context) (string, error)
}

const (
	// loginTimeout is how long a person has, unless the provider says less.
	loginTimeout = 15 * time.Minute
	// defaultInterval and slower: RFC 8628 §3.2, §3.5.
	defaultInterval = 5 * time.Second
	slower          = 5 * time.Second
	slowest         = time.Minute
)

// Login walks a person through the flow of an account and keeps what comes of it.
// Where nobody has to log in, it only asks for a new token. The error is a
// *Error, or that of ctx.
func (t *Tokens) Login(ctx context.Context, a *config.Account, person Person) (Status, error) {
	s := t.source(a)
	s.mu.Lock()
	conf := s.conf
	s.mu.Unlock()
	began := time.Now()
	if !conf.NeedsPerson() {
		if err := s.anew(ctx); err != nil {
			return Status{}, err
		}
		return t.Status(ctx, a), nil
	}
	tok, err := s.login(ctx, conf, person)
	if err == nil {
		err = s.keep(ctx, conf, tok)
	}
	if ctx.Err() != nil {
		return Status{}, ctx.Err()
	}
	if err != nil {
		e := asError(err)
		e.Upstream = a.Name
		return Status{}, e
	}
	t.tell(&Obtained{
		Upstream: a.Name, Reason: Login, Expires: tok.Expires, Rotated: true, Took: time.Since(began),
	})
	return t.Status(ctx, a), nil
}

// anew asks for another token than the one in use.
func (s *source) anew(ctx context.Context) error {
	s.mu.Lock()
	conf := s.conf
	s.mu.Unlock()
	old, err := s.stored(ctx, conf)
	if err != nil {
		return asError(err)
	}
	refused := ""
	if old != nil {
		refused = old.Access
	}
	_, err = s.get(ctx, refused)
	return err
}

func (s *source) login(ctx context.Context, conf *config.OAuth, person Person) (*token, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	c, err := (&source{t: s.t}).client(ctx, conf)
	if err != nil {
		return nil, err
	}
	var got *oauth2.Token
	if conf.Flow == config.FlowDevice {
		got, err = c.device(ctx, person)
	} else {
		got, err = c.code(ctx, person)
	}
	if err != nil {
		return nil, err
	}
	if got.RefreshToken == "" {
		return nil, &Error{Kind: Refused, Text: hostOf(c.at.token) + " gives no refresh token: after the first hour somebody would have to log in again; " +
			"most providers want the scope offline_access"}
	}
	return newToken(s.identity, got), nil
}

// keep makes the new login durable, and the one that is used.
func (s *source) keep(ctx context.Context, conf *config.OAuth, tok *token) error {
	unlock, err := s.t.store.hold(ctx, s.upstream)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.t.store.save(ctx, s.upstream, conf.TokenKey, tok); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tok, s.problem = tok, nil
	return nil
}

// device is RFC 8628.
func (c *client) device(ctx context.Context, person Person) (*oauth2.Token, error) {
	if !secure(c.at.device) {
		return nil, &Error{Kind: Refused, Text: hostOf(c.at.token) + ` offers no login by device; set flow = "code"`}
	}
	da, err := c.deviceCode(ctx)
	if err != nil {
		return nil, err
	}
	until := time.Now().Add(loginTimeout)
	if da.ExpiresIn != 0 && da.ExpiresIn < int64(loginTimeout/time.Second) {
		until = time.Now().Add(time.Duration(max(da.ExpiresIn, 0)) * time.Second)
	}
	if da.VerificationURI == "" {
		da.VerificationURI = da.VerificationURL
	}
	if !c.leads(da.VerificationURI) || clean(da.UserCode, nil) != da.UserCode || da.DeviceCode == "" || da.UserCode == "" {
		return nil, &Error{Kind: Refused, Text: hostOf(c.at.device) + " gave an answer that nobody can follow"}
	}
	person.TypeCode(da.VerificationURI, da.UserCode, until)
	return c.poll(ctx, da, until)
}

// leads tells whether a person can be sent to an address: it is shown as it is, and a
// provider elsewhere leads nobody to a program of this machine.
func (c *client) leads(address string) bool {
	return secure(address) && clean(address, nil) == address && (!isLoopback(address) || isLoopback(c.at.device))
}

// deviceAnswer is §3.2. The type of the library is not used: null panics in it.
type deviceAnswer struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	VerificationURI string `json:"verification_uri"`
	VerificationURL string `json:"verification_url"` // as Google spells it
	ExpiresIn       int64  `json:"expires_in"`       // seconds; 0: not told
	Interval        int64  `json:"interval"`         // seconds; 0: not told
}

// deviceCode is §3.1. The library has it, too, but without a context, and it
// knows nothing of how a client with a secret proves itself.
func (c *client) deviceCode(ctx context.Context) (*deviceAnswer, error) {
	p, err := c.prove(ctx)
	if err != nil {
		return nil, local(err)
	}
	form := p.params
	form.Set("client_id", c.conf.ClientID)
	if len(c.conf.Scopes) > 0 {
		form.Set("scope", strings.Join(c.conf.Scopes, " "))
	}
	if p.secret != "" && p.style == oauth2.AuthStyleInParams {
		form.Set("client_secret", p.secret)
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(asking, http.MethodPost, c.at.device, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, local(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if p.secret != "" && p.style == oauth2.AuthStyleInHeader { // RFC 6749 §2.3.1
		req.SetBasicAuth(url.QueryEscape(c.conf.ClientID), url.QueryEscape(p.secret))
	}
	return c.readDevice(req, secretsOf(p.secret, form))
}

func (c *client) readDevice(req *http.Request, secrets []string) (*deviceAnswer, error) {
	host := hostOf(c.at.device)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, refusal(host, err, secrets)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDiscovery))
	if err != nil {
		return nil, refusal(host, err, secrets)
	}
	if resp.StatusCode != http.StatusOK {
		answer := &oauth2.RetrieveError{Response: resp}
		var said struct {
			Code        string `json:"error"`
			Description string `json:"error_description"`
		}
		if json.Unmarshal(body, &said) == nil {
			answer.ErrorCode, answer.ErrorDescription = said.Code, said.Description
		}
		return nil, judge(host, answer, secrets)
	}
	da := new(deviceAnswer)
	if json.Unmarshal(body, da) != nil {
		return nil, &Error{Kind: Unreachable, Text: host + " gave an answer that is not understood"}
	}
	return da, nil
}

// poll is §3.4 and §3.5. A network that fails does not end it.
func (c *client) poll(ctx context.Context, da *deviceAnswer, until time.Time) (*oauth2.Token, error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	interval := time.Duration(min(max(da.Interval, 0), int64(slowest/time.Second))) * time.Second
	if interval == 0 {
		interval = defaultInterval
	}
	for {
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return nil, &Error{Kind: NeedsLogin, Text: "nobody typed the code in time"}
		}
		tok, err := c.ask(ctx, url.Values{
			"grant_type":  {"urn:ietf:params:oauth:grant-type:device_code"},
			"device_code": {da.DeviceCode},
		}, false)
		if err == nil {
			return tok, nil
		}
		var e *Error
		if !errors.As(err, &e) {
			return nil, err
		}
		switch {
		case e.Code == "authorization_pending":
		case e.Code == "slow_down":
			interval += slower
		case e.Code == "access_denied":
			return nil, &Error{Kind: Refused, Code: e.Code, Text: "the login was declined"}
		case e.Code == "expired_token":
			return nil, &Error{Kind: NeedsLogin, Code: e.Code, Text: "nobody typed the code in time"}
		case e.Kind == Unreachable && !e.garbled:
			interval = min(2*interval, slowest) // §3.5: a time-out asks for less
		default:
			return nil, err
		}
	}
}
