package upstream

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"postern/config"
)

// profile is the TLS configuration of one upstream, kept so that sessions can
// be resumed, and made anew whenever a setting or a file changed.
type profile struct {
	stamp  string
	config *tls.Config
}

// tlsConfig is the configuration for the next connection to up. Files are
// looked at each time.
func (d *Dialer) tlsConfig(up *config.Upstream) (*tls.Config, error) {
	stamp, err := stampOf(up)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.profiles[up.Name]; p != nil && p.stamp == stamp {
		return p.config, nil
	}
	conf, err := buildTLS(up)
	if err != nil {
		return nil, err
	}
	if d.profiles == nil {
		d.profiles = make(map[string]*profile)
	}
	d.profiles[up.Name] = &profile{stamp, conf}
	return conf, nil
}

// stampOf changes whenever the TLS configuration does.
func stampOf(up *config.Upstream) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q %d %q %q %q", up.TLS, up.Host, up.Port, up.ServerName, up.Fingerprint, up.Username)
	for _, file := range []string{up.CAFile, up.CertFile, up.KeyFile} {
		if file == "" {
			b.WriteString(" -")
			continue
		}
		info, err := os.Stat(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, " %q %d %d", file, info.Size(), info.ModTime().UnixNano())
	}
	return b.String(), nil
}

func buildTLS(up *config.Upstream) (*tls.Config, error) {
	conf := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         serverName(up),
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
	if up.CAFile != "" {
		pem, err := os.ReadFile(up.CAFile)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", up.CAFile)
		}
	}
	if up.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(up.CertFile, up.KeyFile)
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	if !checksChain(up) {
		conf.InsecureSkipVerify = true // by configuration, or because the pin below replaces it
	}
	if up.Fingerprint != "" {
		// Called for resumed sessions too, unlike VerifyPeerCertificate.
		conf.VerifyConnection = func(state tls.ConnectionState) error {
			return checkPin(state, up.Fingerprint)
		}
	}
	return conf, nil
}

// checksChain tells whether the certificate has to lead to a known CA.
func checksChain(up *config.Upstream) bool {
	return up.Fingerprint == "" && (up.TLS == config.TLSVerify || up.TLS == config.TLSImplicit)
}

// authenticates tells whether a completed handshake proves who the upstream is.
func authenticates(up *config.Upstream) bool {
	return up.Fingerprint != "" || checksChain(up)
}

func serverName(up *config.Upstream) string {
	name := up.ServerName
	if name == "" {
		name = up.Host
	}
	return strings.TrimSuffix(name, ".") // RFC 6066 §3
}

func checkPin(state tls.ConnectionState, pin string) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the upstream showed no certificate")
	}
	sum := sha256.Sum256(state.PeerCertificates[0].Raw)
	if got := hex.EncodeToString(sum[:]); got != strings.ToLower(pin) {
		return fmt.Errorf("the certificate has the fingerprint sha256:%s, which is not the configured one", got)
	}
	return nil
}
