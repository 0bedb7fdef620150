package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"postern/config/wire"
)

// The providers that an administrator can name.
func TestProviderNames(t *testing.T) {
	want := []string{
		"azure-communication", "brevo", "fastmail", "gmail", "google-relay", "icloud", "mailgun", "mailjet", "microsoft365",
		"microsoft365-hve", "microsoft365-relay", "outlook.com", "postmark", "proton-bridge", "resend", "sendgrid", "ses", "smtp2go",
		"sparkpost", "yahoo", "zoho",
	}
	if got := slices.Sorted(maps.Keys(knownProviders().Provider)); !slices.Equal(got, want) {
		t.Errorf("providers: %v", got)
	}
	for name, p := range knownProviders().Provider {
		if p.OAuth != "" && knownProviders().OAuth[p.OAuth] == nil {
			t.Errorf("%s: no provider of tokens %q", name, p.OAuth)
		}
	}
}

// No key of the file is misspelt.
func TestProvidersFileIsRead(t *testing.T) {
	meta, err := toml.Decode(providersFile, &providers{})
	if err != nil {
		t.Fatal(err)
	}
	if left := meta.Undecoded(); len(left) > 0 {
		t.Errorf("nobody reads %v", left)
	}
}

// Every entry is whole, and every figure in it has a source.
func TestProvidersAreWhole(t *testing.T) {
	for name, p := range knownProviders().Provider {
		if p.Title == "" || p.Port == 0 || p.Unconfirmed == "" || !strings.HasSuffix(p.Create, ".") {
			t.Errorf("%s lacks title, port, unconfirmed, or the sentence about the console", name)
		}
		if p.Host != "" && p.Regions != nil {
			t.Errorf("%s has a host beside the hosts of its regions", name)
		}
		if p.Region != "" && p.Regions[p.Region] == "" {
			t.Errorf("%s: region %q is none of its own", name, p.Region)
		}
		for _, host := range append(slices.Collect(maps.Values(p.Regions)), strings.ReplaceAll(p.Host, "{region}", "eu-west-1")) {
			if canonical, ok := wire.CanonicalDomain(host); host != "" && host != "127.0.0.1" && (!ok || canonical != host) {
				t.Errorf("%s: %q is no host", name, host)
			}
		}
		if !slices.Contains([]UpstreamTLS{TLSVerify, TLSImplicit, TLSEncrypt}, p.TLS) {
			t.Errorf("%s: tls %q", name, p.TLS)
		}
		if p.TLS == TLSEncrypt && !isLoopback(p.Host) {
			t.Errorf("%s: a certificate that nobody checks, and not on this machine", name)
		}
		if (p.TLS == TLSImplicit) != (p.Port == 465) {
			t.Errorf("%s: tls %q with port %d", name, p.TLS, p.Port)
		}
		for _, auth := range []Mechanism{p.Auth, p.PasswordAuth} {
			if auth != "" && !slices.ContainsFunc(mechanisms, func(m mechanism) bool { return m.name == auth }) {
				t.Errorf("%s: auth %q", name, auth)
			}
		}
		if (p.Auth == "xoauth2") != (p.OAuth != "") {
			t.Errorf("%s: auth %q with tokens of %q", name, p.Auth, p.OAuth)
		}
		if p.MaxMessageSize != "" {
			if n, err := parseSize(p.MaxMessageSize); err != nil || n < 1<<20 {
				t.Errorf("%s: max_message_size %q: %v", name, p.MaxMessageSize, err)
			}
		}
		for _, rate := range p.Rate {
			if _, err := ParseRate(rate); err != nil {
				t.Errorf("%s: rate %q %v", name, rate, err)
			}
		}
		checkSources(t, name, reflect.ValueOf(p).Elem(), p.Source)
	}
	for name, p := range knownProviders().OAuth {
		checkSources(t, "oauth."+string(name), reflect.ValueOf(p).Elem(), p.Source)
	}
}

// checkSources holds every field of an entry that is set against its sources.
func checkSources(t *testing.T, name string, entry reflect.Value, sources []source) {
	t.Helper()
	told := map[string]bool{}
	for _, s := range sources {
		if _, err := time.Parse(time.DateOnly, s.Read); err != nil || !strings.HasPrefix(s.URL, "https://") {
			t.Errorf("%s: source %q, read %q", name, s.URL, s.Read)
		}
		for _, key := range s.Of {
			if told[key] {
				t.Errorf("%s: %s has two sources", name, key)
			}
			told[key] = true
		}
	}
	for i := range entry.NumField() {
		key := entry.Type().Field(i).Tag.Get("toml")
		switch key {
		case "title", "create", "unconfirmed", "source":
			continue
		}
		if set := !entry.Field(i).IsZero(); set != told[key] {
			t.Errorf("%s: %s is set: %v, has a source: %v", name, key, set, told[key])
		}
		delete(told, key)
	}
	for key := range told {
		t.Errorf("%s: a source of %s, which is no key", name, key)
	}
}

// What a provider fills in is told; what the file gives is not.
func TestPresetKeys(t *testing.T) {
	dir := furnish(t)
	cfg, err := Load(place(t, dir, "testdata/good/providers.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"microsoft365":       {"auth", "host", "max_connections", "port", "rate", "tls"},
		"microsoft365-relay": {"auth", "port", "tls"},
		"sendgrid":           {"auth", "host", "port", "tls", "username"},
		"ses":                {"auth", "host", "max_message_size", "max_recipients", "port", "tls"},
		"capture":            nil,
	} {
		up := cfg.Upstreams[name]
		if !slices.Equal(up.Preset.Keys, want) || (up.Preset.Create == "") != (want == nil) {
			t.Errorf("%s: %+v", name, up.Preset)
		}
	}
	overridden, err := Load(place(t, dir, "testdata/good/provider-overrides.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := overridden.Upstreams["starttls"].Preset.Keys; !slices.Equal(got, []string{"host", "port"}) {
		t.Errorf("overridden: %v", got)
	}
}
