package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"postern/config/visible"
)

// mechanism is what the configuration has to know of a way to sign in.
type mechanism struct {
	name      string
	supported bool
	password  bool // needs username and password
	token     bool // needs username and [upstream.NAME.oauth]
	plaintext bool // shows the password to whoever reads the line
	domain    bool // may have a domain of Windows
	kerberos  bool // may have keys of Kerberos
	own       bool // signs in as the account that runs the process
	cert      bool // signs in by the client certificate
}

// mechanisms are the values of auth. Those that are not supported are part
// of the contract and refused with a list of those that are.
var mechanisms = []mechanism{
	{name: "auto", supported: true, password: true, domain: true, kerberos: true},
	{name: "plain", supported: true, password: true, plaintext: true},
	{name: "login", supported: true, password: true, plaintext: true},
	{name: "cram-md5", supported: true, password: true},
	{name: "scram-sha-1", supported: true, password: true},
	{name: "scram-sha-256", supported: true, password: true},
	{name: "scram-sha-512", supported: true, password: true},
	{name: "xoauth2", supported: true, token: true},
	{name: "oauthbearer", supported: true, token: true},
	{name: "none", supported: true},
	{name: "ntlm", supported: true, password: true, domain: true},
	{name: "external", supported: true, cert: true},
	{name: "gssapi", supported: true, password: true, kerberos: true},
	{name: "gss-spnego", supported: true, password: true, kerberos: true},
	{name: "integrated", supported: true, kerberos: true, own: true},
}

// networkKeys are what the capture server sets by itself.
var networkKeys = []string{
	"region", "host", "port", "tls", "tls_min_version", "tls_old_ciphers", "ca_file", "server_name", "fingerprint", "cert_file", "key_file", "auth", "username", "domain",
	"realm", "keytab", "ccache", "krb5_conf", "spn",
	"password", "password_file", "password_command", "password_command_env", "password_env", "password_credential", "oauth",
}

func (d *document) readUpstreams(top *table, cfg *Config) {
	names, tables := top.named("upstream")
	for i, name := range names {
		up := DefaultUpstream(name)
		if len(name) > 100 || strings.ContainsAny(name, " \"'/\\<>") || hasControl(name) || name == "" {
			tables[i].problem("", strconv.Quote(name)+" cannot be a name", "up to 100 letters, digits and signs, without spaces, quotes and slashes")
		}
		d.readUpstream(tables[i], up)
		cfg.Upstreams[name] = up
	}
	if len(names) == 0 && !top.has("upstream") {
		top.problem("", "there is no upstream", "add an [upstream.NAME] table that says where mail goes")
	}
}

func (d *document) readUpstream(t *table, up *Upstream) {
	p := readProvider(t, up)
	d.readHost(t, up, p)
	d.readUpstreamTLS(t, up)
	d.readSignIn(t, up, p)
	p.warnRetiring(t, up)
	t.integer("max_connections", &up.MaxConnections, 1, 1000)
	t.integer("max_messages", &up.MaxMessages, 1, 1_000_000)
	t.duration("max_age", &up.MaxAge, time.Second, longTime)
	readWithout(t, up)
	t.integer("max_recipients", &up.MaxRecipients, 1, 100_000)
	t.size("max_message_size", &up.MaxMessageSize, 64<<10) // RFC 5321 §4.5.3.1.7
	t.duration("connect_timeout", &up.ConnectTimeout, time.Second, longTime)
	t.duration("command_timeout", &up.CommandTimeout, time.Second, longTime)
	t.duration("data_timeout", &up.DataTimeout, time.Second, longTime)
	t.duration("idle_close", &up.IdleClose, time.Second, longTime)
	readRates(t, &up.Rate)
	if up.Provider == CaptureProvider {
		for _, name := range networkKeys {
			if t.has(name) {
				t.problem(name, "is set by the capture server itself", `remove it, or provider = "capture"`)
			}
		}
	}
	t.finish()
}

// extensions are those of SMTP that an upstream may announce and that a
// configuration can do without.
var extensions = []string{
	"PIPELINING", "CHUNKING", "BINARYMIME", "8BITMIME", "SMTPUTF8", "DSN", "SIZE", "LIMITS", "MT-PRIORITY", "DELIVERBY", "REQUIRETLS",
}

// readWithout reads the extensions that are not to be used.
func readWithout(t *table, up *Upstream) {
	if !t.list("without", &up.Without) {
		return
	}
	for i, name := range up.Without {
		name = strings.ToUpper(strings.TrimSpace(name))
		up.Without[i] = name
		if slices.Contains(extensions, name) {
			continue
		}
		hint := "one of " + strings.Join(extensions, ", ")
		switch near := nearest(name, extensions); {
		case name == "STARTTLS":
			hint = `TLS is switched off by tls = "off"`
		case name == "AUTH":
			hint = `sign-in is switched off by auth = "none"`
		case near != "":
			hint = "did you mean " + strconv.Quote(near) + "? It is " + hint
		}
		t.problem("without", strconv.QuoteToASCII(name)+" is no extension that can be left unused", hint)
	}
}

