package config

import (
	"net/url"
	"strings"
)

// Account is who signs in, and how. It belongs to no protocol: an upstream has
// one, and so can a directory or another server. It is part of a Config and as
// immutable.
type Account struct {
	// Name tells accounts apart; tokens are kept under it. That of an upstream
	// is the upstream's.
	Name     string
	Auth     Mechanism
	Username string
	Password Secret
	OAuth    *OAuth   // where tokens come from; nil: there are none
	Domain   string   // of Windows, for ntlm
	Kerberos Kerberos // of gssapi, gss-spnego, integrated and auto
	CertFile string   // client certificate; empty: none
	KeyFile  string
}

// SignsIn tells whether a sign-in is wanted.
func (a *Account) SignsIn() bool {
	switch a.Auth {
	case MechanismNone:
		return false
	case "", MechanismAuto:
		return a.Username != "" || a.CertFile != "" || a.Kerberos.Keytab != "" || a.Kerberos.CCache != ""
	}
	return true
}

// Mechanism is a way to sign in. Empty: MechanismAuto.
type Mechanism string

// The mechanisms that mean more than the one of SASL that has their name.
const (
	MechanismAuto       Mechanism = "auto"       // the strongest that both sides know
	MechanismIntegrated Mechanism = "integrated" // the account that runs the process
	MechanismNone       Mechanism = "none"
)

// Kerberos says where an account's tickets come from. The first of Keytab,
// CCache and the password that is there is used.
type Kerberos struct {
	Realm  string // of the user; empty: of the username, or krb5.conf's default
	Keytab string // file with keys
	CCache string // file with tickets, which somebody else renews
	Conf   string // krb5.conf; empty: the system's, where there is one
	SPN    string // the upstream's principal; empty: smtp/HOST
}

// TokenProvider is a provider of access tokens.
type TokenProvider string

// The providers of access tokens.
const (
	OAuthMicrosoft365 TokenProvider = "microsoft365"
	OAuthGoogle       TokenProvider = "google"
	OAuthGeneric      TokenProvider = "generic" // whatever the discovery document of its issuer says
)

// Flow is a way to get an access token.
type Flow string

// The flows. The first two need a person once.
const (
	FlowDevice            Flow = "device"             // RFC 8628
	FlowCode              Flow = "code"               // RFC 6749 §4.1 with PKCE, RFC 7636
	FlowClientCredentials Flow = "client_credentials" // RFC 6749 §4.4
	FlowServiceAccount    Flow = "service_account"    // Google's JWT bearer grant, RFC 7523 §2.1
)

// OAuth says how an account that signs in by xoauth2, oauthbearer, or by auto
// with one of them, gets its access tokens.
type OAuth struct {
	Provider     TokenProvider
	Tenant       string // microsoft365: of the directory
	Issuer       string // generic: URL without a trailing slash where discovery starts
	Flow         Flow
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
