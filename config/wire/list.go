package wire

import (
	"fmt"
	"strings"
)

// Addresses are those of a list as people and programs write it, which is read
// more freely than RFC 5322 §3.4 has it: names without a domain, semicolons,
// names in any charset. Nothing is guessed: what has no plain meaning is an
// error. Whether they are addresses is for Mailbox to say.
func Addresses(list string) (all []string, err error) {
	r := addressReader{s: list}
	for r.i < len(r.s) {
		if r.s[r.i] == '<' {
			r.angle()
			continue
		}
		kind, n := NextLexeme(r.s[r.i:])
		if n < 0 {
			n = len(r.s) - r.i
		}
		switch kind {
		case LexBlank, LexComment:
			r.joined = false
		case ',', ';':
			if err := r.end(&all); err != nil {
				return nil, err
			}
		case ':':
			if r.inAngle == "" { // what stands before is the name of a group
				r.words = nil
				r.joined = false
			}
		default:
			r.text(r.s[r.i : r.i+n])
		}
		r.i += n
	}
	return all, r.end(&all)
}

// addressReader is in the middle of one address.
type addressReader struct {
	s       string
	i       int
	words   []string // outside of angle brackets
	joined  bool     // the last word goes on
	hasPath bool
	inAngle string
}

func (r *addressReader) text(s string) {
	if r.joined {
		r.words[len(r.words)-1] += s
	} else {
		r.words = append(r.words, s)
	}
	r.joined = true
}

// angle reads <address>. A > inside a quoted string does not end it.
func (r *addressReader) angle() {
	start, quoted := r.i+1, false
	for r.i++; r.i < len(r.s); r.i++ {
		switch c := r.s[r.i]; {
		case c == '\\' && quoted:
			r.i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			r.take(r.s[start:r.i])
			r.i++
			return
		}
	}
	r.take(r.s[min(start, len(r.s)):]) // it lacks its end
}

func (r *addressReader) take(path string) {
	if r.hasPath { // two in one address: neither is meant for sure
		path = r.inAngle + "><" + path
	}
	r.inAngle, r.hasPath = strings.TrimSpace(path), true
}

// end ends an address, if there is one.
func (r *addressReader) end(all *[]string) error {
	address := strings.Join(r.words, " ")
	if r.hasPath {
		address = r.inAngle
	} else if strings.Contains(address, "@") {
		address = strings.NewReplacer(" @ ", "@", " @", "@", "@ ", "@", " .", ".", ". ", ".").Replace(address)
	}
	empty := address == "" && !r.hasPath
	r.words, r.joined, r.hasPath, r.inAngle = nil, false, false, ""
	if empty {
		return nil
	}
	if address == "" || strings.HasPrefix(address, "@") && !strings.Contains(address, ":") || !plain(address) {
		return fmt.Errorf("%s is not an address", Quote(address))
	}
	if strings.HasPrefix(address, "@") { // a source route, which is ignored (RFC 5321 §3.3)
		address = address[strings.IndexByte(address, ':')+1:]
	}
	*all = append(*all, address)
	return nil
}

// plain tells whether an address has neither control characters nor, outside
// of quotes, blanks or brackets.
func plain(address string) bool {
	quoted := false
	for i := 0; i < len(address); i++ {
		switch c := address[i]; {
		case c < ' ' || c == 0x7f:
			return false
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '<' || c == '>'):
			return false
		}
	}
	return !quoted
}

// Mailbox is an address in wire form, with a domain beyond ASCII in its ASCII
// form, or a name without a domain. utf8: it needs SMTPUTF8.
func Mailbox(text string) (address string, utf8, ok bool) {
	local, domain := SplitAddress(text)
	address = text
	if domain != "" && !IsASCII(domain) {
		if domain, ok = CanonicalDomain(domain); !ok {
			return "", false, false
		}
		address = local + "@" + domain
	}
	fault := CheckMailbox(address, true)
	return address, !IsASCII(address), (fault == NoFault || fault == NoDomain) && len(address)+2 <= MaxPath
}
