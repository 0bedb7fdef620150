package config

import (
	"fmt"
	"net/url"
	"time"
)

// What the books on the web share: those of CardDAV and of Microsoft 365.

// webKeys are those of books on the web alone.
func (b *Book) webKeys() []key {
	oauth := b.Directory.Account.OAuth
	return []key{
		{name: "oauth", value: oauthTable{&b.Directory.Account}, hidden: sharedKeys[b.Provider] == nil || oauth == nil, help: "Where access tokens of a CardDAV server or of Microsoft 365 come from."},
		{name: "refresh", value: duration(&b.Refresh, time.Minute, 24*time.Hour), def: "10m", hidden: b.Provider != BookCardDAV, help: "How often a CardDAV server is asked what has changed."},
		{name: "what", value: graphParts.at(&b.What), def: []any{GraphUsers, GraphContacts, GraphGroups}, hidden: b.Provider != BookGraph, help: "What is asked of Microsoft 365: users, orgcontacts, groups, and contacts:ADDRESS for those of a mailbox."},
	}
}

// checkWeb looks at where the book is.
func (b *Book) checkWeb(t *table) {
	d := &b.Directory
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
}

func (b *Book) checkWebURL(t *table, s DirectoryServer) {
	what, like := "a CardDAV server", "https://cloud.example.com/remote.php/dav"
	if b.Provider == BookGraph {
		what, like = "Microsoft Graph", "https://graph.microsoft.us/v1.0"
	}
	u, err := url.Parse(s.URL)
	switch {
	case !s.Web || err != nil || u.RawQuery != "" || u.Fragment != "":
		t.problem("url", fmt.Sprintf("%q is not the URL of %s", s.URL, what), fmt.Sprintf("such as %q", like))
	case u.User != nil:
		t.problem("url", "has a user in it", "set username and a password")
	case !s.Secure && !isLoopback(s.Host):
		t.problem("url", "would send the password, and get the addresses, in clear over the network", "write https://")
	}
}

// checkOAuth reads [book.NAME.oauth].
func (b *Book) checkOAuth(t *table) {
	a, o := &b.Directory.Account, t.sub("oauth")
	t.refuseSecret(a.Password, "has no effect beside oauth", "remove it: the server gets a token")
	c := &OAuth{}
	a.Name, a.OAuth = "book:"+b.Name, c
	if b.Provider == BookGraph {
		c.Provider = OAuthMicrosoft365
	}
	o.read(c.keys())
	if c.Provider == "" {
		o.need("provider", "google, or generic with the URL of an issuer")
	}
	o.need("flow", "device or code, where a person logs in once; client_credentials or service_account, where nobody does")
	checkOAuthKeys(o, c)
	switch {
	case b.Provider == BookCardDAV && c.Provider == OAuthMicrosoft365:
		o.problem("provider", "has no CardDAV", `use provider = "graph" for the book, or "google" or "generic" here`)
		return
	case b.Provider == BookGraph && c.Provider == OAuthGoogle:
		o.problem("provider", "has no Microsoft Graph", "remove it")
		return
	}
	if c.Provider == "" || o.has("provider") && !o.got["provider"] || !o.got["flow"] {
		return
	}
	scopes := c.Scopes
	checkProvider(o, c)
	if c.Scopes = scopes; !o.has("scopes") {
		c.Scopes = b.scopes(c)
	}
	checkFlow(o, c, a.Username)
}

// scopes are what the provider of tokens is asked for; nil: nobody knows.
func (b *Book) scopes(c *OAuth) []string {
	switch {
	case b.Provider == BookGraph && c.Provider == OAuthMicrosoft365:
		return b.graphScopes(c)
	case b.Provider == BookCardDAV && c.Provider == OAuthGoogle:
		return []string{cardDAVScope}
	}
	return nil
}
