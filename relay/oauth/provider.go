package oauth

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"postern/config"
)

// endpoints are where a provider is asked, and how.
type endpoints struct {
	auth, device, token string
	issuer              string // for the parameter iss of RFC 9207; empty: not known
	// style is how a client secret travels. It is never found out by trying:
	// that burns codes, and ends the polling of a device.
	style oauth2.AuthStyle
	read  time.Time // of a discovery document
}

const (
	// discoveryLife is how long a discovery document is believed.
	discoveryLife = time.Hour
	// maxDiscovery bounds one, in bytes.
	maxDiscovery = 1 << 20
)

// preset knows the endpoints of a provider that needs no discovery. All of
// them want a secret in the form.
func preset(c *config.OAuth) (endpoints, bool) {
	at, ok := c.Endpoints()
	return endpoints{
		auth: at.Authorize, device: at.Device, token: at.Token, issuer: at.Issuer,
		style: oauth2.AuthStyleInParams,
	}, ok
}

// discover reads OpenID Connect Discovery 1.0 §4.
func discover(ctx context.Context, client *http.Client, issuer string) (endpoints, *Error) {
	base := strings.TrimSuffix(issuer, "/")
	where := base + "/.well-known/openid-configuration"
	host := hostOf(where)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return endpoints{}, &Error{Kind: Local, Text: "the issuer is not a URL"}
	}
	resp, err := client.Do(req)
	if err != nil {
		return endpoints{}, refusal(host, err, nil)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode >= 500 || resp.StatusCode == 429:
		return endpoints{}, &Error{Kind: Unreachable, Text: host + " answered " + statusText(resp.StatusCode) + " to discovery"}
	case resp.StatusCode != http.StatusOK:
		return endpoints{}, &Error{Kind: Refused, Text: host + " answered " + statusText(resp.StatusCode) + " to discovery; check issuer"}
	}
	var found struct {
		Issuer  string   `json:"issuer"`
		Auth    string   `json:"authorization_endpoint"`
		Token   string   `json:"token_endpoint"`
		Device  string   `json:"device_authorization_endpoint"` // RFC 8628 §4
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDiscovery))
	if err != nil || json.Unmarshal(body, &found) != nil {
		return endpoints{}, &Error{Kind: Unreachable, Text: host + " gave a discovery document that cannot be read"}
	}
	// §4.3: the same issuer, or it is somebody else's document.
	if strings.TrimSuffix(found.Issuer, "/") != base {
		return endpoints{}, &Error{Kind: Refused, Text: host + " calls itself " + clean(found.Issuer, nil) + "; check issuer"}
	}
	e := endpoints{
		auth: found.Auth, device: found.Device, token: found.Token, issuer: found.Issuer,
		style: styleOf(found.Methods), read: time.Now(),
	}
	for _, u := range []string{e.auth, e.device, e.token} {
		switch {
		case u != "" && !secure(u):
			return endpoints{}, &Error{Kind: Refused, Text: host + " names an endpoint without TLS"}
		case u != "" && isLoopback(u) && !isLoopback(where):
			return endpoints{}, &Error{Kind: Refused, Text: host + " names an endpoint on this machine"}
		}
	}
	if e.token == "" {
		return endpoints{}, &Error{Kind: Refused, Text: host + " names no token endpoint"}
	}
	return e, nil
}

// styleOf: client_secret_basic is what a document means that says nothing
// (OpenID Connect Discovery 1.0 §3).
func styleOf(methods []string) oauth2.AuthStyle {
	if len(methods) == 0 || slices.Contains(methods, "client_secret_basic") {
		return oauth2.AuthStyleInHeader
	}
	return oauth2.AuthStyleInParams
}

// secure reports whether secrets may go to a URL: https, or this machine.
func secure(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname())
}

// isLoopback reports whether a URL leads to this machine. A provider elsewhere
// could have other programs here asked, with a secret in the request.
func isLoopback(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && loopback(u.Hostname())
}

func loopback(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "the provider"
	}
	return clean(u.Host, nil)
}
