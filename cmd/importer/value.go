package importer

import (
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"postern/config"
	"postern/config/wire"
)

// What several sources say in the same way.

// portNumber reads a port, or the name of one that mail uses.
func portNumber(s string) (int, bool) {
	switch strings.ToLower(s) {
	case "smtp":
		return 25, true
	case "submission":
		return 587, true
	case "smtps", "submissions", "ssmtp":
		return 465, true
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err == nil && n > 0
}

// noUpstream makes a configuration that takes nothing until somebody says where
// mail goes: Postern never looks for the hosts of recipients by itself.
func (f *Found) noUpstream(at Place) {
	f.note(at, "no server is named that all mail goes to, and Postern never delivers to the hosts of recipients itself. ALL MAIL IS REFUSED for now",
		"add an [upstream] for your provider or your site's server, and name it in the [[route]] in place of reject")
	u := f.upstream("relay", &Upstream{Place: at, Host: "upstream.invalid", Port: 587, TLS: config.TLSVerify})
	f.Routes = nil
	f.route(Route{Place: at, From: []string{"*"}, Reject: "this relay has no upstream yet"})
	u.note(at, "stands here so that the file is whole", "put the name of your server in its place")
}

// password takes over a password that a file of a line can hold.
func (u *Upstream) password(at Place, value string) {
	u.PasswordAt = at
	if value != strings.TrimSpace(value) || !plain(strings.ReplaceAll(value, " ", "x")) || value == "" {
		u.note(at, "the password has blanks at its ends, or characters that cannot be seen, and was not taken over", "put it into password_file by hand")
		return
	}
	u.Password = value
}

// command takes over a command that prints the password. One that holds the
// password is not shown.
func (u *Upstream) command(s Setting) {
	first, rest, _ := strings.Cut(strings.TrimSpace(s.Value), " ")
	word := strings.Trim(strings.TrimSpace(rest), `"'`)
	switch {
	case first == "echo" && word != "" && !strings.ContainsAny(word, " \"'\\$`;|&<>()"):
		u.password(s.Place, word)
	case strings.Contains(s.Value, "echo") || strings.Contains(s.Value, "printf"):
		u.PasswordAt = s.Place
		u.note(s.Place, "the command seems to hold the password, and was not taken over", "put the password into password_file")
	case !plain(strings.ReplaceAll(s.Value, " ", "x")):
		u.PasswordAt = s.Place
		u.note(s.Place, "the command has characters that cannot be seen, and was not taken over", "set password_command")
	default:
		u.Command = s.Value
		u.note(s.Place, "the command that prints the password is run as the user of the daemon, with little environment", "see that this user may run it, and has the keys that it needs")
	}
}

// shows keeps a mechanism that shows the password where TLS is off and the host
// is this machine; over a network Postern never does that. method is "plain",
// "login", or "" for one that the old relay chose itself.
func (u *Upstream) shows(at Place, method string) {
	if u.TLS != config.TLSOff {
		return // whichever is offered
	}
	if ip, err := netip.ParseAddr(u.Host); u.Host == "localhost" || err == nil && ip.IsLoopback() {
		u.Auth = method
		return
	}
	u.note(at, "TLS is off, and the password is shown to nobody on the way: the sign-in fails where the server knows PLAIN and LOGIN only", `set tls = "verify"`)
}

// serverName is the name that the certificate has to bear.
func (u *Upstream) serverName(s Setting, setting string) {
	name, ok := wire.CanonicalHost(s.Value)
	if !ok {
		u.note(s.Place, setting+": "+shown(s.Value)+" is no host name", "set server_name")
		return
	}
	u.ServerName = name
}

// fingerprint pins the certificate, where the digest is SHA-256.
func (u *Upstream) fingerprint(s Setting, setting, value string) {
	digits := strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(value, ":", ""), " ", ""))
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != 32 {
		u.note(s.Place, setting+": only fingerprints by SHA-256 are known, and now the chain of the certificate is checked",
			fmt.Sprintf("set fingerprint to what this prints: openssl s_client -connect %s:%d </dev/null | openssl x509 -noout -fingerprint -sha256", u.Host, u.Port))
		return
	}
	if pin := "sha256:" + digits; !slices.Contains(u.Fingerprints, pin) {
		u.Fingerprints = append(u.Fingerprints, pin)
	}
	u.CAFile = ""
}

// systemCAs are where systems keep the authorities that they trust.
var systemCAs = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-bundle.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/cert.pem", "/etc/ssl/certs/ca-bundle.trust.crt", "/etc/ssl/certs", "/etc/ssl/ca-bundle.pem", "/usr/local/share/certs/ca-root-nss.crt", "/usr/local/etc/openssl/cert.pem",
	"/etc/ssl/certs/", "/etc/pki/tls/cert.pem", "/usr/share/ssl/certs/ca-bundle.crt", "/usr/local/etc/ssl/cert.pem",
}

// authorities names the file of authorities to trust, where it is not that of
// the system and can be used.
func (u *Upstream) authorities(src *source, s Setting, setting, path string) {
	if slices.Contains(systemCAs, path) || len(u.Fingerprints) > 0 {
		return
	}
	if src.here() && strings.HasPrefix(path, "/") && plain(path) {
		if pem, err := config.ReadFile(path); err == nil && x509.NewCertPool().AppendCertsFromPEM(pem) {
			u.CAFile = path
			return
		}
	}
	u.note(s.Place, setting+": "+shown(path)+" is no file of certificates that can be read here, and the system's authorities are trusted",
		"set ca_file where the server's certificate is from an authority of your own")
}

// certificate names the client certificate, where it can be used.
func (u *Upstream) certificate(src *source, s Setting, cert, key string) {
	if key == "" {
		key = cert
	}
	if cert == "" {
		cert = key
	}
	if src.here() && strings.HasPrefix(cert, "/") && strings.HasPrefix(key, "/") && plain(cert) && plain(key) {
		if _, err := config.LoadKeyPair(cert, key); err == nil {
			u.CertFile, u.KeyFile = cert, key
			u.note(s.Place, "the daemon has to be able to read the key of the certificate", "chown postern "+key)
			return
		}
	}
	u.note(s.Place, "the client certificate "+shown(cert)+" and its key cannot be read here", "set cert_file and key_file where the upstream asks for one")
}

// domain completes names that have none.
func (f *Found) domain(s Setting, setting string) {
	name, ok := wire.CanonicalHost(strings.TrimSuffix(s.Value, "."))
	if !ok || strings.HasPrefix(name, "[") {
		f.note(s.Place, setting+": "+shown(s.Value)+" is no domain", "")
		return
	}
	if f.Domain.Value == "" {
		f.Domain = Setting{s.Place, name}
	}
}
