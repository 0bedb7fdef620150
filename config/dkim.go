package config

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"postern/config/wire"
)

// DKIM is how mail of a domain is signed (RFC 6376).
type DKIM struct {
	Domain string // as wire.CanonicalDomain gives it; that signs
	// Below: mail of the domains below Domain is signed, and not its own.
	Below bool
	Keys  []DKIMKey // each signs
}

// DKIMKey is one key.
type DKIMKey struct {
	Selector string // its name in DNS: SELECTOR._domainkey.DOMAIN
	KeyFile  string // PEM
}

// Limits of RSA keys, in bits. Smaller ones are taken for none (RFC 8301 §3.2);
// larger ones cost more than any mail is worth.
const (
	minRSA  = 1024
	goodRSA = 2048
	maxRSA  = 4096
)

func (c *Config) dkimTables() value {
	return tableMap[DKIM]{
		place: &c.DKIM, keys: (*DKIM).keys, check: (*DKIM).check,
		fresh: func(name string) *DKIM {
			d := &DKIM{}
			domain, below := strings.CutPrefix(name, "*.")
			d.Domain, _ = wire.CanonicalDomain(domain)
			d.Below = below
			return d
		},
	}
}

func (d *DKIM) check(t *table) {
	if !wire.IsDomain(d.Domain, false) {
		t.problem("", "is not the name of a domain", `write [dkim."example.com"], or [dkim."*.example.com"] for all domains below it`)
	}
	t.need("keys", `such as keys = [{ selector = "m1", key_file = "m1.pem" }]; postern dkim new makes one`)
}

var dkimKeys = kind[[]DKIMKey]{name: "keys", parse: readDKIMKeys, format: showDKIMKeys}

// maxDKIMKeys bounds how often a message is signed.
const maxDKIMKeys = 4

func readDKIMKeys(f field, v any) (list []DKIMKey, ok bool) {
	tables := f.tables(v)
	switch {
	case len(tables) == 0:
		return nil, f.problem("names no key", `such as keys = [{ selector = "m1", key_file = "m1.pem" }]`)
	case len(tables) > maxDKIMKeys:
		return nil, f.problem(fmt.Sprintf("has more than %d keys, each of which signs every message", maxDKIMKeys), "")
	}
	selectors := map[string]bool{}
	for _, t := range tables {
		var k DKIMKey
		t.read([]key{
			{name: "selector", value: text.at(&k.Selector)},
			{name: "key_file", value: path.at(&k.KeyFile)},
		})
		k.check(t)
		if selectors[strings.ToLower(k.Selector)] {
			t.problem("selector", strconv.Quote(k.Selector)+" is that of another key here", "each key has a name of its own in DNS")
		}
		selectors[strings.ToLower(k.Selector)] = true
		list = append(list, k)
	}
	return list, true
}

func (k *DKIMKey) check(t *table) {
	t.need("selector", `the name of the key in DNS, such as "m1"`)
	t.need("key_file", "the file of the key, in PEM; postern dkim new makes one")
	if t.got["selector"] && !wire.IsDomain(k.Selector, false) {
		t.problem("selector", strconv.QuoteToASCII(k.Selector)+" cannot stand in a name of DNS", "letters, digits and hyphens")
	}
	if !t.got["key_file"] || !checkReadable(t, "key_file", k.KeyFile) || !checkPrivate(t, "key_file", k.KeyFile) {
		return
	}
	signer, err := ReadDKIMKey(k.KeyFile)
	if err != nil {
		t.problem("key_file", err.Error(), "postern dkim new makes one that can be used")
		return
	}
	if key, ok := signer.(*rsa.PrivateKey); ok && key.N.BitLen() < goodRSA {
		t.warn("key_file", fmt.Sprintf("%s has an RSA key of %d bits, which some receivers take for none", k.KeyFile, key.N.BitLen()), "make one of 2048 bits")
	}
}

func showDKIMKeys(list []DKIMKey) any {
	shown := []any{}
	for _, k := range list {
		shown = append(shown, map[string]any{"selector": k.Selector, "key_file": k.KeyFile})
	}
	return shown
}

// ReadDKIMKey reads a key that can sign: RSA of 1024 to 4096 bits (PKCS #1 or
// #8), or Ed25519 (PKCS #8), in PEM. Errors are sentences that name the file and
// hold nothing of the key.
func ReadDKIMKey(path string) (crypto.Signer, error) {
	content, err := ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %s", path, reason(err))
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, errors.New(path + " is not PEM")
	}
	var key any
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("%s holds %s, and not a private key", path, wire.Quote(wire.Text(block.Type, 40)))
	}
	if err != nil {
		return nil, errors.New(path + " holds a private key that cannot be read")
	}
	switch key := key.(type) {
	case ed25519.PrivateKey:
		return key, nil
	case *rsa.PrivateKey:
		if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
			return nil, fmt.Errorf("%s has an RSA key of %d bits; from %d to %d can be used", path, bits, minRSA, maxRSA)
		}
		return key, nil
	}
	return nil, errors.New(path + " has neither an RSA nor an Ed25519 key")
}

// checkDKIM looks for domains that are named twice, in different letters.
func (d *document) checkDKIM(cfg *Config) {
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(cfg.DKIM)) {
		k := cfg.DKIM[name]
		id := k.Domain
		if k.Below {
			id = "*." + id
		}
		if other, twice := seen[id]; twice {
			d.problem(joinKey("dkim", name), "is the same domain as "+strconv.Quote(other), "put the keys into one table")
		}
		seen[id] = name
	}
}
