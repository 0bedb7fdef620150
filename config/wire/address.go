package wire

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Limits of RFC 5321 §4.5.3.1, in octets. The local part may be longer than its
// 64, as §4.5.3.1 invites (VERP and SRS make long ones); the path may not.
const (
	MaxPath   = 256 // with < and >
	maxDomain = 255
	maxLabel  = 63
)

// IsASCII reports whether s has no byte above 127. It may have control bytes.
func IsASCII[T string | []byte](s T) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// Addressable reports whether r, which is not ASCII, may stand in an address, a
// domain or the name of a user: a reader sees it, it isn't a space, and it
// isn't one of the signs that PRECIS and RFC 6532 leave out. (RFC 8264 §9)
// Nor is it one that servers further on may take for ASCII, such as full-width
// letters (RFC 5892 §2.2, RFC 8264 §9.17): what is refused to a sender by name
// would go on to them under another one.
func Addressable(r rune) bool {
	return r >= utf8.RuneSelf && Visible(r) && !unicode.Is(unicode.Zs, r) && !becomesASCII(r)
}

// Unaddressable reports whether r is beyond ASCII and may stand in no address.
// Which ASCII may is a matter of grammar.
func Unaddressable(r rune) bool { return r >= utf8.RuneSelf && !Addressable(r) }

// ideographicStop separates labels for those who map domains (RFC 3490 §3.1).
const ideographicStop = '\u3002'

// becomesASCII reports whether r, which is not ASCII, has some of it in its
// compatibility form.
func becomesASCII(r rune) bool {
	form := norm.NFKC.String(string(r))
	return strings.ContainsFunc(form, func(r rune) bool { return r < utf8.RuneSelf || r == ideographicStop })
}

// Fault says what is wrong with an address or a path.
type Fault uint8

// The faults.
const (
	NoFault   Fault = iota
	BadSyntax       // not an address
	TooLong         // longer than MaxPath, or its domain than 255 octets
	NoDomain        // a local part alone
	NeedsUTF8       // good, where SMTPUTF8 is in force
)

// CheckMailbox checks s against Mailbox of RFC 5321 §4.1.2, extended by
// RFC 6531 §3.3 where utf8ok. An empty s is BadSyntax.
func CheckMailbox(s string, utf8ok bool) Fault {
	if !utf8ok && !IsASCII(s) {
		if utf8.ValidString(s) && CheckMailbox(s, true) == NoFault {
			return NeedsUTF8
		}
		return BadSyntax
	}
	n := localPart(s, utf8ok)
	switch {
	case n <= 0:
		return BadSyntax
	case n == len(s):
		return NoDomain
	case s[n] != '@':
		return BadSyntax
	}
	domain := s[n+1:]
	if strings.HasPrefix(domain, "[") {
		if !IsLiteral(domain) {
			return BadSyntax
		}
		return NoFault
	}
	if len(domain) > maxDomain {
		return TooLong
	}
	if !IsDomain(domain, utf8ok) {
		return BadSyntax
	}
	return NoFault
}

// localPart is the length of the Local-part at the front of s, 0 or less
// where there is none.
func localPart(s string, utf8ok bool) int {
	if strings.HasPrefix(s, `"`) {
		return quotedString(s, utf8ok)
	}
	// Dot-string = Atom *("." Atom)
	i, atom := 0, 0
	for i < len(s) && s[i] != '@' {
		if s[i] == '.' {
			if atom == 0 {
				return -1
			}
			atom = 0
			i++
			continue
		}
		n := atext(s[i:], utf8ok)
		if n == 0 {
			return -1
		}
		i += n
		atom += n
	}
	if atom == 0 {
		return -1
	}
	return i
}

// quotedString is the length of the Quoted-string at the front of s, or -1.
func quotedString(s string, utf8ok bool) int {
	for i := 1; i < len(s); {
		switch c := s[i]; {
		case c == '"':
			return i + 1
		case c == '\\': // quoted-pairSMTP = %d92 %d32-126
			if i+1 >= len(s) || s[i+1] < ' ' || s[i+1] > '~' {
				return -1
			}
			i += 2
		case c >= ' ' && c <= '~':
			i++
		default:
			n := utf8char(s[i:], utf8ok)
			if n == 0 {
				return -1
			}
			i += n
		}
	}
	return -1
}

// atext is the length of one atext at the front of s, 0 where there is none.
func atext(s string, utf8ok bool) int {
	c := s[0]
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return 1
	case c < utf8.RuneSelf:
		if strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0 {
			return 1
		}
		return 0
	}
	return utf8char(s, utf8ok)
}

// utf8char is the length of one UTF8-non-ascii (RFC 6531 §3.3) at the front
// of s. Whatever hides, turns text around or is a space is left out: nobody
// who reads the address would know of it.
func utf8char(s string, ok bool) int {
	if !ok {
		return 0
	}
	r, n := utf8.DecodeRuneInString(s)
	if !Addressable(r) {
		return 0
	}
	return n
}

// IsDomain checks s against Domain of RFC 5321 §4.1.2. An underscore is let
// through: names with one exist, and it can't be mistaken for anything.
func IsDomain(s string, utf8ok bool) bool {
	if s == "" || len(s) > maxDomain {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label, utf8ok) {
			return false
		}
	}
	return true
}

func isLabel(s string, utf8ok bool) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			i++
		default:
			n := utf8char(s[i:], utf8ok && c >= utf8.RuneSelf)
			if n == 0 {
				return false
			}
			i += n
		}
	}
	return true
}

// IsLiteral checks s against address-literal of RFC 5321 §4.1.3. No tag but
// IPv6 was ever registered.
func IsLiteral(s string) bool {
	if len(s) < 3 || s[0] != '[' || s[len(s)-1] != ']' {
		return false
	}
	s = s[1 : len(s)-1]
	if len(s) > 5 && strings.EqualFold(s[:5], "IPv6:") {
		a, err := netip.ParseAddr(s[5:])
		return err == nil && a.Is6() && a.Zone() == ""
	}
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

// IsHelo checks the argument of HELO and EHLO (RFC 5321 §4.1.1.1). It ends up
// in the Received field, so nothing may pass that could end a comment or a
// line there.
func IsHelo(s string) bool {
	if strings.HasPrefix(s, "[") {
		return IsLiteral(s)
	}
	return IsDomain(strings.TrimSuffix(s, "."), false)
}

// MendHelo is the literal of an IP address that a client says in HELO or EHLO
// without brackets, or without the tag of IPv6; empty for anything else.
func MendHelo(s string) string {
	a, err := netip.ParseAddr(strings.Trim(s, "[] "))
	switch {
	case err != nil || a.Zone() != "":
		return ""
	case a.Is6():
		return "[IPv6:" + a.String() + "]"
	}
	return "[" + a.String() + "]"
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

// QuoteAddress writes an address whose local part has no quotes in wire form. A
// name without a domain stays as it is.
func QuoteAddress(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	return QuoteLocal(address[:at]) + address[at:]
}

// QuoteLocal writes a local part without quotes in wire form: with quotes
// where it isn't a Dot-string.
func QuoteLocal(local string) string {
	dots := strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..")
	if local == "" || dots || strings.ContainsFunc(local, NeedsQuotes) {
		return `"` + quotedPairs.Replace(local) + `"`
	}
	return local
}

// quotedPairs escapes what a quoted-string can't hold otherwise.
var quotedPairs = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// NeedsQuotes reports whether r can stand in a local part between quotes only.
func NeedsQuotes(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune(`()<>[]:;@\,"`, r)
}
