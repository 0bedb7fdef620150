package upstream

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/config"
	"postern/config/wire"
)

// invalid tells why a chain is not valid. Where the certificate can be told
// to be the right one, its pin is the remedy.
func (h *shaken) invalid(chain []*x509.Certificate, err error) (cause, remedy string) {
	var (
		name     x509.HostnameError
		unknown  x509.UnknownAuthorityError
		invalid  x509.CertificateInvalidError
		critical x509.UnhandledCriticalExtension
		roots    x509.SystemRootsError
	)
	switch {
	case errors.As(err, &name):
		return Misnamed(h.up, chain[0], h.names)
	case errors.As(err, &unknown):
		return h.unknown(chain, err.Error())
	case errors.As(err, &invalid):
		return h.defect(chain, &invalid)
	case errors.As(err, &critical):
		return "its certificate has a critical extension that is not understood here", "Have another one issued" + orPin(h.up, chain[0])
	case errors.As(err, &roots):
		return "the authorities of this machine cannot be read: " + err.Error(), "Install those of the system (the package ca-certificates), or set ca_file."
	}
	return "", ""
}

// orPin ends a remedy.
func orPin(up *config.Upstream, cert *x509.Certificate) string {
	return "; or, if this is the right certificate, " + pin(up, cert) + "."
}

// pin is how the settings have cert for the right one. A fingerprint and a ca_file
// exclude each other.
func pin(up *config.Upstream, cert *x509.Certificate) string {
	text := "set fingerprint = " + strconv.Quote(pinOf(cert))
	if up.CAFile != "" {
		text += " in place of ca_file"
	}
	return text
}

// trust is how the settings have the certificate of an authority, or one without,
// for a good one.
func (h *shaken) trust(what string) string {
	if h.up.CAFile != "" {
		return "add " + what + " to the file that ca_file names"
	}
	return "name a file that holds " + what + " with ca_file"
}

func pinOf(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Misnamed tells why cert, of up, is for none of names, and what to do about it. Both
// are empty where it is for one of them.
func Misnamed(up *config.Upstream, cert *x509.Certificate, names []string) (cause, remedy string) {
	if slices.ContainsFunc(names, func(name string) bool { return cert.VerifyHostname(name) == nil }) {
		return "", ""
	}
	borne := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		borne = append(borne, ip.String())
	}
	if len(borne) == 0 {
		cause = "its certificate names no host in its subjectAltName"
		if cert.Subject.CommonName != "" {
			cause += ", and the common name " + subject(cert) + " does not count (RFC 9525)"
		}
		return wire.Text(cause, maxText), "Have one issued with " + names[0] + " in its subjectAltName" + orPin(up, cert)
	}
	wanted := strings.Join(names, " or ")
	if net.ParseIP(names[0]) != nil {
		wanted = "the address " + wanted
	}
	const most = 5
	shown := strings.Join(borne[:min(len(borne), most)], ", ")
	if len(borne) > most {
		shown += " and others"
	}
	remedy = "Correct host."
	if i := slices.IndexFunc(borne, func(name string) bool { return !strings.Contains(name, "*") }); i >= 0 {
		remedy = "Correct host, or, if this is the right server, set server_name = " + strconv.Quote(borne[i]) + "."
	}
	return wire.Text("its certificate is for "+shown+", not for "+wanted, maxText), wire.Text(remedy, maxText)
}

// whose names a certificate of a chain, or the authority that it leads to.
func (h *shaken) whose(chain []*x509.Certificate, cert *x509.Certificate) string {
	switch i := slices.IndexFunc(chain, cert.Equal); {
	case i == 0:
		return "its certificate"
	case i > 0:
		return "the certificate of " + subject(cert) + " in its chain"
	}
	return "the certificate of its authority " + subject(cert) + ", " + h.authorities() + ","
}

