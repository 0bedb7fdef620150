package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-ldap/ldap/v3"
)

// BookLDAP is a directory, such as that of Exchange.
const BookLDAP = "ldap"

// The ways to sign in that LDAP alone has.
const (
	MechanismSimple    Mechanism = "simple"    // a name and a password: RFC 4513 §5.1.3
	MechanismAnonymous Mechanism = "anonymous" // RFC 4513 §5.1.1
	MechanismExternal  Mechanism = "external"  // who we are to the socket of ldapi://: RFC 4513 §5.2.3
)

// Schema is what a directory calls people and groups.
type Schema string

// The schemas.
const (
	SchemaAuto            Schema = "auto" // the directory tells
	SchemaActiveDirectory Schema = "activedirectory"
	SchemaInetOrgPerson   Schema = "inetorgperson"
)

// DirectoryTLS is how TLS is done with a directory.
type DirectoryTLS string

// The values of tls.
const (
	DirectoryTLSVerify DirectoryTLS = "verify" // StartTLS at ldap://; the certificate is checked
	DirectoryTLSOff    DirectoryTLS = "off"    // none at ldap://
)

// Directory is where a book of LDAP is, and how it is asked.
type Directory struct {
	Servers []DirectoryServer // which hold the same; the first one is asked first
	Base    string            // DN below which entries are; empty: the directory tells
	Schema  Schema
	// Filter finds people; every %s in it is the text, escaped. Empty: that of
	// the schema.
	Filter  string
	TLS     DirectoryTLS
	CAFile  string // empty: the system's
	Account Account
	Timeout time.Duration // of one search
	Cache   time.Duration // for which an answer stands in for a directory that is away; 0: never
	Max     int           // entries of one answer
}

// DirectoryServer is one of the servers of a directory.
type DirectoryServer struct {
	URL    string // without a path
	Host   string // empty: Socket
	Port   string
	Secure bool   // TLS from the first byte
	Web    bool   // it speaks HTTP, and URL may have a path
	Socket string // the file of a socket of this machine
}

// ldapiSocket is where OpenLDAP has its socket if ldapi:/// names none.
const ldapiSocket = "/run/slapd/ldapi"

// parseDirectorySocket reads what is behind ldapi://: an absolute path as OpenLDAP writes
// it, with %2F for each slash, or with the slashes themselves.
func parseDirectorySocket(text string) (DirectoryServer, error) {
	file, err := url.PathUnescape(strings.TrimRight(text, "/"))
	if err != nil || len(file) > 100 || strings.ContainsFunc(file, unicode.IsControl) || file != "" && !strings.HasPrefix(file, "/") {
		return DirectoryServer{}, errors.New("is not the URL of a socket, such as ldapi:///run/slapd/ldapi")
	}
	if file == "" {
		file = ldapiSocket
	}
	return DirectoryServer{URL: "ldapi://" + file, Socket: file}, nil
}

// ParseDirectoryServer reads ldap://HOST[:PORT], ldaps://HOST[:PORT] or
// ldapi://SOCKET.
func ParseDirectoryServer(text string) (DirectoryServer, error) {
	if socket, ok := strings.CutPrefix(text, "ldapi://"); ok {
		return parseDirectorySocket(socket)
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "ldap" && u.Scheme != "ldaps" {
		return DirectoryServer{}, errors.New("is not the URL of a directory, such as ldaps://dc1.example.com")
	}
	if u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return DirectoryServer{}, errors.New("has more than a host and a port; base and filter are keys of their own")
	}
	s := DirectoryServer{URL: u.Scheme + "://" + u.Host, Host: u.Hostname(), Port: u.Port(), Secure: u.Scheme == "ldaps"}
	if s.Port == "" {
		s.Port = map[bool]string{false: "389", true: "636"}[s.Secure]
	}
	return s, nil
}

// defaultDirectory is a directory of which nothing is known.
func defaultDirectory() Directory {
	return Directory{
		Schema: SchemaAuto, TLS: DirectoryTLSVerify, Account: Account{Auth: MechanismSimple},
		Timeout: 10 * time.Second, Cache: 15 * time.Minute, Max: 50,
	}
}

var directoryServers = kind[[]DirectoryServer]{name: "URLs", parse: readDirectoryServers, format: func(list []DirectoryServer) any {
	return unlessNone(each(list, func(s DirectoryServer) string { return s.URL }))
}}

