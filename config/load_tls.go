package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// defaultPort is the port of a mode where none is named (RFC 8314 §3.3).
func defaultPort(mode UpstreamTLS) int {
	switch mode {
	case TLSAuto:
		return 0 // found out
	case TLSImplicit:
		return 465
	}
	return 587
}

// readPort reads how the host is reached. Whoever names a port and no mode
// gets STARTTLS; whoever names neither leaves both to be found out, unless a
// provider p is named.
func readPort(t *table, up *Upstream, p *provider) {
	mode := string(up.TLS)
	switch {
	case t.oneOf("tls", &mode, string(TLSAuto), string(TLSVerify), string(TLSEncrypt), string(TLSOpportunistic), string(TLSImplicit), string(TLSOff)):
		up.TLS = UpstreamTLS(mode)
		up.Port = defaultPort(up.TLS)
	case t.has("port") && up.TLS == TLSAuto:
		up.TLS = TLSVerify
	}
	if p != nil {
		p.settle(t, up)
	}
	t.integer("port", &up.Port, 1, 65535)
	switch {
	case !t.has("port"):
	case up.TLS == TLSAuto:
		t.problem("port", `has no effect while tls = "auto", which finds the port`, `remove one of them, or set tls = "verify" or "implicit"`)
	case up.Port == 465 && up.TLS != TLSImplicit:
		t.warn("port", "465 is for TLS from the first byte, and tls = "+strconv.Quote(string(up.TLS))+" begins in clear", `set tls = "implicit", or port = 587`)
	case (up.Port == 587 || up.Port == 25) && up.TLS == TLSImplicit:
		t.warn("port", fmt.Sprintf(`%d begins in clear, and tls = "implicit" is TLS from the first byte`, up.Port), `set tls = "verify", or port = 465`)
	}
}

func (d *document) readUpstreamTLS(t *table, up *Upstream) {
	readMinVersion(t, up)
	readOldCiphers(t, up)
	t.text("ca_file", &up.CAFile)
	t.text("server_name", &up.ServerName)
	t.text("cert_file", &up.CertFile)
	t.text("key_file", &up.KeyFile)
	up.CAFile, up.CertFile, up.KeyFile = d.path(up.CAFile), d.path(up.CertFile), d.path(up.KeyFile)
	readFingerprints(t, up)
	if up.ServerName != "" {
		if canonical, ok := hostName(up.ServerName); ok {
			up.ServerName = canonical
		} else {
			t.problem("server_name", strconv.QuoteToASCII(up.ServerName)+" is not a host name", "")
		}
	}
	unchecked := "has no effect while tls = " + strconv.Quote(string(up.TLS)) + ", which "
	switch {
	case up.TLS == TLSOff:
		refuseWith(t, `has no effect while tls = "off"`, "remove it, or choose another tls",
			"tls_min_version", "tls_old_ciphers", "ca_file", "server_name", "fingerprint", "cert_file", "key_file")
	case up.TLS == TLSEncrypt:
		refuseWith(t, unchecked+"checks no certificate", `set tls = "verify"`, "ca_file", "fingerprint")
	case up.TLS == TLSOpportunistic:
		// ca_file says which certificates it remembers as valid.
		refuseWith(t, unchecked+"would go on in clear without it", `set tls = "verify"`, "fingerprint")
	case t.has("fingerprint"):
		refuseWith(t, "has no effect beside fingerprint, which replaces the check of the chain", "remove one of them", "ca_file")
	}
	if up.CAFile != "" && up.TLS != TLSEncrypt && up.TLS != TLSOff {
		checkCAFile(t, up.CAFile)
	}
	switch {
	case t.has("cert_file") && !t.has("key_file"):
		t.problem("cert_file", "needs its key", "set key_file")
	case t.has("key_file") && !t.has("cert_file"):
		t.problem("key_file", "needs its certificate", "set cert_file")
	case up.CertFile != "" && up.KeyFile != "" && up.TLS != TLSOff:
		checkKeyPair(t, up.CertFile, up.KeyFile)
	}
}

