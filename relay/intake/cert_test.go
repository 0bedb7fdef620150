package intake

import (
	"crypto/tls"
	"testing"

	"postern/relay/upstream/upstreamtest"
)

// testCert makes a certificate for localhost.
func testCert(t testing.TB) (certFile, keyFile string) {
	t.Helper()
	return upstreamtest.WritePair(t, t.TempDir(), "cert", upstreamtest.SelfSigned(t, "localhost", "127.0.0.1"))
}

func insecureClient() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
