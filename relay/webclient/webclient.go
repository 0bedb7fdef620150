// Package webclient makes the HTTP clients by which servers are asked that may be
// slow, wrong or hostile: those of address books.
package webclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"postern/config"
)

// Agent is how we call ourselves.
const Agent = "Postern"

const maxHeader = 64 << 10

// Tokens gets access tokens; *oauth.Tokens does.
type Tokens interface {
	// Token returns one that is not refused, which the server did not take.
	Token(ctx context.Context, a *config.Account, refused string) (string, error)
}

// New makes a client that trusts the certificates of a file, or for "" those of
// the system. It follows no redirect, and asks for nothing compressed: an answer
// is as large as it comes over the network. Whoever uses it bounds bodies and
// time.
func New(caFile string) (*http.Client, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := config.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", caFile)
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: conf, MaxResponseHeaderBytes: maxHeader, MaxConnsPerHost: 2,
			DisableCompression: true, ForceAttemptHTTP2: true, IdleConnTimeout: 10 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// Plain is an error of a request without its URL, which stands beside it.
func Plain(ctx context.Context, err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errors.New("the server took too long to answer (timeout)")
	}
	return err
}
