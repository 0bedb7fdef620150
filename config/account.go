package config

import (
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Account is who signs in, and how. It belongs to no protocol: an upstream has
// one, and so can a directory or another server. It is part of a Config and as
// immutable.
type Account struct {
	// Name tells accounts apart; tokens are kept under it. That of an upstream
	// is the upstream's.
	Name string
	// Server is the host that is signed in to, or several with a space between, as
	// they are compared: a login of a person is good for no other. Empty: it is
	// nobody's choice.
	Server   string
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

// mechanism is what the configuration has to know of a way to sign in.
type mechanism struct {
	name      Mechanism
	password  bool // needs username and password
	token     bool // needs username and [upstream.NAME.oauth]
	plaintext bool // shows the password to whoever reads the line
	domain    bool // may have a domain of Windows
	kerberos  bool // may have keys of Kerberos
	own       bool // signs in as the account that runs the process
	cert      bool // signs in by the client certificate
}

// mechanisms are the values of auth.
var mechanisms = []mechanism{
	{name: "auto", password: true, domain: true, kerberos: true},
	{name: "plain", password: true, plaintext: true},
	{name: "login", password: true, plaintext: true},
	{name: "cram-md5", password: true},
	{name: "scram-sha-1", password: true},
	{name: "scram-sha-256", password: true},
	{name: "scram-sha-512", password: true},
	{name: "xoauth2", token: true},
	{name: "oauthbearer", token: true},
	{name: "none"},
	{name: "ntlm", password: true, domain: true},
	{name: "external", cert: true},
	{name: "gssapi", password: true, kerberos: true},
	{name: "gss-spnego", password: true, kerberos: true},
	{name: "integrated", kerberos: true, own: true},
}

// mechanismNames are the values of auth.
func mechanismNames() []Mechanism {
	names := make([]Mechanism, len(mechanisms))
	for i, m := range mechanisms {
		names[i] = m.name
	}
	return names
}

// readSignIn reads how to sign in and checks that it adds up.
func (up *Upstream) readSignIn(t *table, p *provider) {
	hasUser := t.got["username"] || !t.has("username") && up.Username != ""
	if unseen := unseenIn(up.Username); unseen != "" {
		t.warn("username", "holds "+unseen, "type it anew")
	} else if strings.TrimSpace(up.Username) != up.Username {
		t.warn("username", "has blanks around it, which are part of it", "remove them")
	}
	switch {
	case t.got["auth"]:
	case t.has("auth"):
		return // nothing is known of the rest
	case p != nil:
		up.Auth = p.mechanism(t)
	case t.has("username"):
		up.Auth = MechanismAuto
	}
	oauth := t.sub("oauth")
	m := up.Auth.known()
	checkDomain(t, m, up)
	checkKerberos(t, m, up)
	if m.token || m.name == MechanismAuto && t.has("oauth") {
		readTokenSignIn(t, oauth, up, p)
		return
	}
	if t.has("oauth") {
		t.problem("oauth", "has no effect while auth = "+m.name.quoted(), `set auth = "auto", "xoauth2" or "oauthbearer", or remove it`)
	}
	if m.cert {
		readCertificateSignIn(t, up)
		return
	}
	if m.own {
		readOwnSignIn(t, up)
		return
	}
	nameless := m.name == "auto" && t.has("cert_file") && !hasUser && !t.has("username")
	if nameless || up.Kerberos.Keytab != "" || up.Kerberos.CCache != "" {
		readKeySignIn(t, m, up)
		return
	}
	switch {
	case m.name == "none" && t.has("username"):
		t.problem("username", `has no effect while auth = "none"`, "remove one of them")
	case m.name == "none":
		t.refuseSecret(up.Password, "has no effect without a username", "set username, or remove it")
	case m.password && !hasUser && !t.has("username"):
		t.problem(t.firstGiven("auth", "provider"), m.name.quoted()+" needs a username", "set username and a password"+up.Preset.hint())
	case m.password && hasUser && !anySecret(t, passwordKey):
		t.problem(t.firstGiven("username", "provider"), "has no password", "set one of password_file, password_command, password_env, password_credential, password"+up.Preset.hint())
	case m.plaintext && up.TLS == TLSOff && !isLoopback(up.Host):
		t.problem("auth", m.name.quoted()+` would send the password in clear over the network while tls = "off"`,
			`choose another tls, or auth = "scram-sha-256"`)
	case m.name == "ntlm" && up.TLS == TLSOff && !isLoopback(up.Host):
		t.warn("auth", `"ntlm" without TLS lets whoever reads along guess the password, and whoever sits between sign in`, `set tls = "verify"`)
	case m.password:
		warnUnchecked(t, up, "password")
	}
}

// known is what is known of a mechanism, which is one of the table.
func (m Mechanism) known() *mechanism {
	i := slices.IndexFunc(mechanisms, func(known mechanism) bool { return known.name == m })
	return &mechanisms[i]
}

// quoted is the name as the file has it.
func (m Mechanism) quoted() string { return strconv.Quote(string(m)) }

// checkDomain looks at the Windows domain of the user name.
func checkDomain(t *table, m *mechanism, up *Upstream) {
	if !t.got["domain"] {
		return
	}
	switch {
	case !m.domain:
		t.problem("domain", "has no effect while auth = "+m.name.quoted(), `set auth = "ntlm" or "auto", or remove it`)
	case strings.ContainsAny(up.Domain, `\@/ `) || hasControl(up.Domain):
		t.problem("domain", strconv.QuoteToASCII(up.Domain)+" is not the name of a domain", `such as "CORP", without a user`)
	case strings.ContainsAny(up.Username, `\@`):
		t.problem("domain", "has no effect beside a username that has a domain of its own", "remove one of them")
	}
}

// readTicketFile is a path that may have FILE: before it, as krb5.conf and
// KRB5CCNAME have it.
func readTicketFile(f field, v any) (string, bool) {
	if s, ok := v.(string); ok && s != "FILE:" {
		v = strings.TrimPrefix(s, "FILE:")
	}
	return readPath(f, v)
}

// checkKerberos looks at where tickets come from.
func checkKerberos(t *table, m *mechanism, up *Upstream) {
	k := &up.Kerberos
	if !m.kerberos {
		t.refuse("has no effect while auth = "+m.name.quoted(),
			`set auth = "gssapi", "integrated" or "auto", or remove it`, "realm", "keytab", "ccache", "krb5_conf", "spn")
		return
	}
	if k.Keytab != "" {
		checkSecretFile(t, "keytab", "keys", k.Keytab)
	}
	if k.Conf != "" {
		checkReadable(t, "krb5_conf", k.Conf)
	}
	if k.CCache != "" {
		checkCache(t, k.CCache)
	}
	switch {
	case k.Keytab != "" && k.CCache != "":
		t.problem("ccache", "has no effect beside keytab", "keep one of them")
	case k.Realm != "" && (strings.ContainsAny(k.Realm, "@/ ") || hasControl(k.Realm)):
		t.problem("realm", strconv.QuoteToASCII(k.Realm)+" is not a realm", `such as "CORP.EXAMPLE.COM"`)
	case k.Realm != "" && k.Realm != strings.ToUpper(k.Realm):
		t.warn("realm", strconv.QuoteToASCII(k.Realm)+" is not in capitals, as nearly all realms are", "capitals count in Kerberos")
	}
	if service, host, ok := strings.Cut(k.SPN, "/"); k.SPN != "" && (!ok || service == "" || host == "" || strings.ContainsAny(k.SPN, "@ ")) {
		t.problem("spn", strconv.QuoteToASCII(k.SPN)+" is not a service", `"smtp/" and the host name under which the KDC knows the upstream`)
	}
	if _, err := netip.ParseAddr(up.Host); err == nil && k.SPN == "" && m.name != "auto" {
		t.problem("auth", m.name.quoted()+" needs the upstream's host name, and host is an address", "set host to its name, or spn")
	}
}

// checkCache looks at a file of tickets. Whoever renews it may not have
// written it yet, and owns it; whoever can read it can sign in with it.
func checkCache(t *table, path string) {
	if _, err := os.Stat(path); err != nil {
		t.warn("ccache", path+" cannot be read now: "+reason(err), "signing in fails until whoever renews the tickets has written it")
		return
	}
	if err := checkSecretMode(path); err != nil {
		t.problem("ccache", path+" "+err.Error(), "chmod o-rwx "+path)
	}
}

// readOwnSignIn reads what auth = "integrated" needs: nothing.
func readOwnSignIn(t *table, up *Upstream) {
	hint := "remove it: the account that runs Postern signs in"
	t.refuse(`has no effect while auth = "integrated"`, hint, "username")
	t.refuseSecret(up.Password, `has no effect while auth = "integrated"`, hint)
	if runtime.GOOS == "windows" {
		t.refuse("has no effect on Windows, which has the account's tickets itself", "remove it", "keytab", "ccache", "krb5_conf", "realm")
	} else {
		t.refuse(`has no effect while auth = "integrated"`, "the tickets or the keytab tell it", "realm")
	}
}

// readKeySignIn reads what a keytab, a cache or, in "auto", a client
// certificate leaves open.
func readKeySignIn(t *table, m *mechanism, up *Upstream) {
	switch {
	case m.name == "auto" && !t.has("username"):
		t.refuseSecret(up.Password, "has no effect without a username", "set username, or remove it")
	case m.name == "auto":
	case up.Password.IsSet():
		t.refuseSecret(up.Password, "has no effect beside keytab or ccache", "keep one of them")
	case up.Kerberos.CCache != "":
		t.refuse("has no effect beside ccache, whose tickets tell it", "remove it", "username", "realm")
	}
}

// readCertificateSignIn reads what auth = "external" needs.
func readCertificateSignIn(t *table, up *Upstream) {
	t.refuseSecret(up.Password, `has no effect while auth = "external"`, "remove it: the certificate signs in")
	switch {
	case up.TLS == TLSOff:
		t.problem("auth", `"external" needs TLS, which shows the certificate`, `set tls = "verify"`)
	case !t.has("cert_file"):
		t.problem("auth", `"external" needs a client certificate`, "set cert_file and key_file")
	}
}