func (d *document) readHost(t *table, up *Upstream, p *provider) {
	switch {
	case t.text("host", &up.Host):
		checkHost(t, up)
	case t.has("host"):
	case p != nil && p.Host == "" && p.Regions == nil:
		t.problem("provider", "needs a host", "set host"+up.Preset.hint())
	case !t.has("provider"):
		t.problem("", "has no host", `set host = "mail.example.com"`)
	}
	readPort(t, up, p)
}

// checkHost accepts a name or an IP address, without brackets or port.
func checkHost(t *table, up *Upstream) {
	if ip, err := netip.ParseAddr(up.Host); err == nil {
		up.Host = ip.String()
		return
	}
	if host, port, err := splitHostPort(up.Host); err == nil && host != "" {
		t.problem("host", "holds a port", fmt.Sprintf("write host = %q and port = %s", host, port))
		return
	}
	canonical, ok := CanonicalDomain(strings.TrimSuffix(up.Host, "."))
	if !ok || !resolvable(up.Host) {
		hint := "without brackets, port or scheme"
		if strings.Contains(up.Host, "$") {
			hint = "${NAME} stands for a variable of the environment"
		}
		t.problem("host", strconv.QuoteToASCII(up.Host)+" is neither a host name nor an IP address", hint)
		return
	}
	up.Host = canonical
}

// resolvable tells whether a name is spelled as that of a host can be. Names
// with underscores exist, in container networks for instance; one that ends in
// a number is an address with a slip in it (RFC 1123 §2.1).
func resolvable(name string) bool {
	for _, r := range name {
		switch {
		case r >= utf8.RuneSelf:
			if !visible.Addressable(r) {
				return false
			}
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-_.", r):
		default:
			return false
		}
	}
	name = strings.TrimSuffix(name, ".")
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.Trim(last, "0123456789") != ""
}

// readSignIn reads how to sign in and checks that it adds up.
func (d *document) readSignIn(t *table, up *Upstream, p *provider) {
	hasUser := t.text("username", &up.Username) || !t.has("username") && up.Username != ""
	if unseen := unseenIn(up.Username); unseen != "" {
		t.warn("username", "holds "+unseen, "type it anew")
	} else if strings.TrimSpace(up.Username) != up.Username {
		t.warn("username", "has blanks around it, which are part of it", "remove them")
	}
	up.Password = d.readSecret(t, passwordKey, secretKinds...)
	switch {
	case p != nil:
		up.Auth = p.mechanism(t)
	case t.has("username"):
		up.Auth = "auto"
	}
	var name string
	if !t.text("auth", &name) {
		name = up.Auth
	}
	oauth := t.sub("oauth")
	m := findMechanism(t, name)
	if m == nil {
		return
	}
	up.Auth = m.name
	readDomain(t, m, up)
	d.readKerberos(t, m, up)
	if m.token || m.name == "auto" && t.has("oauth") {
		d.readTokenSignIn(t, oauth, up, p)
		return
	}
	if t.has("oauth") {
		t.problem("oauth", "has no effect while auth = "+strconv.Quote(m.name), `set auth = "auto", "xoauth2" or "oauthbearer", or remove it`)
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
	case m.name == "none" && up.Password.IsSet():
		t.problem(up.Password.source.key(), "has no effect without a username", "set username, or remove it")
	case m.password && !hasUser && !t.has("username"):
		t.problem(firstGiven(t, "auth", "provider"), strconv.Quote(m.name)+" needs a username", "set username and a password"+up.Preset.hint())
	case m.password && hasUser && !anySecret(t, passwordKey):
		t.problem(firstGiven(t, "username", "provider"), "has no password", "set one of password_file, password_command, password_env, password_credential, password"+up.Preset.hint())
	case m.plaintext && up.TLS == TLSOff && !isLoopback(up.Host):
		t.problem("auth", strconv.Quote(m.name)+` would send the password in clear over the network while tls = "off"`,
			`choose another tls, or auth = "scram-sha-256"`)
	case m.name == "ntlm" && up.TLS == TLSOff && !isLoopback(up.Host):
		t.warn("auth", `"ntlm" without TLS lets whoever reads along guess the password, and whoever sits between sign in`, `set tls = "verify"`)
	case m.password:
		warnUnchecked(t, up, "password")
	}
}

// firstGiven is the first of the keys that the file has, to name where
// something beside them is missing; "" is the table itself.
func firstGiven(t *table, names ...string) string {
	for _, name := range names {
		if t.has(name) {
			return name
		}
	}
	return ""
}

// findMechanism looks up a value of auth, or reports why it cannot be used.
func findMechanism(t *table, name string) *mechanism {
	var all, supported []string
	for i, m := range mechanisms {
		if m.name == name && m.supported {
			return &mechanisms[i]
		}
		all = append(all, m.name)
		if m.supported {
			supported = append(supported, m.name)
		}
	}
	hint := "one of " + strings.Join(supported, ", ")
	if slices.Contains(all, name) {
		t.problem("auth", strconv.Quote(name)+" is not supported by this version", hint)
		return nil
	}
	if near := nearest(name, supported); near != "" {
		hint = "did you mean " + strconv.Quote(near) + "? It is " + hint
	}
	t.problem("auth", strconv.Quote(name)+" is not known", hint)
	return nil
}
