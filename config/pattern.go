package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// PatternKind says which addresses a Pattern matches.
type PatternKind uint8

// The kinds of patterns.
const (
	PatternAny        PatternKind = iota // "*": every address, the null reverse-path too
	PatternNull                          // "<>": the null reverse-path alone
	PatternAddress                       // "a@b": one address
	PatternDomain                        // "*@b": every address at the domain b
	PatternSubdomains                    // "*@*.b": every address at a domain below b, not at b
	PatternLocal                         // "a@*": the local part a at any domain
)

// Pattern is an address pattern of a route, in the form in which it is
// compared: Domain as CanonicalDomain gives it, Local as CanonicalLocal does.
type Pattern struct {
	Kind   PatternKind
	Local  string
	Domain string
}

// ParsePattern reads an address pattern.
func ParsePattern(s string) (Pattern, error) {
	switch s {
	case "*":
		return Pattern{Kind: PatternAny}, nil
	case "<>":
		return Pattern{Kind: PatternNull}, nil
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return Pattern{}, errors.New("contains a character that cannot be seen")
	}
	local, domain := SplitAddress(s)
	if domain == "" {
		if strings.Contains(s, ".") && !strings.ContainsAny(s, "@*<> ") {
			return Pattern{}, fmt.Errorf(`has no @; for a whole domain write "*@%s"`, s)
		}
		return Pattern{}, errors.New(`is not an address pattern; write "a@b", "*@b", "*@*.b", "a@*", "*" or "<>"`)
	}
	if strings.ContainsAny(s, "<>") && local != "" && local[0] != '"' {
		return Pattern{}, errors.New("is written without angle brackets")
	}
	p := Pattern{Kind: PatternAddress}
	if err := p.setLocal(local); err != nil {
		return Pattern{}, err
	}
	if err := p.setDomain(domain); err != nil {
		return Pattern{}, err
	}
	return p, nil
}

func (p *Pattern) setLocal(local string) error {
	if local == "*" {
		p.Kind = PatternDomain
		return nil
	}
	canonical, ok := CanonicalLocal(local)
	switch {
	case !ok:
		return errors.New("has no valid part before the @")
	case strings.Contains(local, "*") && local[0] != '"':
		return errors.New(`has a * inside the part before the @; only "*@domain" and whole addresses are known`)
	case local[0] != '"' && strings.ContainsFunc(local, needsQuotes):
		return errors.New("has a character before the @ that has to stand in quotes")
	}
	p.Local = canonical
	return nil
}

func (p *Pattern) setDomain(domain string) error {
	if domain == "*" {
		if p.Kind == PatternDomain {
			return errors.New(`matches every address that has a domain; write "*"`)
		}
		p.Kind = PatternLocal
		return nil
	}
	if below, ok := strings.CutPrefix(domain, "*."); ok {
		if p.Kind != PatternDomain {
			return errors.New(`has a * in the domain of a single address; only "*@*.domain" is known`)
		}
		p.Kind, domain = PatternSubdomains, below
	}
	canonical, ok := CanonicalDomain(domain)
	if !ok || strings.ContainsAny(domain, "* \t<>(),;:\\\"") && domain[0] != '[' {
		return errors.New("has no valid domain")
	}
	p.Domain = canonical
	return nil
}

// String writes the pattern as ParsePattern reads it.
func (p Pattern) String() string {
	switch p.Kind {
	case PatternNull:
		return "<>"
	case PatternAddress:
		return quoteLocal(p.Local) + "@" + p.Domain
	case PatternDomain:
		return "*@" + p.Domain
	case PatternSubdomains:
		return "*@*." + p.Domain
	case PatternLocal:
		return quoteLocal(p.Local) + "@*"
	}
	return "*"
}

// SplitAddress cuts an address in wire form at the @ between its local part
// and its domain. Without a domain it is all local part (<Postmaster>,
// RFC 5321 §4.1.1.3).
func SplitAddress(address string) (local, domain string) {
	cut := strings.LastIndexByte(address, '@')
	if strings.HasSuffix(address, "]") {
		// A general address literal may hold an @ (RFC 5321 §4.1.3).
		if literal := strings.LastIndex(address, "@["); literal >= 0 {
			cut = literal
		}
	}
	if cut < 0 || strings.HasSuffix(address, `"`) && address[0] == '"' {
		return address, ""
	}
	return address[:cut], address[cut+1:]
}

// CanonicalLocal is the form in which two local parts are compared: without
// quotes and escapes, since "a"@x is a@x (RFC 5321 §4.1.2), ASCII letters in
// lower case, everything else as it is. It is false for an empty one and for
// one whose quotes do not close.
func CanonicalLocal(local string) (string, bool) {
	b, ok := AppendLocal(nil, local)
	return string(b), ok
}

// AppendLocal appends CanonicalLocal of local to dst.
func AppendLocal(dst []byte, local string) ([]byte, bool) {
	if local == "" {
		return dst, false
	}
	if local[0] == '"' {
		return appendUnquoted(dst, local)
	}
	if strings.IndexByte(local, '"') >= 0 || strings.IndexByte(local, '\\') >= 0 {
		return dst, false
	}
	return AppendLower(dst, local), true
}

func appendUnquoted(dst []byte, local string) ([]byte, bool) {
	if len(local) < 2 || local[len(local)-1] != '"' {
		return dst, false
	}
	inner := local[1 : len(local)-1]
	for i := 0; i < len(inner); i++ {
		c := inner[i]
		switch c {
		case '"':
			return dst, false
		case '\\':
			i++
			if i == len(inner) {
				return dst, false
			}
			c = inner[i]
		}
		dst = append(dst, lowerByte(c))
	}
	return dst, true
}

// AppendLower appends s with its ASCII letters in lower case.
func AppendLower(dst []byte, s string) []byte {
	for i := range len(s) {
		dst = append(dst, lowerByte(s[i]))
	}
	return dst
}

func lowerByte(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// quoteLocal writes a canonical local part in wire form.
func quoteLocal(local string) string {
	if strings.ContainsFunc(local, needsQuotes) || local == "" {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
	}
	return local
}

func needsQuotes(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune(`()<>[]:;@\,"*`, r)
}
