package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

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
	// ClientSecretEnds is when the provider takes the secret no more, midnight of a
	// day in UTC; zero: not known.
	ClientSecretEnds time.Time
	Scopes           []string
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

// minTokenKey is the shortest key for stored tokens, in characters: 32 are
// 128 bits where they are hex digits.
const minTokenKey = 32

// readTokenSignIn reads [upstream.NAME.oauth] and checks that it adds up.
func readTokenSignIn(t, o *table, up *Upstream, p *provider) {
	checkTokenUse(t, up)
	if !t.has("oauth") {
		hint := "add an [" + o.path + "] table"
		if p != nil && p.PasswordAuth != "" {
			hint += ", or a password"
		}
		t.problem(t.firstGiven("auth", "provider"), up.Auth.quoted()+" needs to know where tokens come from", hint+up.Preset.hint())
		return
	}
	c := &OAuth{}
	up.OAuth = c
	if p != nil {
		c.Provider = p.OAuth
	}
	o.read(c.keys())
	hasProvider := o.got["provider"] || !o.has("provider") && c.Provider != ""
	hasFlow := o.got["flow"]
	if p != nil && c.Provider == p.OAuth && !o.got["tenant"] {
		c.Tenant = p.Tenant
	}
	if c.Provider == "" {
		o.need("provider", "microsoft365, google, or generic with the URL of an issuer")
	}
	o.need("flow", "device or code, where a person logs in once; client_credentials or service_account, where nobody does")
	checkOAuthKeys(o, c)
	if hasProvider && hasFlow {
		checkProvider(o, c)
		checkFlow(o, c, up.Username)
	}
}

// oauthTable is the table of keys for tokens. Its defaults are those of the
// upstream's provider, so readTokenSignIn reads it when the rest is known.
type oauthTable struct{ account *Account }

func (o oauthTable) read(field, any) bool { return true }
func (o oauthTable) keep(value)           {}
func (o oauthTable) describe() description {
	return description{kind: "table", keys: (&OAuth{}).keys()}
}

func (o oauthTable) show() any {
	if o.account.OAuth == nil {
		return nil
	}
	return show(o.account.OAuth.keys())
}

// checkTokenUse: whom the token is for, and who could read it on its way.
func checkTokenUse(t *table, up *Upstream) {
	name := up.Auth.quoted()
	if !t.has("username") {
		t.problem(t.firstGiven("auth", "provider"), name+" needs a username", "the mailbox that the token is for")
	}
	effect := "has no effect while auth = " + name
	if up.Auth == MechanismAuto {
		effect = "has no effect beside oauth"
		t.refuse(effect, "remove it, or name the mechanism in auth", "domain", "realm", "keytab", "ccache")
	}
	t.refuseSecret(up.Password, effect, "remove it: the upstream gets a token")
	switch {
	case up.TLS == TLSOff && up.Auth == MechanismAuto:
		t.problem(t.firstGiven("auth", "oauth"), `"auto" sends no token while tls = "off"`, "choose another tls")
	case up.TLS == TLSOff && !isLoopback(up.Host):
		t.problem(t.firstGiven("auth", "provider"), name+` would send the token in clear over the network while tls = "off"`, "choose another tls")
	default:
		warnUnchecked(t, up, "token")
	}
}

// checkOAuthKeys looks at every key whose form does not depend on another.
func checkOAuthKeys(o *table, c *OAuth) {
	checkTenant(o, c)
	checkIssuer(o, c)
	checkScopes(o, c)
	if c.AssertionFile != "" {
		checkReadable(o, "assertion_file", c.AssertionFile)
	}
	if c.ServiceAccountFile != "" {
		checkSecretFile(o, "service_account_file", "service_account", c.ServiceAccountFile)
	}
	checkRedirect(o, c)
	checkTokenKey(o, &c.TokenKey)
	if o.has("client_secret_ends") && !anySecret(o, clientSecretKey) {
		o.problem("client_secret_ends", "has no effect without a client_secret", "remove it; the end of a certificate is read from its file")
	}
}

// checkTokenKey looks at the length of a key.
func checkTokenKey(t *table, key *Secret) {
	if s := key.source; s != nil && s.kind == secretFile {
		if value, err := readSecretFile(s.value); err == nil && value != "" && len(strings.TrimSpace(value)) < minTokenKey {
			t.problem(s.key(), s.value+" is too short for a key", "at least 32 characters, such as: openssl rand -base64 32")
		}
	}
}

// checkTenant takes the name of a directory, its GUID, or one of the words
// for many directories.
func checkTenant(o *table, c *OAuth) {
	if o.got["tenant"] && strings.ContainsFunc(c.Tenant, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.'
	}) {
		o.problem("tenant", strconv.QuoteToASCII(c.Tenant)+" is not a tenant", `its ID, or a domain of it such as "example.onmicrosoft.com"`)
	}
}

