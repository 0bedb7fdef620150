package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"postern/config"
	"postern/config/wire"
)

// Trouble is a TLS handshake that failed, in words.
type Trouble struct {
	Cause  string // without a full stop
	Remedy string // whole sentences, by the keys of the configuration
	ours   bool   // it says nothing about the upstream
	err    error
}

func (t *Trouble) Error() string { return strings.TrimSuffix(t.Cause+". "+t.Remedy, ".") }
func (t *Trouble) Unwrap() error { return t.err }

// shaken is what is known of a handshake beside its error.
type shaken struct {
	up     *config.Upstream
	names  []string // of which the certificate has to bear one
	asked  bool     // the upstream asked for a certificate
	showed bool     // and was shown one
}

// watch is conf for one handshake: it notes whether the upstream asks for a
// certificate, and shows one as crypto/tls would.
func (h *shaken) watch(conf *tls.Config) *tls.Config {
	own := conf.Clone()
	own.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		h.asked = true
		for i := range conf.Certificates {
			if request.SupportsCertificate(&conf.Certificates[i]) == nil {
				h.showed = true
				return &conf.Certificates[i], nil
			}
		}
		return new(tls.Certificate), nil
	}
	return own
}

// explain is err as Trouble; what nobody knows a remedy for stays as it is.
func (h *shaken) explain(err error) error {
	cause, remedy := h.reasons(err)
	if cause == "" {
		return err
	}
	return &Trouble{Cause: wire.Text(cause, maxText/2-1), Remedy: wire.Text(remedy, maxText/2-1), err: err}
}

// cause is err in words, without a remedy.
func (h *shaken) cause(err error) string {
	err = h.explain(err)
	if trouble := (*Trouble)(nil); errors.As(err, &trouble) {
		return trouble.Cause
	}
	return describe(err)
}

// reasons: crypto/tls has types for what is wrong with a chain, and words for
// everything else.
func (h *shaken) reasons(err error) (cause, remedy string) {
	if failed := (*tls.CertificateVerificationError)(nil); errors.As(err, &failed) && len(failed.UnverifiedCertificates) > 0 {
		return h.invalid(failed.UnverifiedCertificates, failed.Err)
	}
	record := tls.RecordHeaderError{}
	switch {
	case isAlert(err):
		return h.alert(alertOf(err))
	case errors.As(err, &record) && h.up.TLS == config.TLSImplicit:
		return "what the upstream sent is not TLS", `Port 587 and port 25 want tls = "verify" (STARTTLS).`
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return describe(err), h.silence()
	}
	return h.own(err.Error())
}

// silence is the remedy for an upstream that hangs up without an alert, as
// Windows does where it takes none of the cipher suites.
func (h *shaken) silence() string {
	if h.up.TLSOldCiphers || h.asked {
		return "Its log may say why."
	}
	return `Its log may say why; one that knows nothing but old TLS needs tls_min_version = "1.0" or tls_old_ciphers = true.`
}

// alertOf is the name of the alert that the other side sent.
func alertOf(err error) string {
	var op *net.OpError
	if !errors.As(err, &op) || op.Err == nil {
		return ""
	}
	return strings.TrimPrefix(op.Err.Error(), "tls: ")
}

// alert is how the upstream ended the handshake (RFC 8446 §6.2).
func (h *shaken) alert(name string) (cause, remedy string) {
	switch name {
	case "protocol version not supported":
		return h.version(0)
	case "certificate required":
		return h.client(name)
	case "handshake failure", "insufficient security level":
		if !h.asked {
			return h.suites(name)
		}
		return h.client(name)
	case "unrecognized name":
		return "the upstream knows no host " + strconv.Quote(h.names[0]), "Correct host, or set server_name to the name that its certificate bears."
	case "bad certificate", "unsupported certificate", "revoked certificate", "expired certificate",
		"unknown certificate", "unknown certificate authority", "access denied", "error decrypting message":
		if h.asked {
			return h.client(name)
		}
	}
	return "the upstream ended the handshake: " + name, "Its log says why."
}

