package config

import (
	"net/url"
	"strings"
)

// The providers of access tokens.
const (
	OAuthMicrosoft365 = "microsoft365"
	OAuthGoogle       = "google"
	OAuthGeneric      = "generic" // whatever the discovery document of its issuer says
)

// The ways to get an access token. The first two need a person once.
const (
	FlowDevice            = "device"             // RFC 8628
	FlowCode              = "code"               // RFC 6749 §4.1 with PKCE, RFC 7636
	FlowClientCredentials = "client_credentials" // RFC 6749 §4.4
	FlowServiceAccount    = "service_account"    // Google's JWT bearer grant, RFC 7523 §2.1
)

// OAuth says how an upstream that signs in by xoauth2, oauthbearer, or by auto
// with one of them, gets its access tokens.
type OAuth struct {
	Provider     string // microsoft365 | google | generic
	Tenant       string // microsoft365: of the directory
	Issuer       string // generic: URL without a trailing slash where discovery starts
	Flow         string // device | code | client_credentials | service_account
	ClientID     string
	ClientSecret Secret
	Scopes       []string
	// CertFile and KeyFile prove who the client is by private_key_jwt.
	CertFile string
	KeyFile  string
	// AssertionFile holds a JWT of somebody whom the provider trusts
	// (workload identity federation); it is read at each use.
	AssertionFile      string
	ServiceAccountFile string // Google's JSON key
	Subject            string // whom the service account acts for; default: the username
	// RedirectURL is where the browser is sent by the code flow. A loopback
	// address without a port gets a free one.
	RedirectURL string
	// TokenKey encrypts the stored tokens; not set: a key file beside them.
	TokenKey Secret
}

// NeedsPerson reports whether somebody has to log in once.
func (o *OAuth) NeedsPerson() bool { return o.Flow == FlowDevice || o.Flow == FlowCode }

// OAuthEndpoints are where a provider of tokens is asked.
type OAuthEndpoints struct {
	Authorize string
	Device    string // empty: it has none for mail
	Token     string
	Issuer    string // for the parameter iss of RFC 9207; empty: not known
}

// Endpoints are those of a provider that needs no discovery; false: it does.
func (o *OAuth) Endpoints() (OAuthEndpoints, bool) {
	known := knownProviders().OAuth[o.Provider]
	if known == nil {
		return OAuthEndpoints{}, false
	}
	of := func(address string) string {
		return strings.ReplaceAll(address, "{tenant}", url.PathEscape(o.Tenant))
	}
	return OAuthEndpoints{
		Authorize: of(known.Authorize), Device: of(known.Device), Token: of(known.Token), Issuer: known.Issuer,
	}, true
}

// knownScopes are what a known provider is asked for; nil: it is not known.
func (o *OAuth) knownScopes() []string {
	known := knownProviders().OAuth[o.Provider]
	switch {
	case known == nil:
		return nil
	case o.Flow == FlowClientCredentials:
		return known.ClientScopes
	}
	return known.Scopes
}
