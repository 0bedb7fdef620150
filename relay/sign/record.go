package sign

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
)

// RecordName is where the record of a key stands (RFC 6376 §3.6.2.1).
func RecordName(selector, domain string) string { return selector + "._domainkey." + domain }

// Record is the TXT record of a public key (RFC 6376 §3.6.1, RFC 8463 §4).
func Record(public crypto.PublicKey) (string, error) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return "", err
		}
		return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), nil
	case ed25519.PublicKey:
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(key), nil
	}
	return "", fmt.Errorf("no record for %T", public)
}

// Compare says what is wrong with a record that was found, where the one that
// is wanted is another; empty: it is that key.
func Compare(found, wanted string) string {
	have, want := tags(found), tags(wanted)
	switch {
	case have["v"] != "" && have["v"] != "DKIM1":
		return "is no DKIM record: v=" + have["v"]
	case have["p"] == "" && strings.Contains(found, "p="):
		return "says that the key was revoked: p= is empty"
	case have["p"] == "":
		return "has no key: p= is missing"
	case or(have["k"], "rsa") != want["k"]:
		return "is for a key of another kind: k=" + or(have["k"], "rsa") + ", and not " + want["k"]
	case have["p"] != want["p"]:
		return "has another key"
	case have["h"] != "" && !contains(have["h"], "sha256"):
		return "does not allow sha256: h=" + have["h"]
	case have["s"] != "" && !contains(have["s"], "*") && !contains(have["s"], "email"):
		return "is not for mail: s=" + have["s"]
	}
	return ""
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func contains(list, word string) bool {
	for w := range strings.SplitSeq(list, ":") {
		if w == word {
			return true
		}
	}
	return false
}

// tags are those of a record, without blanks (RFC 6376 §3.2).
func tags(record string) map[string]string {
	m := map[string]string{}
	for tag := range strings.SplitSeq(record, ";") {
		name, value, _ := strings.Cut(tag, "=")
		m[strings.TrimSpace(name)] = strings.Join(strings.Fields(value), "")
	}
	return m
}
