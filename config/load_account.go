package config

import (
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