// outOfTime tells how a certificate is outside of its span of time; empty: it
// is not.
func outOfTime(cert *x509.Certificate) string {
	switch now := time.Now(); {
	case now.Before(cert.NotBefore):
		return " is valid only from " + minute(cert.NotBefore) + " on, and here it is " + minute(now)
	case now.After(cert.NotAfter):
		return " expired on " + minute(cert.NotAfter)
	}
	return ""
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// renew is the remedy for one that is.
func (h *shaken) renew(chain []*x509.Certificate, cert *x509.Certificate) string {
	switch {
	case time.Now().Before(cert.NotBefore):
		return "Compare the clock of this machine with another one; if it is right, ask whoever runs the upstream."
	case !slices.ContainsFunc(chain, cert.Equal):
		return "Its successor belongs " + h.authorities() + "."
	}
	return "Ask whoever runs the upstream to renew it."
}

// defect is a fault of a certificate whose authority is known.
func (h *shaken) defect(chain []*x509.Certificate, e *x509.CertificateInvalidError) (cause, remedy string) {
	cert := cmp.Or(e.Cert, chain[0])
	it, another := h.whose(chain, cert), "Have another one issued"+orPin(h.up, chain[0])
	switch e.Reason {
	case x509.Expired:
		return it + outOfTime(cert), h.renew(chain, cert)
	case x509.CANotAuthorizedForThisName, x509.NameConstraintsWithoutSANs, x509.UnconstrainedName:
		return "its authority may not issue for this name: " + strings.TrimPrefix(e.Error(), "x509: "), another
	case x509.IncompatibleUsage, x509.CANotAuthorizedForExtKeyUsage:
		return it + ", or its authority, is not for servers (extended key usage)", another
	case x509.NotAuthorizedToSign:
		return noAuthority, another
	case x509.TooManyIntermediates:
		return "its chain is longer than one of its authorities allows", another
	}
	return it + " is not valid: " + strings.TrimPrefix(e.Error(), "x509: "), another
}

const noAuthority = "its certificate was issued by one that may not issue any (it is not marked as an authority)"

// unknown is a chain that leads to no known authority. What was wrong with one
// that might have been it, crypto/x509 tells in words alone.
func (h *shaken) unknown(chain []*x509.Certificate, text string) (cause, remedy string) {
	own, last := chain[0], chain[len(chain)-1]
	_, hint, _ := strings.Cut(text, "possibly because of ")
	switch {
	case strings.Contains(hint, "insecure algorithm"):
		return h.signedWeakly(chain), "Have one issued that is signed with SHA-256" + orPin(h.up, own)
	case strings.Contains(hint, "-bit keys are insecure"):
		return "its authority has an RSA key of less than 1024 bits, which is broken", "Have one issued by another authority" + orPin(h.up, own)
	case strings.Contains(hint, "cannot sign this kind of certificate"):
		return noAuthority, "Have another one issued" + orPin(h.up, own)
	case bytes.Equal(own.RawIssuer, own.RawSubject):
		return "its certificate is self-signed, and not " + h.authorities(),
			"If it is the right one, " + pin(h.up, own) + ", or " + h.trust("it") + "."
	case h.up.CAFile == "" && noAuthorities():
		return "this machine knows no authority that its certificate could come from", "Install those of the system (the package ca-certificates), or set ca_file."
	}
	cause = "its certificate was issued by " + strconv.Quote(issuer(last)) + ", which is not " + h.authorities()
	remedy = "If the upstream has an authority of its own, " + h.trust("its certificate")
	if len(chain) == 1 {
		cause += ", and it sent no intermediate certificate"
		remedy = "If that is an intermediate authority, have the upstream send its certificate, too; if the upstream has an authority of its own, " + h.trust("its certificate")
	}
	return cause, remedy + orPin(h.up, own)
}

// authorities is where the known ones are.
func (h *shaken) authorities() string {
	if h.up.CAFile != "" {
		return "in ca_file"
	}
	return "among the authorities of this machine"
}

func noAuthorities() bool {
	pool, err := x509.SystemCertPool()
	return err == nil && pool.Equal(x509.NewCertPool())
}

func issuer(cert *x509.Certificate) string {
	if cert.Issuer.CommonName != "" {
		return cert.Issuer.CommonName
	}
	return cert.Issuer.String()
}

// signedWeakly names the certificate whose signature is worth nothing.
func (h *shaken) signedWeakly(chain []*x509.Certificate) string {
	for _, cert := range chain {
		switch a := cert.SignatureAlgorithm; a {
		case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
			return h.whose(chain, cert) + " is signed with " + a.String() + ", which is broken"
		}
	}
	return "a certificate in its chain is signed in a way that is broken"
}