// readDirectoryServers reads one URL, or a list of them.
func readDirectoryServers(f field, v any) ([]DirectoryServer, bool) {
	one := func(f field, s string) (DirectoryServer, bool) {
		if u, err := url.Parse(s); err == nil && u.Hostname() != "" && (u.Scheme == "https" || u.Scheme == "http") {
			return DirectoryServer{URL: s, Host: u.Hostname(), Web: true, Secure: u.Scheme == "https"}, true
		}
		server, err := ParseDirectoryServer(s)
		return server, err == nil || f.problem(fmt.Sprintf("%q %v", s, err), "")
	}
	if _, single := v.(string); !single {
		return listOf(one)(f, v)
	}
	s, ok := readText(f, v)
	if !ok {
		return nil, false
	}
	server, ok := one(f, s)
	return []DirectoryServer{server}, ok
}

// sharedKeys are those of a directory that other books have as well, beside the
// password.
var sharedKeys = map[string][]string{
	BookCardDAV: {"url", "ca_file", "username", "timeout"},
	BookGraph:   {"url", "ca_file", "timeout", "cache", "max_results"},
}

// shares reports whether a book of the provider has the key of a directory.
func shares(provider, key string) bool {
	return slices.Contains(sharedKeys[provider], key) || provider == BookCardDAV && strings.HasPrefix(key, passwordKey)
}

// keys are those of a book of LDAP, and some of the books that are on the web.
// The others are hidden.
func (d *Directory) keys(provider string) []key {
	a := &d.Account
	k := &a.Kerberos
	keys := slices.Concat([]key{
		{name: "url", value: directoryServers.at(&d.Servers), unset: "must be given for ldap and carddav", help: "The servers of a directory, ldaps://HOST, ldap://HOST or ldapi:///FILE; or the URL of a web server."},
		{name: "base", value: text.at(&d.Base), unset: "as the directory tells", help: "The DN below which people and groups are."},
		{name: "schema", value: choice(&d.Schema, SchemaAuto, SchemaActiveDirectory, SchemaInetOrgPerson), def: "auto", help: "What the directory calls people and groups."},
		{name: "filter", value: text.at(&d.Filter), unset: "that of the schema", help: "The filter that finds people, with %s for the text."},
		{name: "tls", value: choice(&d.TLS, DirectoryTLSVerify, DirectoryTLSOff), def: "verify", help: "Whether ldap:// has to do StartTLS with a certificate that is checked."},
		{name: "ca_file", value: path.at(&d.CAFile), unset: "the system's", help: "The certificates to trust, in PEM."},
		{name: "auth", value: choice(&a.Auth, MechanismSimple, "gssapi", MechanismIntegrated, MechanismAnonymous, MechanismExternal), def: "simple", help: "How to sign in to the directory."},
		{name: "username", value: text.at(&a.Username), unset: "none", help: "The name to sign in with; for a directory a DN, or user@domain."},
		{name: "realm", value: text.at(&k.Realm), unset: "of username, else krb5.conf's default", help: "The Kerberos realm of the username."},
		{name: "keytab", value: ticketFile.at(&k.Keytab), unset: "none", help: "A file with Kerberos keys, in place of a password."},
		{name: "ccache", value: ticketFile.at(&k.CCache), unset: "none", help: "A file with Kerberos tickets, which somebody else renews."},
		{name: "krb5_conf", value: path.at(&k.Conf), unset: "$KRB5_CONFIG, /etc/krb5.conf", help: "The file in which Kerberos finds its realms."},
		{name: "spn", value: text.at(&k.SPN), unset: "ldap/ and the server", help: "The Kerberos name of the directory."},
		{name: "timeout", value: duration(&d.Timeout, time.Second, 5*time.Minute), def: "10s", help: "How long one search, or one answer, may take."},
		{name: "cache", value: duration(&d.Cache, 0, 7*24*time.Hour), def: "15m", help: "How long an answer stands in for a directory that is away; 0 is never."},
		{name: "max_results", value: number(&d.Max, 1, 1000), def: 50, help: "The most entries of one answer."},
	}, secretKeys(&a.Password, passwordKey, "The password", secretKinds...))
	for i := range keys {
		keys[i].hidden = provider != BookLDAP && !shares(provider, keys[i].name)
	}
	return keys
}

// refuse tells of the keys that a book of the provider doesn't have.
func (d *Directory) refuse(t *table, provider string) {
	for _, k := range d.keys("") {
		if !shares(provider, k.name) {
			t.refuse("is for a directory", `provider = "ldap", or remove it`, k.name)
		}
	}
}

func (d *Directory) check(t *table) {
	t.need("url", `such as "ldaps://dc1.example.com"`)
	for i, s := range d.Servers {
		if s.Web {
			t.doc.problem(joinIndex(t.key("url"), i), fmt.Sprintf("%q is not the URL of a directory, such as ldaps://dc1.example.com", s.URL), "")
		}
	}
	if d.CAFile != "" {
		checkCAFile(t, d.CAFile)
	}
	if t.got["filter"] {
		if err := checkFilter(d.Filter); err != nil {
			t.problem("filter", err.Error(), `such as "(&(department=Sales)(cn=*%s*))"`)
		}
	}
	d.checkTLS(t)
	d.checkAccount(t)
}

