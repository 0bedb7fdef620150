package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"postern/config/wire"
)

func (c *Config) upstreamTables() value {
	return tableMap[Upstream]{place: &c.Upstreams, fresh: DefaultUpstream, keys: (*Upstream).keys, check: (*Upstream).check}
}

func (u *Upstream) check(t *table) {
	checkName(t, "", u.Name)
	p := knownProviders().Provider[u.Provider]
	u.settleHost(t, p)
	u.settlePort(t, p)
	u.Server = u.Host
	u.checkTLS(t)
	u.readSignIn(t, p)
	p.warnRetiring(t, u)
	if u.Provider == CaptureProvider {
		for _, k := range u.networkKeys() {
			t.refuse("is set by the capture server itself", `remove it, or provider = "capture"`, k.name)
		}
	}
}

// extensions are those of SMTP that an upstream may announce and that a
// configuration can do without.
var extensions = []string{
	"PIPELINING", "CHUNKING", "BINARYMIME", "8BITMIME", "SMTPUTF8", "DSN", "SIZE", "LIMITS", "MT-PRIORITY", "DELIVERBY", "REQUIRETLS",
}

// readWithout reads the extensions that are not to be used.
func readWithout(f field, v any) ([]string, bool) {
	return listOf(func(_ field, name string) (string, bool) { return readExtension(f, name) })(f, v)
}

func readExtension(f field, name string) (string, bool) {
	name = strings.ToUpper(strings.TrimSpace(name))
	if slices.Contains(extensions, name) {
		return name, true
	}
	hint := "one of " + strings.Join(extensions, ", ")
	switch near := Nearest(name, extensions); {
	case name == "STARTTLS":
		hint = `TLS is switched off by tls = "off"`
	case name == "AUTH":
		hint = `sign-in is switched off by auth = "none"`
	case near != "":
		hint = "did you mean " + strconv.Quote(near) + "? It is " + hint
	}
	return name, f.problem(strconv.QuoteToASCII(name)+" is no extension that can be left unused", hint)
}

// settleHost finds the host: the file's, or the one of the provider p.
func (u *Upstream) settleHost(t *table, p *provider) {
	u.refuseRegion(t, p)
	if p != nil && !t.has("host") {
		p.settleRegion(t, u)
	}
	switch {
	case t.got["host"]:
		checkHost(t, u)
	case t.has("host"):
	case p != nil && p.Host == "" && p.Regions == nil:
		t.problem("provider", "needs a host", "set host"+u.Preset.hint())
	case !t.has("provider"):
		t.problem("", "has no host", `set host = "mail.example.com"`)
	}
}

// ParseHost reads the host of an upstream, a name or an IP address without
// brackets or port, and returns it as it is compared.
func ParseHost(s string) (host string, ok bool) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.String(), true
	}
	canonical, ok := wire.CanonicalDomain(strings.TrimSuffix(s, "."))
	return canonical, ok && resolvable(s)
}

// checkHost accepts what ParseHost reads.
func checkHost(t *table, up *Upstream) {
	if host, ok := ParseHost(up.Host); ok {
		up.Host = host
		return
	}
	if host, port, err := splitHostPort(up.Host); err == nil && host != "" {
		t.problem("host", "holds a port", fmt.Sprintf("write host = %q and port = %s", host, port))
		return
	}
	hint := "without brackets, port or scheme"
	if strings.Contains(up.Host, "$") {
		hint = "${NAME} stands for a variable of the environment"
	}
	t.problem("host", strconv.QuoteToASCII(up.Host)+" is neither a host name nor an IP address", hint)
}