// client is an upstream that asked for a certificate, and then ended the
// handshake.
func (h *shaken) client(alert string) (cause, remedy string) {
	switch {
	case h.showed:
		return "the upstream refused the client certificate: " + alert,
			"Have the one in cert_file renewed, or made known to the upstream."
	case h.up.CertFile != "":
		return "the upstream wants a client certificate of another authority or kind than the one in cert_file: " + alert,
			"Set cert_file and key_file to one that it knows."
	}
	return "the upstream wants a client certificate: " + alert, "Set cert_file and key_file to one that it knows."
}

// suites is an upstream that takes nothing of what it was offered.
func (h *shaken) suites(alert string) (cause, remedy string) {
	cause = "the upstream takes none of the cipher suites that were offered: " + alert
	switch {
	case h.up.TLSMinVersion == "1.3":
		return cause, `It may not know TLS 1.3: set tls_min_version = "1.2".`
	case h.up.TLSOldCiphers:
		return cause, "Have it updated, or made to offer ECDHE with AES: no setting lets in what else there is (DHE, RC4, signatures with SHA-1)."
	}
	return cause, "Have it updated, or made to offer ECDHE with AES. Where it knows nothing but RSA key exchange or 3DES, tls_old_ciphers = true lets it in."
}

// version is an upstream that knows no version that is new enough; chosen is
// the one that it wanted, 0: it didn't say.
func (h *shaken) version(chosen uint16) (cause, remedy string) {
	key := `tls_min_version = "1.0"`
	switch chosen {
	case 0:
		chosen = h.up.TLSMinVersion.Number() - 1
	case tls.VersionTLS11:
		key = `tls_min_version = "1.1"`
	}
	cause = "the upstream knows nothing newer than " + tls.VersionName(chosen)
	switch {
	case chosen < tls.VersionTLS10:
		return cause, "It has to be updated: no setting lets it in."
	case chosen >= tls.VersionTLS12:
		return cause, `Set tls_min_version = "1.2".`
	}
	return cause, "It should be updated; " + key + " lets it in, with what RFC 8996 calls broken."
}

var (
	chosenVersion = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^tls: server selected unsupported protocol version ([0-9a-f]{1,4})$`)
	})
	shortKey = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`crypto/rsa: (\d+)-bit keys are insecure`)
	})
	unreadable = "tls: failed to parse certificate from server: "
)

// own is an error of this side, which crypto/tls tells in words alone.
func (h *shaken) own(text string) (cause, remedy string) {
	if m := chosenVersion().FindStringSubmatch(text); m != nil {
		version, _ := strconv.ParseUint(m[1], 16, 16)
		return h.version(uint16(version))
	}
	if m := shortKey().FindStringSubmatch(text); m != nil {
		return "its certificate has an RSA key of " + m[1] + " bits, which is broken",
			"Have one with at least 2048 bits issued: no setting lets this one in."
	}
	reason, parsed := strings.CutPrefix(text, unreadable)
	switch {
	case parsed && strings.Contains(reason, "negative serial number"):
		return "its certificate has a negative serial number, which RFC 5280 §4.1.2.2 forbids",
			"Remove x509negativeserial from GODEBUG in the environment of Postern, or have a new certificate issued."
	case parsed && strings.Contains(reason, "unsupported elliptic curve"), strings.Contains(text, "unsupported type of public key"):
		return "its certificate has a key of a kind that is not known here", "Have one issued for RSA, or for ECDSA with P-256: no setting lets this one in."
	case parsed:
		return "its certificate cannot be read: " + strings.TrimPrefix(reason, "x509: "),
			"Have a new one issued: no setting lets this one in."
	case strings.Contains(text, "RSA key larger than"):
		return strings.TrimPrefix(text, "tls: "), "Have a certificate with a smaller key issued: no setting lets this one in."
	case strings.Contains(text, "unconfigured cipher suite"):
		return h.suites("it chose another")
	case strings.Contains(text, "invalid signature algorithm"):
		return "the upstream signs the handshake in a way that it was not offered, such as with SHA-1", "It has to be updated: no setting lets it in."
	}
	return "", ""
}

// subject names a certificate.
func subject(cert *x509.Certificate) string {
	if cert.Subject.CommonName != "" {
		return strconv.Quote(cert.Subject.CommonName)
	}
	return strconv.Quote(cert.Subject.String())
}