// checkIssuer takes an https URL; without TLS only this machine is asked.
func checkIssuer(o *table, c *OAuth) {
	if !o.got["issuer"] {
		return
	}
	u, err := url.Parse(c.Issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" ||
		u.Scheme != "https" && u.Scheme != "http":
		o.problem("issuer", strconv.QuoteToASCII(c.Issuer)+" is not the URL of an issuer", `such as "https://login.example.com/realms/mail"`)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		o.problem("issuer", "would be asked in clear: whoever sits between can take the tokens", "write https://")
	}
}

// checkScopes takes words of RFC 6749 §3.3.
func checkScopes(o *table, c *OAuth) {
	for i, scope := range c.Scopes {
		if strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			o.doc.problem(joinIndex(o.key("scopes"), i), strconv.QuoteToASCII(scope)+" is not a scope", "one for each element of the list")
		}
	}
}

func checkRedirect(o *table, c *OAuth) {
	if !o.got["redirect_url"] {
		return
	}
	u, err := url.Parse(c.RedirectURL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
		o.problem("redirect_url", strconv.QuoteToASCII(c.RedirectURL)+" is not a URL to come back to", `such as "http://127.0.0.1:8765/callback"`)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		o.problem("redirect_url", "would carry the code in clear over the network", "write https://, or an address of this machine")
	}
}

// checkProvider: which keys belong to which provider, and what it sets.
func checkProvider(o *table, c *OAuth) {
	if c.Provider != OAuthMicrosoft365 {
		o.refuse("has no effect with this provider", "remove it", "tenant")
	}
	if c.Provider != OAuthGeneric {
		o.refuse("is set by the provider", `remove it, or set provider = "generic"`, "issuer")
	}
	switch c.Provider {
	case OAuthMicrosoft365:
		if c.Tenant == "" {
			o.need("tenant", `the ID of the directory, or a domain of it such as "example.onmicrosoft.com"`)
		}
		if shared := []string{"common", "organizations", "consumers"}; slices.Contains(shared, c.Tenant) && !c.NeedsPerson() {
			o.problem("tenant", strconv.Quote(c.Tenant)+" is no directory, and without a person there has to be one", "the ID of the directory, or a domain of it")
		}
	case OAuthGoogle:
		if c.Flow == FlowDevice {
			o.problem("flow", `Google gives no access to mail by "device"`, `set flow = "code" or "service_account"`)
		}
		if c.Flow == FlowClientCredentials {
			o.problem("flow", `Google does not know "client_credentials"`, `set flow = "service_account"`)
		}
	case OAuthGeneric:
		o.need("issuer", `the URL before "/.well-known/openid-configuration"`)
		o.need("scopes", "what this provider wants to see; there is no common word for it")
	}
	if c.Flow == FlowServiceAccount && c.Provider != OAuthGoogle {
		o.problem("flow", `"service_account" is Google's`, `set flow = "client_credentials"`)
	}
	if !o.has("scopes") {
		c.Scopes = c.knownScopes()
	}
}

// checkFlow: which keys belong to which flow, and what it sets.
func checkFlow(o *table, c *OAuth, username string) {
	effect := "has no effect while flow = " + strconv.Quote(string(c.Flow))
	if c.Flow != FlowServiceAccount {
		o.refuse(effect, "remove it", "service_account_file", "subject")
	}
	if c.Flow != FlowCode {
		o.refuse(effect, "remove it", "redirect_url")
	}
	if c.Flow == FlowServiceAccount {
		o.refuse(effect, "remove it", "client_id", "cert_file", "key_file", "assertion_file")
		o.refuseSecret(c.ClientSecret, effect, "remove it")
		o.need("service_account_file", "the JSON key of the service account")
		if !o.has("subject") {
			c.Subject = username
		}
		return
	}
	o.need("client_id", "the ID that the provider gave to this client when it was registered")
	checkClient(o, c)
	if c.Flow == FlowCode && !o.has("redirect_url") {
		c.RedirectURL = "http://127.0.0.1" // RFC 8252 §7.3
		if known := knownProviders().OAuth[c.Provider]; known != nil {
			c.RedirectURL = known.RedirectURL
		}
	}
}

// checkClient: how the client proves who it is, in one way only.
func checkClient(o *table, c *OAuth) {
	var ways []string
	if c.ClientSecret.IsSet() {
		ways = append(ways, c.ClientSecret.source.key())
	}
	if o.hasAny("cert_file", "key_file") {
		ways = append(ways, "cert_file")
	}
	if o.has("assertion_file") {
		ways = append(ways, "assertion_file")
	}
	switch {
	case len(ways) > 1:
		o.problem(ways[1], "is a second proof of the client beside "+ways[0], "keep one of them")
	case len(ways) == 0 && c.Flow == FlowClientCredentials && !anySecret(o, clientSecretKey):
		o.problem("flow", "without a person, the client has to prove who it is",
			"set client_secret_file, client_secret_command, client_secret_env or client_secret_credential, or cert_file and key_file, or assertion_file")
	}
	checkClientCertificate(o, c.CertFile, c.KeyFile)
}
