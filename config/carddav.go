package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// BookCardDAV is an address book of a CardDAV server, such as Nextcloud.
const BookCardDAV = "carddav"

// refreshKeys are those of a book of CardDAV alone.
func (b *Book) refreshKeys() []key {
	return []key{
		{name: "oauth", value: oauthTable{&b.Directory.Account}, hidden: b.Provider != BookCardDAV || b.Directory.Account.OAuth == nil, help: "Where access tokens of a CardDAV server come from."},
		{name: "refresh", value: duration(&b.Refresh, time.Minute, 24*time.Hour), def: "10m", hidden: b.Provider != BookCardDAV, help: "How often a CardDAV server is asked what has changed."},
	}
}

// checkCardDAV looks at a book of CardDAV.
func (b *Book) checkCardDAV(t *table) {
	d := &b.Directory
	t.refuse("is not for CardDAV", "remove it", "dir", "file", "charset", "columns")
	for _, k := range d.keys("") {
		if !slices.Contains(webKeys, k.name) && !strings.HasPrefix(k.name, passwordKey) {
			t.refuse("is for a directory", `provider = "ldap", or remove it`, k.name)
		}
	}
	t.need("url", `such as "https://cloud.example.com/remote.php/dav"`)
	d.Account.Auth = ""
	if d.CAFile != "" {
		checkCAFile(t, d.CAFile)
	}
	switch {
	case len(d.Servers) > 1:
		t.problem("url", "has more than one server", "make a book of each")
	case len(d.Servers) == 1:
		b.URL = d.Servers[0].URL
		b.checkWebURL(t, d.Servers[0])
	}
	if t.has("oauth") {
		b.checkOAuth(t)
		return
	}
	password := d.Account.Password.IsSet() || anySecret(t, passwordKey)
	switch {
	case t.has("username") && !password:
		t.problem("username", "has no password", "set one of password_file, password_command, password_env, password_credential, password")
	case password && !t.has("username"):
		t.problem(t.firstGiven("url", "provider"), "has a password and no username", "set username")
	}
}

// cardDAVScope is what Google wants to see for CardDAV.
const cardDAVScope = "https://www.googleapis.com/auth/carddav"

// checkOAuth reads [book.NAME.oauth].
func (b *Book) checkOAuth(t *table) {
	a, o := &b.Directory.Account, t.sub("oauth")
	t.refuseSecret(a.Password, "has no effect beside oauth", "remove it: the server gets a token")
	c := &OAuth{}
	a.Name, a.OAuth = "book:"+b.Name, c
	o.read(c.keys())
	o.need("provider", "google, microsoft365, or generic with the URL of an issuer")
	o.need("flow", "device or code, where a person logs in once; client_credentials or service_account, where nobody does")
	checkOAuthKeys(o, c)
	if c.Provider == OAuthMicrosoft365 && o.got["provider"] {
		o.problem("provider", "has no CardDAV", `use "google", or "generic" with the URL of an issuer`)
		return
	}
	if !o.got["provider"] || !o.got["flow"] {
		return
	}
	scopes := c.Scopes
	checkProvider(o, c)
	if c.Scopes = scopes; c.Provider == OAuthGoogle && !o.has("scopes") {
		c.Scopes = []string{cardDAVScope}
	}
	checkFlow(o, c, a.Username)
}

func (b *Book) checkWebURL(t *table, s DirectoryServer) {
	u, err := url.Parse(s.URL)
	switch {
	case !s.Web || err != nil || u.RawQuery != "" || u.Fragment != "":
		t.problem("url", fmt.Sprintf("%q is not the URL of a CardDAV server", s.URL), `such as "https://cloud.example.com/remote.php/dav"`)
	case u.User != nil:
		t.problem("url", "has a user in it", "set username and a password")
	case !s.Secure && !isLoopback(s.Host):
		t.problem("url", "would send the password, and get the addresses, in clear over the network", "write https://")
	}
}