// checkTLS looks at what goes over the network without it.
func (d *Directory) checkTLS(t *table) {
	if d.TLS != DirectoryTLSOff {
		return
	}
	clear := func(s DirectoryServer) bool { return !s.Secure && s.Socket == "" }
	far := slices.ContainsFunc(d.Servers, func(s DirectoryServer) bool { return clear(s) && !isLoopback(s.Host) })
	switch {
	case !slices.ContainsFunc(d.Servers, clear):
		t.problem("tls", "has no effect at ldaps:// and ldapi://", "remove it, or use ldap://")
	case far && d.Account.Auth == MechanismSimple:
		t.problem("tls", `"off" would send the password in clear over the network`, "remove it: ldap:// does StartTLS then")
	case far:
		t.warn("tls", `"off" lets whoever sits between put other addresses in the place of those that are asked for`, "remove it: ldap:// does StartTLS then")
	}
}

func (d *Directory) checkAccount(t *table) {
	a := &d.Account
	var hosts []string
	for _, one := range d.Servers {
		hosts = append(hosts, strings.ToLower(one.Host))
	}
	a.Server = strings.Join(hosts, " ")
	k := &a.Kerberos
	name := a.Auth.quoted()
	kerberos := a.Auth == "gssapi" || a.Auth == MechanismIntegrated
	if !kerberos {
		t.refuse("has no effect while auth = "+name, `set auth = "gssapi", or remove it`, "realm", "keytab", "ccache", "krb5_conf", "spn")
	}
	if k.Keytab != "" && kerberos {
		checkSecretFile(t, "keytab", "keys", k.Keytab)
	}
	if k.CCache != "" && kerberos {
		checkCache(t, k.CCache)
	}
	if k.Conf != "" && kerberos {
		checkReadable(t, "krb5_conf", k.Conf)
	}
	keys := k.Keytab != "" || k.CCache != ""
	switch {
	case a.Auth == MechanismAnonymous, a.Auth == MechanismIntegrated, a.Auth == MechanismExternal:
		t.refuse("has no effect while auth = "+name, "remove it", "username", "realm")
		t.refuseSecret(a.Password, "has no effect while auth = "+name, "remove it")
	case k.Keytab != "" && k.CCache != "":
		t.problem("ccache", "has no effect beside keytab", "keep one of them")
	case keys:
		t.refuseSecret(a.Password, "has no effect beside keytab or ccache", "keep one of them")
	case a.Username == "" && !t.has("username"):
		t.problem(t.firstGiven("auth", "url", "provider"), name+" needs a username", `set username and a password, or auth = "integrated" or "anonymous"`)
	case !a.Password.IsSet() && !anySecret(t, passwordKey):
		t.problem("username", "has no password", "set one of password_file, password_command, password_env, password_credential, password")
	}
	if a.Auth == MechanismExternal && slices.ContainsFunc(d.Servers, func(s DirectoryServer) bool { return s.Socket == "" }) {
		t.problem("auth", `"external" is for ldapi:// alone, where the directory sees who we are`, "name only sockets in url, or choose another auth")
	}
	if !kerberos || k.SPN != "" {
		return
	}
	for _, s := range d.Servers {
		if s.Socket != "" {
			t.problem("auth", name+" needs the name of a host, and a socket has none", `set auth = "external" or spn`)
		} else if _, err := netip.ParseAddr(s.Host); err == nil {
			t.problem("auth", name+" needs the server's host name, and url has an address", "write its name, or set spn")
		}
	}
}

// checkFilter tells what is wrong with a filter (RFC 4515) of which every %s is
// a value.
func checkFilter(filter string) error {
	if !strings.Contains(filter, "%s") {
		return errors.New("has no %s where the text goes")
	}
	for rest, before := filter, ""; ; {
		head, tail, more := strings.Cut(rest, "%s")
		if !more {
			break
		}
		before += head
		if at := strings.LastIndexAny(before, "()"); at < 0 || before[at] == ')' || !strings.Contains(before[at:], "=") {
			return errors.New("has a %s that is no value; values are behind a =")
		}
		before, rest = before+"x", tail
	}
	if _, err := ldap.CompileFilter(strings.ReplaceAll(filter, "%s", "text")); err != nil {
		return errors.New("is no filter of LDAP: its brackets or a value are wrong")
	}
	return nil
}
