package sign

import (
	"crypto"
	"fmt"
	"strings"

	"postern/config"
	"postern/config/wire"
)

// Keys are those of a configuration. They are immutable and may be used
// concurrently. Nil ones sign nothing.
type Keys struct {
	exact, below map[string]*Domain
}

// Domain is what signs mail of a domain.
type Domain struct {
	Name string // d=
	keys []key
}

type key struct {
	selector string
	signer   crypto.Signer
}

// New reads the keys of cfg. Its error is a sentence.
func New(cfg *config.Config) (*Keys, error) {
	if len(cfg.DKIM) == 0 {
		return nil, nil
	}
	k := &Keys{exact: map[string]*Domain{}, below: map[string]*Domain{}}
	for _, c := range cfg.DKIM {
		d := &Domain{Name: c.Domain}
		for _, of := range c.Keys {
			signer, err := config.ReadDKIMKey(of.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("the DKIM key %s of %s: %w", of.Selector, c.Domain, err)
			}
			d.keys = append(d.keys, key{of.Selector, signer})
		}
		if c.Below {
			k.below[c.Domain] = d
		} else {
			k.exact[c.Domain] = d
		}
	}
	return k, nil
}

// For finds what signs mail whose From is address; nil: nothing does. Of several
// domains above the one that is nearest counts.
func (k *Keys) For(address string) *Domain {
	if k == nil {
		return nil
	}
	_, domain := wire.SplitAddress(address)
	domain, ok := wire.CanonicalDomain(domain)
	if !ok {
		return nil
	}
	if d := k.exact[domain]; d != nil {
		return d
	}
	for _, up, more := strings.Cut(domain, "."); more; _, up, more = strings.Cut(up, ".") {
		if d := k.below[up]; d != nil {
			return d
		}
	}
	return nil
}

// Selectors are those of the keys, for people.
func (d *Domain) Selectors() (list []string) {
	for _, k := range d.keys {
		list = append(list, k.selector)
	}
	return list
}
