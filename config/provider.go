package config

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"

	"postern/config/wire"
)

//go:embed providers.toml
var providersFile string

// source is where figures were read, and when.
type source struct {
	Of   []string `toml:"of"`
	URL  string   `toml:"url"`
	Read string   `toml:"read"` // "2026-11-25"
}

// provider is what providers.toml says of one.
type provider struct {
	Title          string            `toml:"title"`
	Host           string            `toml:"host"`    // may hold {region}; empty: of Regions, or to be given
	Regions        map[string]string `toml:"regions"` // region → host
	Region         string            `toml:"region"`  // where none is given; empty: it must be
	Port           int               `toml:"port"`
	TLS            UpstreamTLS       `toml:"tls"`
	Auth           Mechanism         `toml:"auth"`
	PasswordAuth   Mechanism         `toml:"password_auth"` // with a password; empty: Auth
	Username       string            `toml:"username"`
	OAuth          TokenProvider     `toml:"oauth"` // provider of tokens
	Tenant         string            `toml:"tenant"`
	MaxConnections int               `toml:"max_connections"`
	MaxRecipients  int               `toml:"max_recipients"`
	MaxMessageSize string            `toml:"max_message_size"`
	Rate           []string          `toml:"rate"`
	PasswordEnds   string            `toml:"password_ends"`  // what is announced about passwords
	OwnRecipients  bool              `toml:"own_recipients"` // takes those of the organisation only
	Create         string            `toml:"create"`
	Unconfirmed    string            `toml:"unconfirmed"`
	Source         []source          `toml:"source"`
}

// tokenProvider is what providers.toml says of a provider of tokens. {tenant}
// stands for the tenant.
type tokenProvider struct {
	Authorize    string   `toml:"authorize"`
	Device       string   `toml:"device"`
	Token        string   `toml:"token"`
	Issuer       string   `toml:"issuer"`
	Scopes       []string `toml:"scopes"`
	ClientScopes []string `toml:"client_scopes"` // of client_credentials
	RedirectURL  string   `toml:"redirect_url"`
	Source       []source `toml:"source"`
}

type providers struct {
	Provider map[string]*provider             `toml:"provider"`
	OAuth    map[TokenProvider]*tokenProvider `toml:"oauth"`
}

// knownProviders reads providers.toml, which is part of the program.
var knownProviders = sync.OnceValue(func() *providers {
	known := &providers{}
	if _, err := toml.Decode(providersFile, known); err != nil {
		panic("providers.toml: " + err.Error()) // a test reads it
	}
	return known
})

// Preset is what the provider of an upstream has filled in.
type Preset struct {
	Keys   []string // of the upstream, alphabetical: those that the file leaves to the provider
	Create string   // what to make in the provider's console, a sentence
}

// hint goes behind the hint of what is missing; empty without a provider.
func (p *Preset) hint() string {
	if p.Create == "" {
		return ""
	}
	return ". " + strings.TrimSuffix(p.Create, ".")
}

// providerNames are the values of provider.
var providerNames = sync.OnceValue(func() []string {
	names := append(slices.Collect(maps.Keys(knownProviders().Provider)), CaptureProvider)
	slices.Sort(names)
	return names
})

// ProviderTokens tells who issues the tokens that a provider of upstreams signs in
// with, empty where it takes none or is not known, and the tenant that they are
// of, empty where that is to be given.
func ProviderTokens(name string) (tokens TokenProvider, tenant string) {
	if p := knownProviders().Provider[name]; p != nil {
		return p.OAuth, p.Tenant
	}
	return "", ""
}

// providerValue fills in what is known of the provider, before other keys are
// read.
func (u *Upstream) providerValue() value {
	read := func(f field, v any) (string, bool) {
		name, ok := readChoice(f, v, providerNames())
		if p := knownProviders().Provider[name]; p != nil {
			p.apply(u)
			u.Preset = Preset{Keys: p.filled(f.t), Create: p.Create}
		}
		return name, ok
	}
	return kind[string]{name: "choice", parse: read, format: unlessEmpty, choices: providerNames()}.at(&u.Provider)
}

// apply sets everything but the host and the mechanism, which depend on other
// keys; the file can write over it.
func (p *provider) apply(up *Upstream) {
	up.Port, up.TLS, up.Username = p.Port, p.TLS, p.Username
	if p.MaxConnections > 0 {
		up.MaxConnections = p.MaxConnections
	}
	up.MaxRecipients = p.MaxRecipients
	for _, text := range p.Rate {
		rate, _ := ParseRate(text) // a test reads them all
		up.Rate = append(up.Rate, rate)
	}
	if p.MaxMessageSize != "" {
		up.MaxMessageSize, _ = parseSize(p.MaxMessageSize) // and these
	}
}

