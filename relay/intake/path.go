package intake

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"postern/config/visible"
)

// Limits of RFC 5321 §4.5.3.1. The local part may be longer than its 64
// octets, as §4.5.3.1 invites (VERP and SRS make long ones); the path may not.
const (
	maxPath   = 256 // with < and >
	maxDomain = 255
	maxLabel  = 63
)

// pathFault says what is wrong with a path.
type pathFault uint8

const (
	pathOK pathFault = iota
	pathSyntax
	pathTooLong
	pathNoDomain // a local part alone
	pathNeedsUTF8
)

// cutPath takes the path from the front of s, which follows "FROM:" or "TO:",
// and returns what stands between < and >, and the parameters after it. Where
// lenient, the brackets may be missing, blanks may stand inside them, and a name
// before them.
func cutPath(s string, lenient bool) (addr, params string, fault pathFault) {
	// RFC 5321 §3.3 has no space here, but too many programs send one and it
	// can't be mistaken for anything.
	s = strings.TrimLeft(s, " ")
	if s == "" || s[0] != '<' {
		if !lenient || s == "" {
			return "", "", pathSyntax
		}
		if name, _, bracket := strings.Cut(s, "<"); bracket && isName(name) {
			return cutPath(s[len(name):], lenient)
		}
		addr, params, _ = strings.Cut(s, " ")
		if strings.ContainsAny(addr, `<>"\`) { // where it ends could be doubted
			return "", "", pathSyntax
		}
		if len(addr)+2 > maxPath {
			return "", "", pathTooLong
		}
		return addr, params, pathOK
	}
	end := pathEnd(s)
	if end < 0 {
		return "", "", pathSyntax
	}
	addr, params = s[1:end], s[end+1:]
	if params != "" && params[0] != ' ' {
		return "", "", pathSyntax
	}
	if lenient {
		addr = strings.Trim(addr, " ")
	}
	if len(addr)+2 > maxPath {
		return "", "", pathTooLong
	}
	return addr, params, pathOK
}

// isName tells whether s is words and a blank, as they stand before an address
// in a header. It can't be an address, nor hold one, nor a parameter.
func isName(s string) bool {
	return strings.HasSuffix(s, " ") && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(" .-_'", r))
	})
}

// checkPath returns the address of a path that cutPath has found, in wire
// form, without a source route (RFC 5321 §3.3: it must be accepted and
// ignored). An empty one is the null path.
func checkPath(addr string, utf8ok, lenient bool) (string, pathFault) {
	if strings.HasPrefix(addr, "@") {
		var ok bool
		if addr, ok = dropSourceRoute(addr, utf8ok); !ok {
			return "", pathSyntax
		}
	}
	if addr == "" {
		return "", pathOK
	}
	fault := checkMailbox(addr, utf8ok)
	if fault == pathSyntax && lenient {
		if better := mendMailbox(addr); better != "" {
			if len(better)+2 > maxPath {
				return "", pathTooLong
			}
			return better, checkMailbox(better, utf8ok)
		}
	}
	return addr, fault
}

// mendMailbox writes s as RFC 5321 wants it: without the dot that ends the
// domain, and with quotes around a local part whose dots don't stand between
// atoms. Old mobile networks gave such addresses away. It returns "" for what
// it can't mend.
func mendMailbox(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at <= 0 {
		return ""
	}
	local, domain := s[:at], strings.TrimSuffix(s[at+1:], ".")
	if local[0] != '"' && strings.Trim(local, ".") != "" {
		atoms := strings.ReplaceAll(local, ".", "")
		for i := 0; i < len(atoms); {
			// UTF-8 is let through here, so that the address is found to need SMTPUTF8.
			n := atext(atoms[i:], true)
			if n == 0 {
				return ""
			}
			i += n
		}
		if localPart(s, true) <= 0 {
			local = `"` + local + `"`
		}
	}
	return local + "@" + domain
}

// pathEnd is the index of the > that ends the path at the front of s, -1 if
// there is none. A > inside a quoted string does not end it: that is how
// <"a> NOTIFY=NEVER <"@b> turns one command into another.
func pathEnd(s string) int {
	quoted := false
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == '>' && !quoted:
			return i
		}
	}
	return -1
}

// dropSourceRoute removes A-d-l ":" of RFC 5321 §4.1.2.
func dropSourceRoute(s string, utf8ok bool) (string, bool) {
	route, rest, ok := strings.Cut(s, ":")
	if !ok || rest == "" {
		return "", false
	}
	for _, hop := range strings.Split(route, ",") {
		if len(hop) < 2 || hop[0] != '@' || !isDomain(hop[1:], utf8ok) {
			return "", false
		}
	}
	return rest, true
}

// checkMailbox checks s against Mailbox of RFC 5321 §4.1.2, extended by
// RFC 6531 §3.3 where utf8ok.
func checkMailbox(s string, utf8ok bool) pathFault {
	if !utf8ok && !isASCII(s) {
		if utf8.ValidString(s) && checkMailbox(s, true) == pathOK {
			return pathNeedsUTF8
		}
		return pathSyntax
	}
	n := localPart(s, utf8ok)
	switch {
	case n <= 0:
		return pathSyntax
	case n == len(s):
		return pathNoDomain
	case s[n] != '@':
		return pathSyntax
	}
	domain := s[n+1:]
	if strings.HasPrefix(domain, "[") {
		if !isLiteral(domain) {
			return pathSyntax
		}
		return pathOK
	}
	if len(domain) > maxDomain {
		return pathTooLong
	}
	if !isDomain(domain, utf8ok) {
		return pathSyntax
	}
	return pathOK
}

// localPart is the length of the Local-part at the front of s, 0 or less
// where there is none.
func localPart(s string, utf8ok bool) int {
	if s[0] == '"' {
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
	if !visible.Addressable(r) {
		return 0
	}
	return n
}

// hidden reports whether r, which is not ASCII, may stand in no address.
func hidden(r rune) bool { return r >= utf8.RuneSelf && !visible.Addressable(r) }

// isDomain checks s against Domain of RFC 5321 §4.1.2. An underscore is let
// through: names with one exist, and it can't be mistaken for anything.
func isDomain(s string, utf8ok bool) bool {
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

// isLiteral checks s against address-literal of RFC 5321 §4.1.3. No tag but
// IPv6 was ever registered.
func isLiteral(s string) bool {
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

// isHelo checks the argument of HELO and EHLO (RFC 5321 §4.1.1.1). It ends up
// in the Received field, so nothing may pass that could end a comment or a
// line there.
func isHelo(s string) bool {
	if strings.HasPrefix(s, "[") {
		return isLiteral(s)
	}
	return isDomain(strings.TrimSuffix(s, "."), false)
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
