package doctor

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"postern/config"
	"postern/relay/upstream"
	"postern/spool"
)

// soon is how many days before its end a certificate is a warning.
const soon = 21

// modes says what each TLS mode asks for.
var modes = map[config.UpstreamTLS]string{
	config.TLSVerify:        "STARTTLS",
	config.TLSImplicit:      "TLS from the first byte",
	config.TLSEncrypt:       "STARTTLS",
	config.TLSOpportunistic: "STARTTLS where it is offered",
}

// asked is what the configuration asks of TLS, for people.
func (e *examination) asked() string {
	mode := fmt.Sprintf("tls = %q", e.up.TLS)
	if e.up.TLS == config.TLSOff || e.r.TLS == "" {
		return mode
	}
	mode += ": " + modes[e.r.TLS]
	switch {
	case pinned(e.up):
		return mode + ", with a pinned certificate"
	case checked(e.up):
		return mode + ", certificate checked"
	}
	return mode + ", certificate not checked"
}

// pinned tells whether a fingerprint replaces the check of the chain.
func pinned(up *config.Upstream) bool { return len(up.Fingerprints) > 0 }

// tls tells of the connection's protection and of every certificate.
func (e *examination) tls(now time.Time) {
	mode := e.asked()
	shake := e.taken(upstream.StepHandshake)
	switch {
	case shake != nil:
		e.handshake(shake, mode, now)
	case e.r.Fault != nil && e.r.Fault.Outcome.Stage == spool.StageTLS: // STARTTLS is not offered, or refused
		e.fail(UpstreamTLS, &upstream.Taken{Fault: e.r.Fault}, `If this upstream has no TLS on this port, use another port (465 with tls = "implicit"), or say tls = "off" where the network itself is safe.`)
	case e.r.Fault != nil && len(e.r.Hellos) == 0:
		e.skip(UpstreamTLS, "it did not come to TLS; "+mode)
	default:
		e.clear(mode)
	}
}

// clear judges a session without TLS.
func (e *examination) clear(mode string) {
	f := Finding{ID: UpstreamTLS, Status: Warning, Text: "mail goes in clear; " + mode}
	offered := len(e.r.Hellos) > 0 && e.r.Hellos[0].Announces("STARTTLS")
	switch {
	case offered:
		f.Remedy = `The upstream offers STARTTLS: set tls = "verify".`
	case loopback(e.r.Remote):
		f.Status, f.Text = OK, "in clear, and on this machine; "+mode
	default:
		f.Remedy = `Whoever is on the way can read and change it. Ask for a port with TLS; tls = "verify" or "implicit" then insists on it.`
	}
	e.add(f)
}