// TLSVersion is the number that crypto/tls has for "1.0" to "1.3"; of anything
// else it is that of 1.2.
func TLSVersion(s string) uint16 {
	switch s {
	case "1.0":
		return tls.VersionTLS10
	case "1.1":
		return tls.VersionTLS11
	case "1.3":
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// OldCipherSuites are those of crypto/tls and, behind them, those that it has
// put aside and that servers and devices of the time of TLS 1.0 need: RSA key
// exchange, 3DES, CBC with SHA-256. RC4 stays out (RFC 7465).
func OldCipherSuites() (ids []uint16) {
	for _, c := range tls.CipherSuites() {
		ids = append(ids, c.ID)
	}
	for _, c := range tls.InsecureCipherSuites() {
		if !strings.Contains(c.Name, "RC4") {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// readMinVersion lets those versions in that RFC 8996 has buried, for servers
// that know nothing else, and says what they are worth.
func readMinVersion(t *table, up *Upstream) {
	if !t.oneOf("tls_min_version", &up.TLSMinVersion, "1.0", "1.1", "1.2", "1.3") {
		return
	}
	if up.TLSMinVersion < "1.2" && up.TLS != TLSOff {
		t.warn("tls_min_version", "TLS "+up.TLSMinVersion+" is broken (RFC 8996): whoever sits between may read and change what passes",
			"use it only as long as the upstream cannot do TLS 1.2")
	}
}

// readOldCiphers lets those cipher suites in that crypto/tls has put aside, and
// says what they are worth.
func readOldCiphers(t *table, up *Upstream) {
	t.boolean("tls_old_ciphers", &up.TLSOldCiphers)
	switch {
	case !up.TLSOldCiphers || up.TLS == TLSOff:
	case up.TLSMinVersion == "1.3":
		t.problem("tls_old_ciphers", `has no effect while tls_min_version = "1.3", which has no old cipher suites`, "remove one of them")
	default:
		t.warn("tls_old_ciphers", "RSA key exchange and 3DES are weak: whoever records what passes can read it once they have the key of the upstream",
			"use it only as long as the upstream knows nothing better")
	}
}

// refuseWith reports each of the keys that is given.
func refuseWith(t *table, text, hint string, names ...string) {
	for _, name := range names {
		if t.has(name) {
			t.problem(name, text, hint)
		}
	}
}

// readFingerprints reads one pin, or a list of them, so that a certificate can
// be replaced by one that is pinned already.
func readFingerprints(t *table, up *Upstream) {
	const name = "fingerprint"
	var pins []string
	_, single := t.values[name].(string)
	if one := ""; !single {
		t.list(name, &pins)
	} else if t.text(name, &one) {
		pins = []string{one}
	}
	for i, pin := range pins {
		digits, ok := parseFingerprint(pin)
		switch {
		case ok:
			up.Fingerprints = append(up.Fingerprints, digits)
			continue
		case pin == "":
			continue // reported already
		}
		key := t.key(name)
		if !single {
			key = joinIndex(key, i)
		}
		t.doc.problem(key, "is not a SHA-256 fingerprint",
			`"sha256:" and 64 hex digits, as printed by: openssl x509 -noout -fingerprint -sha256`)
	}
}

// parseFingerprint reads "sha256:" and 32 bytes in hex, with or without colons.
func parseFingerprint(pin string) (digits string, ok bool) {
	digits, ok = strings.CutPrefix(strings.ToLower(pin), "sha256:")
	digits = strings.ReplaceAll(digits, ":", "")
	raw, err := hex.DecodeString(digits)
	return digits, ok && err == nil && len(raw) == 32
}

func checkCAFile(t *table, path string) {
	pem, err := ReadFile(path)
	if err != nil {
		t.problem("ca_file", path+" cannot be read: "+reason(err), "")
		return
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		t.problem("ca_file", path+" holds no certificate", "one or more, in PEM")
	}
}

// warnUnchecked tells what a mode without a checked certificate means for a
// secret.
func warnUnchecked(t *table, up *Upstream, secret string) {
	if isLoopback(up.Host) {
		return
	}
	hint := `set tls = "verify", with ca_file or fingerprint where the certificate is your own`
	switch up.TLS {
	case TLSEncrypt:
		t.warn("tls", `"encrypt" checks no certificate: whoever sits between can read the `+secret, hint)
	case TLSOpportunistic:
		t.warn("tls", `"opportunistic" checks no certificate until it has seen a valid one: whoever sits between can read the `+secret, hint)
	}
}
