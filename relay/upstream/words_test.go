package upstream

import (
	"errors"
	"strings"
	"testing"

	"postern/config"
)

// What no server of crypto/tls can be made to do is known by its words.
func TestWordsOfTLS(t *testing.T) {
	for text, want := range map[string]string{
		"tls: server selected unsupported protocol version 300":                                   "nothing newer than SSLv3. It has to be updated",
		"tls: server selected unsupported protocol version 302":                                   `nothing newer than TLS 1.1. It should be updated; tls_min_version = "1.1"`,
		"tls: failed to parse certificate from server: x509: unsupported elliptic curve":          "a key of a kind that is not known here",
		"tls: failed to parse certificate from server: x509: malformed extension":                 "cannot be read: malformed extension. Have a new one issued",
		"tls: server's certificate contains an unsupported type of public key: *dsa.PublicKey":    "a key of a kind that is not known here",
		"tls: server chose an unconfigured cipher suite":                                          "tls_old_ciphers = true",
		"tls: certificate used with invalid signature algorithm":                                  "such as with SHA-1",
		"tls: invalid signature by the server certificate: crypto/rsa: 768-bit keys are insecure": "an RSA key of 768 bits",
	} {
		h := &shaken{up: &config.Upstream{}, names: []string{"mx.example"}}
		err := errors.New(text)
		explained := h.explain(err)
		if !strings.Contains(explained.Error(), want) || !errors.Is(explained, err) {
			t.Errorf("%s: %v", text, explained)
		}
	}
	h := &shaken{up: &config.Upstream{}}
	if err := errors.New("something else"); h.explain(err) != err {
		t.Errorf("%v", h.explain(err))
	}
}

// What a certificate says of itself is shown without control bytes, and not
// at any length.
func TestExplanationsAreClean(t *testing.T) {
	h := &shaken{up: &config.Upstream{}, names: []string{"mx.example"}}
	got := h.explain(errors.New("tls: failed to parse certificate from server: \x1b[2J" + strings.Repeat("x", 5000))).Error()
	if len(got) > maxText || strings.Contains(got, "\x1b") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