func loopback(remote string) bool {
	host, _, err := net.SplitHostPort(remote)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

func (e *examination) handshake(t *upstream.Taken, mode string, now time.Time) {
	h := e.r.Handshake
	if t.Fault != nil {
		e.fail(UpstreamTLS, t, e.tlsRemedy(t.Fault.Err))
	} else {
		f := Finding{ID: UpstreamTLS, Status: OK, Took: took(t.Took), Text: h.Version + ", " + h.Cipher + "; " + mode,
			Facts: map[string]any{"version": h.Version, "cipher": h.Cipher, "verified": e.r.Verified}}
		if !e.r.Verified {
			f.Status = Warning
			f.Text += "; so nobody knows who the upstream is"
			f.Remedy = "A check would fail here; pin the certificate instead: set tls = \"verify\" and fingerprint = \"" + pinOf(h.Chain) + "\"."
			if h.Invalid == nil {
				f.Remedy = `The certificate is good: set tls = "verify".`
			}
		}
		e.add(f)
	}
	if h == nil || len(h.Chain) == 0 {
		return
	}
	for i, cert := range h.Chain {
		e.certificate(i, cert, now)
	}
	e.name(h)
	if pinned(e.up) {
		e.pin(h.Chain)
	}
}

// checked tells whether the configuration has the chain checked.
func checked(up *config.Upstream) bool {
	return !pinned(up) && (up.TLS == config.TLSVerify || up.TLS == config.TLSImplicit || up.TLS == config.TLSAuto)
}

// worst is how bad a defect of a certificate is: nothing goes where it is
// checked.
func worst(up *config.Upstream) Status {
	if checked(up) {
		return Failed
	}
	return Warning
}

// certificate judges the validity of one certificate of the chain.
func (e *examination) certificate(i int, cert *x509.Certificate, now time.Time) {
	whose := "the upstream's own"
	if i > 0 {
		whose = fmt.Sprintf("number %d of the chain", i+1)
	}
	f := validity(cert, now)
	f.ID = UpstreamCert
	f.Text = whose + ": " + f.Text
	if cert.SerialNumber.Sign() < 0 {
		f.Text += "; its serial number is negative, for which other programs refuse it (RFC 5280 §4.1.2.2)"
	}
	f.Facts = map[string]any{
		"subject": cert.Subject.String(), "issuer": cert.Issuer.String(), "position": i,
		"not_before": cert.NotBefore.UTC(), "not_after": cert.NotAfter.UTC(), "days_left": daysLeft(cert, now),
		"fingerprint": pinOf([]*x509.Certificate{cert}),
	}
	switch {
	case f.Status != Failed:
	case i > 0:
		f.Status = Warning // another path may lead to an authority
	default:
		f.Status = worst(e.up)
	}
	if f.Status != OK && f.Remedy == "" {
		f.Remedy = "Ask whoever runs the upstream to renew it."
	}
	e.add(f)
}

// validity judges a certificate's span of time. ID and subject are left to
// the caller.
func validity(cert *x509.Certificate, now time.Time) Finding {
	f := Finding{Status: OK}
	who := fmt.Sprintf("%s, issued by %s", cert.Subject, cert.Issuer)
	days := daysLeft(cert, now)
	switch {
	case now.Before(cert.NotBefore):
		f.Status = Failed
		f.Text = fmt.Sprintf("%s, is valid only from %s on", who, date(cert.NotBefore))
		f.Remedy = "It is new, or the clock of this machine is slow: compare the clock with another one."
	case now.After(cert.NotAfter):
		f.Status = Failed
		f.Text = fmt.Sprintf("%s, ended on %s", who, date(cert.NotAfter))
	case days < soon:
		f.Status = Warning
		f.Text = fmt.Sprintf("%s, ends on %s, in %s", who, date(cert.NotAfter), count(days, "day", "days"))
	default:
		f.Text = fmt.Sprintf("%s, good until %s (%d days)", who, date(cert.NotAfter), days)
	}
	return f
}

func daysLeft(cert *x509.Certificate, now time.Time) int {
	return int(cert.NotAfter.Sub(now).Hours() / 24)
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// name compares the certificate with the names of which it has to bear one.
func (e *examination) name(h *upstream.Handshake) {
	own := h.Chain[0]
	for _, want := range h.Names {
		if own.VerifyHostname(want) == nil {
			e.add(Finding{ID: UpstreamName, Status: OK, Text: "the certificate is for " + want})
			return
		}
	}
	f := Finding{ID: UpstreamName, Status: worst(e.up)}
	f.Text, f.Remedy = upstream.Misnamed(e.up, own, h.Names)
	if pinned(e.up) {
		f.Status, f.Remedy = OK, ""
		f.Text += "; the fingerprint counts instead"
	}
	e.add(f)
}

func (e *examination) pin(chain []*x509.Certificate) {
	got := pinOf(chain)
	f := Finding{ID: UpstreamPin, Status: OK, Text: "the certificate is a pinned one", Facts: map[string]any{"fingerprint": got}}
	if !slices.ContainsFunc(e.up.Fingerprints, func(pin string) bool { return strings.EqualFold("sha256:"+pin, got) }) {
		f.Status = Failed
		f.Text = "the certificate is another one than is pinned: it has the fingerprint " + got
		f.Remedy = "Ask whoever runs the upstream, by another way, whether they have renewed it; only then pin the new one."
	}
	e.add(f)
}

func pinOf(chain []*x509.Certificate) string {
	if len(chain) == 0 {
		return ""
	}
	sum := sha256.Sum256(chain[0].Raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// tlsRemedy says what to do about a handshake that failed.
func (e *examination) tlsRemedy(err error) string {
	var (
		trouble *upstream.Trouble
		name    x509.HostnameError
	)
	switch {
	case errors.As(err, &name):
		return "See " + string(UpstreamName) + "."
	case errors.As(err, &trouble):
		return trouble.Remedy
	case pinned(e.up) && e.r.Handshake != nil:
		return "See " + string(UpstreamPin) + "."
	}
	return "Look at the log of the upstream."
}