// resolvable tells whether a name is spelled as that of a host can be. Names
// with underscores exist, in container networks for instance; one that ends in
// a number is an address with a slip in it (RFC 1123 §2.1).
func resolvable(name string) bool {
	for _, r := range name {
		switch {
		case r >= utf8.RuneSelf:
			if !wire.Addressable(r) {
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

// settlePort finds how the host is reached. Whoever names a port and no mode
// gets STARTTLS; whoever names neither leaves both to be found out, unless a
// provider p is named.
func (u *Upstream) settlePort(t *table, p *provider) {
	switch {
	case t.got["tls"] && !t.has("port"):
		u.Port = defaultPort(u.TLS)
	case t.got["tls"]:
	case t.has("port") && u.TLS == TLSAuto:
		u.TLS = TLSVerify
	}
	if p != nil {
		p.settle(t, u)
	}
	switch {
	case !t.has("port"):
	case u.TLS == TLSAuto:
		t.problem("port", `has no effect while tls = "auto", which finds the port`, `remove one of them, or set tls = "verify" or "implicit"`)
	case u.Port == 465 && u.TLS != TLSImplicit:
		t.warn("port", "465 is for TLS from the first byte, and tls = "+strconv.Quote(string(u.TLS))+" begins in clear", `set tls = "implicit", or port = 587`)
	case (u.Port == 587 || u.Port == 25) && u.TLS == TLSImplicit:
		t.warn("port", fmt.Sprintf(`%d begins in clear, and tls = "implicit" is TLS from the first byte`, u.Port), `set tls = "verify", or port = 465`)
	}
}

func (u *Upstream) checkTLS(t *table) {
	if u.TLSMinVersion.broken() && u.TLS != TLSOff {
		t.warn("tls_min_version", "TLS "+string(u.TLSMinVersion)+" is broken (RFC 8996): whoever sits between may read and change what passes",
			"use it only as long as the upstream cannot do TLS 1.2")
	}
	u.checkOldCiphers(t)
	if u.ServerName != "" {
		if canonical, ok := wire.CanonicalHost(u.ServerName); ok {
			u.ServerName = canonical
		} else {
			t.problem("server_name", strconv.QuoteToASCII(u.ServerName)+" is not a host name", "")
		}
	}
	unchecked := "has no effect while tls = " + strconv.Quote(string(u.TLS)) + ", which "
	switch {
	case u.TLS == TLSOff:
		t.refuse(`has no effect while tls = "off"`, "remove it, or choose another tls",
			"tls_min_version", "tls_old_ciphers", "ca_file", "server_name", "fingerprint", "cert_file", "key_file")
	case u.TLS == TLSEncrypt:
		t.refuse(unchecked+"checks no certificate", `set tls = "verify"`, "ca_file", "fingerprint")
	case u.TLS == TLSOpportunistic:
		// ca_file says which certificates it remembers as valid.
		t.refuse(unchecked+"would go on in clear without it", `set tls = "verify"`, "fingerprint")
	case t.has("fingerprint"):
		t.refuse("has no effect beside fingerprint, which replaces the check of the chain", "remove one of them", "ca_file")
	}
	if u.CAFile != "" && u.TLS != TLSEncrypt && u.TLS != TLSOff {
		checkCAFile(t, u.CAFile)
	}
	if u.TLS != TLSOff || t.has("cert_file") != t.has("key_file") {
		checkClientCertificate(t, u.CertFile, u.KeyFile)
	}
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

// checkOldCiphers says what the cipher suites are worth that crypto/tls has put
// aside.
func (u *Upstream) checkOldCiphers(t *table) {
	switch {
	case !u.TLSOldCiphers || u.TLS == TLSOff:
	case u.TLSMinVersion == "1.3":
		t.problem("tls_old_ciphers", `has no effect while tls_min_version = "1.3", which has no old cipher suites`, "remove one of them")
	default:
		t.warn("tls_old_ciphers", "RSA key exchange and 3DES are weak: whoever records what passes can read it once they have the key of the upstream",
			"use it only as long as the upstream knows nothing better")
	}
}

func showFingerprints(pins []string) any {
	return unlessNone(each(pins, func(pin string) string { return "sha256:" + pin }))
}

// readFingerprints reads one pin, or a list of them, so that a certificate can
// be replaced by one that is pinned already.
func readFingerprints(f field, v any) ([]string, bool) {
	if _, single := v.(string); !single {
		return listOf(readFingerprint)(f, v)
	}
	s, ok := readText(f, v)
	if !ok {
		return nil, false
	}
	pin, ok := readFingerprint(f, s)
	return []string{pin}, ok
}

func readFingerprint(f field, pin string) (string, bool) {
	digits, ok := parseFingerprint(pin)
	if !ok {
		f.problem("is not a SHA-256 fingerprint", `"sha256:" and 64 hex digits, as printed by: openssl x509 -noout -fingerprint -sha256`)
	}
	return digits, ok
}

// parseFingerprint reads "sha256:" and 32 bytes in hex, with or without colons,
// or the line that openssl prints.
func parseFingerprint(pin string) (digits string, ok bool) {
	digits = strings.ToLower(pin)
	for _, prefix := range []string{"sha256:", "sha256 fingerprint="} {
		if digits, ok = strings.CutPrefix(digits, prefix); ok {
			break
		}
	}
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
