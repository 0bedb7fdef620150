package upstream

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"postern/config"
)

// profile is the TLS configuration of one way to an upstream, kept so that
// sessions can be resumed, and made anew whenever a setting or a file changed.
type profile struct {
	settings string
	files    []fs.FileInfo // as they were before they were read
	config   *tls.Config
}

// tlsConfig is the configuration for the next connection to up by way w.
// Files are looked at each time.
func (d *Dialer) tlsConfig(up *config.Upstream, w way) (*tls.Config, error) {
	names := namesOf(up, w)
	settings := fmt.Sprintf("%q %q %q %q %t %q %q %q", w, names, up.TLS, up.TLSMinVersion, up.TLSOldCiphers, up.Fingerprints, up.Username,
		[]string{up.CAFile, up.CertFile, up.KeyFile})
	files, err := statAll(up.CAFile, up.CertFile, up.KeyFile)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.profiles[up.Name]; p != nil && p.settings == settings && slices.EqualFunc(p.files, files, sameFile) {
		return p.config, nil
	}
	conf, err := buildTLS(up, names)
	if err != nil {
		return nil, err
	}
	if d.profiles == nil {
		d.profiles = make(map[string]*profile)
	}
	d.profiles[up.Name] = &profile{settings, files, conf}
	return conf, nil
}

func statAll(names ...string) ([]fs.FileInfo, error) {
	var files []fs.FileInfo
	for _, name := range names {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		files = append(files, info)
	}
	return files, nil
}

// sameFile tells whether a file is the one that it was, and unchanged: it may
// have been written again, or replaced by another that is as long and as old.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func buildTLS(up *config.Upstream, names []string) (*tls.Config, error) {
	conf := &tls.Config{
		MinVersion:         up.TLSMinVersion.Number(),
		ServerName:         names[0],
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
	if up.TLSOldCiphers {
		conf.CipherSuites = config.OldCipherSuites()
	}
	if up.CAFile != "" {
		pem, err := config.ReadFile(up.CAFile)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", up.CAFile)
		}
	}
	if up.CertFile != "" {
		pair, err := config.LoadKeyPair(up.CertFile, up.KeyFile)
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	// VerifyConnection is called for resumed sessions too, unlike
	// VerifyPeerCertificate.
	switch {
	case len(up.Fingerprints) > 0:
		conf.InsecureSkipVerify = true // the pin replaces it
		conf.VerifyConnection = func(state tls.ConnectionState) error { return checkPin(state, up.Fingerprints) }
	case !checksChain(up):
		conf.InsecureSkipVerify = true // by configuration
	case len(names) > 1:
		conf.InsecureSkipVerify = true // crypto/tls checks one name only
		conf.VerifyConnection = func(state tls.ConnectionState) error { return checkChain(state, conf.RootCAs, names) }
	}
	return conf, nil
}

// checksChain tells whether the certificate has to lead to a known CA.
func checksChain(up *config.Upstream) bool {
	if len(up.Fingerprints) > 0 {
		return false
	}
	return up.TLS == config.TLSVerify || up.TLS == config.TLSImplicit || up.TLS == config.TLSAuto
}

// authenticates tells whether a completed handshake proves who the upstream is.
func authenticates(up *config.Upstream) bool {
	return len(up.Fingerprints) > 0 || checksChain(up)
}

// namesOf are the names of which the certificate has to bear one; the first
// is the one that is asked for (SNI).
//
// A host that DNS names without proof must not choose whose certificate
// counts: it is that of the configured domain, or of a host inside of it
// (RFC 6186 §6). A host elsewhere has to be confirmed by server_name.
func namesOf(up *config.Upstream, w way) []string {
	bare := func(name string) string { return strings.TrimSuffix(name, ".") } // RFC 6066 §3
	switch {
	case up.ServerName != "":
		return []string{bare(up.ServerName)}
	case w.host != up.Host && strings.HasSuffix(w.host, "."+bare(up.Host)):
		return []string{w.host, bare(up.Host)}
	}
	return []string{bare(up.Host)}
}

// checkChain tells why a certificate is not valid for any of names, as
// crypto/tls would.
func checkChain(state tls.ConnectionState, roots *x509.CertPool, names []string) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the upstream showed no certificate")
	}
	leaf, rest := state.PeerCertificates[0], x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		rest.AddCert(cert)
	}
	var reason error
	for _, name := range names {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: rest, DNSName: name})
		if err == nil {
			return nil
		}
		if other := (x509.HostnameError{}); reason == nil || errors.As(reason, &other) {
			reason = err // of the name that the certificate does bear, if any
		}
	}
	return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: reason}
}

func checkPin(state tls.ConnectionState, pins []string) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the upstream showed no certificate")
	}
	sum := sha256.Sum256(state.PeerCertificates[0].Raw)
	got := hex.EncodeToString(sum[:])
	if slices.ContainsFunc(pins, func(pin string) bool { return strings.EqualFold(pin, got) }) {
		return nil
	}
	return fmt.Errorf("the certificate has the fingerprint sha256:%s, which is not a configured one", got)
}
