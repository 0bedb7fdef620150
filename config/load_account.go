package config

import (
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// readDomain reads the Windows domain of the user name.
func readDomain(t *table, m *mechanism, up *Upstream) {
	if !t.text("domain", &up.Domain) {
		return
	}
	switch {
	case !m.domain:
		t.problem("domain", "has no effect while auth = "+strconv.Quote(m.name), `set auth = "ntlm" or "auto", or remove it`)
	case strings.ContainsAny(up.Domain, `\@/ `) || hasControl(up.Domain):
		t.problem("domain", strconv.QuoteToASCII(up.Domain)+" is not the name of a domain", `such as "CORP", without a user`)
	case strings.ContainsAny(up.Username, `\@`):
		t.problem("domain", "has no effect beside a username that has a domain of its own", "remove one of them")
	}
}

// readKerberos reads where tickets come from.
func (d *document) readKerberos(t *table, m *mechanism, up *Upstream) {
	k := &up.Kerberos
	t.text("realm", &k.Realm)
	t.text("keytab", &k.Keytab)
	t.text("ccache", &k.CCache)
	t.text("krb5_conf", &k.Conf)
	t.text("spn", &k.SPN)
	// As krb5.conf and KRB5CCNAME have it.
	k.Keytab, k.CCache = strings.TrimPrefix(k.Keytab, "FILE:"), strings.TrimPrefix(k.CCache, "FILE:")
	k.Keytab, k.CCache, k.Conf = d.path(k.Keytab), d.path(k.CCache), d.path(k.Conf)
	if !m.kerberos {
		refuseWith(t, "has no effect while auth = "+strconv.Quote(m.name),
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
		t.problem("auth", strconv.Quote(m.name)+" needs the upstream's host name, and host is an address", "set host to its name, or spn")
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
	refuseWith(t, `has no effect while auth = "integrated"`, hint, "username")
	if up.Password.IsSet() {
		t.problem(up.Password.source.key(), `has no effect while auth = "integrated"`, hint)
	}
	if runtime.GOOS == "windows" {
		refuseWith(t, "has no effect on Windows, which has the account's tickets itself", "remove it", "keytab", "ccache", "krb5_conf", "realm")
	} else {
		refuseWith(t, `has no effect while auth = "integrated"`, "the tickets or the keytab tell it", "realm")
	}
}

// readKeySignIn reads what a keytab, a cache or, in "auto", a client
// certificate leaves open.
func readKeySignIn(t *table, m *mechanism, up *Upstream) {
	switch {
	case m.name == "auto" && up.Password.IsSet() && !t.has("username"):
		t.problem(up.Password.source.key(), "has no effect without a username", "set username, or remove it")
	case m.name != "auto" && up.Password.IsSet():
		t.problem(up.Password.source.key(), "has no effect beside keytab or ccache", "keep one of them")
	case m.name != "auto" && up.Kerberos.CCache != "":
		refuseWith(t, "has no effect beside ccache, whose tickets tell it", "remove it", "username", "realm")
	}
}

// readCertificateSignIn reads what auth = "external" needs.
func readCertificateSignIn(t *table, up *Upstream) {
	if up.Password.IsSet() {
		t.problem(up.Password.source.key(), `has no effect while auth = "external"`, "remove it: the certificate signs in")
	}
	switch {
	case up.TLS == TLSOff:
		t.problem("auth", `"external" needs TLS, which shows the certificate`, `set tls = "verify"`)
	case !t.has("cert_file"):
		t.problem("auth", `"external" needs a client certificate`, "set cert_file and key_file")
	}
}