// warnRetiring tells what a provider has announced about passwords.
func (p *provider) warnRetiring(t *table, up *Upstream) {
	if p != nil && p.PasswordEnds != "" && up.Password.IsSet() {
		t.warn(up.Password.source.key(), p.PasswordEnds, "set auth = \"xoauth2\" with an [upstream.NAME.oauth] table in time (docs/oauth.md)")
	}
}

// settleRegion finds the host: the provider has one, or one for each region.
func (p *provider) settleRegion(t *table, up *Upstream) {
	given := t.got["region"]
	if !given {
		up.Region = p.Region
	}
	switch {
	case p.Regions != nil && up.Region != "":
		names := slices.Sorted(maps.Keys(p.Regions))
		if up.Host = p.Regions[up.Region]; up.Host == "" && given {
			readChoice(t.field("region"), up.Region, names) // says what there is
		}
	case p.Regions != nil && !t.has("region"):
		t.problem("provider", "needs a region", "set region, one of "+strings.Join(slices.Sorted(maps.Keys(p.Regions)), ", "))
	case !strings.Contains(p.Host, "{region}"):
		up.Host = p.Host
	case !t.has("region"):
		t.problem("provider", "needs a region", `set region, such as "eu-central-1"`)
	case given && !isLabel(up.Region):
		t.problem("region", "is not a region", `such as "eu-central-1"`)
	case given:
		up.Host = strings.ReplaceAll(p.Host, "{region}", up.Region)
	}
}

// isLabel is true of a label of a domain in lower case.
func isLabel(s string) bool {
	canonical, ok := wire.CanonicalHost(s)
	return ok && canonical == s && !strings.Contains(s, ".")
}

// refuseRegion: a region has no meaning without a provider that has some, nor
// beside a host.
func (u *Upstream) refuseRegion(t *table, p *provider) {
	switch {
	case !t.has("region"):
	case !t.has("provider"):
		t.problem("region", "has no effect without a provider", "remove it")
	case t.has("host"):
		t.problem("region", "has no effect beside host", "remove one of them")
	case p != nil && p.Regions == nil && !strings.Contains(p.Host, "{region}"):
		t.problem("region", "has no effect with this provider", "remove it")
	}
}

// filled lists the keys that the provider sets and the file does not.
func (p *provider) filled(t *table) []string {
	var keys []string
	for key, set := range map[string]bool{
		"host": p.Host != "" || p.Regions != nil, "port": true, "tls": true, "auth": true, "username": p.Username != "",
		"max_connections": p.MaxConnections > 0, "max_recipients": p.MaxRecipients > 0, "max_message_size": p.MaxMessageSize != "", "rate": len(p.Rate) > 0,
	} {
		if set && !t.has(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// mechanism is the one that counts where the file names none.
func (p *provider) mechanism(t *table) Mechanism {
	if p.PasswordAuth != "" && (anySecret(t, passwordKey) || p.Auth == "none" && t.has("username")) {
		return p.PasswordAuth
	}
	return p.Auth
}

// settle brings what the file has overridden into line with the rest: a pin
// checks more than "encrypt" does, and an unusual port stays with another tls.
func (p *provider) settle(t *table, up *Upstream) {
	if t.has("fingerprint") && !t.has("tls") && up.TLS == TLSEncrypt {
		up.TLS = TLSVerify
	}
	if !t.has("port") && up.TLS != TLSAuto && p.Port != 587 && p.Port != 465 {
		up.Port = p.Port
	}
}

// warnSharedAccounts finds upstreams by which one account is used beside
// another, each with the whole rate that its provider gives the account.
func (d *document) warnSharedAccounts(cfg *Config) {
	first := map[string]string{} // account: name of an upstream
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		up := cfg.Upstreams[name]
		if !slices.Contains(up.Preset.Keys, "rate") {
			continue
		}
		account := up.Provider + " " + strings.ToLower(up.Username)
		if other := first[account]; other != "" {
			d.warn("upstream."+name+".provider", fmt.Sprintf("is the account of %q too, and each of them may use the whole rate of the account", other),
				"set rate in both, to a part of it")
			continue
		}
		first[account] = name
	}
}
