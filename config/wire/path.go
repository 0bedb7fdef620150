package wire

import "strings"

// CutPath takes the path from the front of s, which follows "FROM:" or "TO:",
// and returns what stands between < and >, and the parameters after it. Where
// lenient, the brackets may be missing, blanks may stand inside them, and a name
// before them.
func CutPath(s string, lenient bool) (addr, params string, fault Fault) {
	// RFC 5321 §3.3 has no space here, but too many programs send one and it
	// can't be mistaken for anything.
	s = strings.TrimLeft(s, " ")
	if s == "" || s[0] != '<' {
		if !lenient || s == "" {
			return "", "", BadSyntax
		}
		if name, _, bracket := strings.Cut(s, "<"); bracket && isName(name) {
			return CutPath(s[len(name):], lenient)
		}
		addr, params, _ = strings.Cut(s, " ")
		if strings.ContainsAny(addr, `<>"\`) { // where it ends could be doubted
			return "", "", BadSyntax
		}
		if len(addr)+2 > MaxPath {
			return "", "", TooLong
		}
		return addr, params, NoFault
	}
	end := pathEnd(s)
	if end < 0 {
		return "", "", BadSyntax
	}
	addr, params = s[1:end], s[end+1:]
	if params != "" && params[0] != ' ' {
		return "", "", BadSyntax
	}
	if lenient {
		addr = strings.Trim(addr, " ")
	}
	if len(addr)+2 > MaxPath {
		return "", "", TooLong
	}
	return addr, params, NoFault
}

// isName tells whether s is words and a blank, as they stand before an address
// in a header. It can't be an address, nor hold one, nor a parameter.
func isName(s string) bool {
	return strings.HasSuffix(s, " ") && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(" .-_'", r))
	})
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

// CheckPath returns the address of a path that CutPath has found, in wire
// form, without a source route (RFC 5321 §3.3: it must be accepted and
// ignored). An empty one is the null path. Where lenient, what has a plain
// meaning is mended.
func CheckPath(addr string, utf8ok, lenient bool) (string, Fault) {
	if strings.HasPrefix(addr, "@") {
		var ok bool
		if addr, ok = dropSourceRoute(addr, utf8ok); !ok {
			return "", BadSyntax
		}
	}
	if addr == "" {
		return "", NoFault
	}
	fault := CheckMailbox(addr, utf8ok)
	if fault == BadSyntax && lenient {
		if better := mendMailbox(addr); better != "" {
			if len(better)+2 > MaxPath {
				return "", TooLong
			}
			return better, CheckMailbox(better, utf8ok)
		}
	}
	return addr, fault
}

// dropSourceRoute removes A-d-l ":" of RFC 5321 §4.1.2.
func dropSourceRoute(s string, utf8ok bool) (string, bool) {
	route, rest, ok := strings.Cut(s, ":")
	if !ok || rest == "" {
		return "", false
	}
	for hop := range strings.SplitSeq(route, ",") {
		if len(hop) < 2 || hop[0] != '@' || !IsDomain(hop[1:], utf8ok) {
			return "", false
		}
	}
	return rest, true
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

// FitsPath reports whether an address can go out between < and >: it has no
// control byte, and nothing outside of quotes that would end the path early.
// It asks for less than CheckMailbox: what an older version or another client
// has let into the spool goes on, as long as it can do no harm.
func FitsPath(address string) bool {
	quoted, escaped := false, false
	for i := 0; i < len(address); i++ {
		c := address[i]
		switch {
		case c < ' ' || c == 0x7f:
			return false
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '<' || c == '>'):
			return false
		}
	}
	return !quoted && !escaped
}

// FitsParameter reports whether a value can go out as one of a parameter
// (RFC 5321 §4.1.2, esmtp-value, and 8 bits for RFC 6533): no other can begin
// in it.
func FitsParameter(value string) bool {
	for i := 0; i < len(value); i++ {
		if c := value[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
