package compose

import (
	"fmt"
	"strings"

	"postern/config/wire"
)

// Address is somebody's address with the name that is shown; Name may be
// empty. Both are UTF-8 as a person writes them, not encoded.
type Address struct{ Name, Addr string }

// String is the form that ParseAddress reads.
func (a Address) String() string {
	name := strings.TrimSpace(a.Name)
	switch {
	case name == "":
		return a.Addr
	case strings.ContainsAny(name, `,;<>"\()`):
		return `"` + quotedPairs.Replace(name) + `" <` + a.Addr + ">"
	}
	return name + " <" + a.Addr + ">"
}

// quotedPairs escapes what a quoted-string can't hold otherwise.
var quotedPairs = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// ParseAddress reads "a@b", "<a@b>" or "Name <a@b>", where Name may stand
// between double quotes. A name with a comma, a semicolon or an angle bracket
// has to. Bare local parts ("root") pass; Message.Check refuses them unless
// AllowBareLocal.
func ParseAddress(s string) (Address, error) {
	a, ok := parseMailbox(strings.TrimSpace(s))
	if !ok {
		return Address{}, notAddress(s)
	}
	if fault := wire.CheckMailbox(a.Addr, true); fault != wire.NoFault && fault != wire.NoDomain {
		return Address{}, notAddress(s)
	}
	if fault := textFault(a.Name, maxName); fault != "" {
		return Address{}, fmt.Errorf("the name %s", fault)
	}
	return a, nil
}

func notAddress(s string) error {
	return fmt.Errorf("%s is not an address", show(strings.TrimSpace(s)))
}

// ParseList reads addresses separated by commas or semicolons. Empty ones are
// passed over. The error names the piece that is wrong.
func ParseList(s string) ([]Address, error) {
	pieces := SplitList(s)
	list := make([]Address, 0, len(pieces))
	for i, piece := range pieces {
		a, err := ParseAddress(piece)
		if err == nil && i+1 < len(pieces) && !strings.ContainsAny(piece, `@<"`) && strings.Contains(pieces[i+1], " <") {
			err = notAddress(piece) // "Last, First <address>", where Last looks like a local part
		}
		if err != nil {
			if !strings.ContainsAny(piece, "@<") && i+1 < len(pieces) {
				err = fmt.Errorf("%w (a name with a comma or semicolon goes between double quotes)", err)
			}
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// SplitList cuts a list at its commas and semicolons, outside of double
// quotes and angle brackets. Pieces are trimmed, and none is empty.
func SplitList(s string) []string {
	var pieces []string
	add := func(piece string) {
		if piece = strings.TrimSpace(piece); piece != "" {
			pieces = append(pieces, piece)
		}
	}
	from, quoted, angle := 0, false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case (c == ',' || c == ';') && !angle:
			add(s[from:i])
			from = i + 1
		}
	}
	add(s[from:])
	return pieces
}

// parseMailbox takes s, which is trimmed, apart. Whether the address is one is
// not looked at.
func parseMailbox(s string) (Address, bool) {
	if !strings.HasSuffix(s, ">") {
		return Address{Addr: s}, s != ""
	}
	open := -1
	quoted := false
	for i := 0; i < len(s) && open < 0; i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '<' && !quoted:
			open = i
		}
	}
	if open < 0 {
		return Address{}, false
	}
	name, ok := unquote(strings.TrimSpace(s[:open]))
	return Address{Name: name, Addr: strings.TrimSpace(s[open+1 : len(s)-1])}, ok
}

// unquote is the phrase before an address as a person reads it: a
// quoted-string, or words without quotes.
func unquote(phrase string) (string, bool) {
	if !strings.HasPrefix(phrase, `"`) {
		return phrase, !strings.ContainsAny(phrase, `"<>`)
	}
	var name strings.Builder
	for i := 1; i < len(phrase); i++ {
		switch c := phrase[i]; {
		case c == '"':
			return strings.TrimSpace(name.String()), i == len(phrase)-1
		case c == '\\' && i+1 < len(phrase):
			i++
			name.WriteByte(phrase[i])
		default:
			name.WriteByte(c)
		}
	}
	return "", false
}

// wireAddress is address as SMTP and header have it: the domain in ASCII. It
// is false where the domain can't be.
func wireAddress(address string) (string, bool) {
	if wire.IsASCII(address) {
		return address, true
	}
	local, domain := wire.SplitAddress(address)
	if wire.IsASCII(domain) {
		return address, true
	}
	domain, ok := asciiDomain(domain)
	return local + "@" + domain, ok && wire.IsDomain(domain, false)
}

// asciiDomain is a domain as it goes out; literals are as they are.
func asciiDomain(domain string) (string, bool) {
	if wire.IsASCII(domain) {
		return domain, true
	}
	return wire.CanonicalDomain(domain)
}

// addressFault says why a can't be written.
func addressFault(a Address, bare bool) string {
	switch wire.CheckMailbox(a.Addr, true) {
	case wire.NoFault:
	case wire.TooLong:
		return "the domain of " + show(a.Addr) + " is too long"
	case wire.NoDomain:
		if !bare {
			return show(a.Addr) + " has no domain"
		}
	default:
		return show(a.Addr) + " is not an address"
	}
	onWire, ok := wireAddress(a.Addr)
	switch {
	case !ok:
		return "the domain of " + show(a.Addr) + " can't be written in ASCII"
	case len(onWire)+2 > wire.MaxPath:
		return fmt.Sprintf("%s is longer than %d octets", show(a.Addr), wire.MaxPath-2)
	}
	if fault := textFault(a.Name, maxName); fault != "" {
		return "the name " + fault
	}
	return ""
}

// envelope is the recipients of lists, each once, and whether SMTPUTF8 is
// needed for them.
func envelope(lists ...[]Address) (to []string, utf8 bool) {
	n := 0
	for _, list := range lists {
		n += len(list)
	}
	to = make([]string, 0, n)
	var seen map[string]bool
	if n > 1 {
		seen = make(map[string]bool, n)
	}
	for _, list := range lists {
		for _, a := range list {
			address, _ := wireAddress(a.Addr)
			utf8 = utf8 || !wire.IsASCII(address)
			if n > 1 {
				local, domain := wire.SplitAddress(address)
				key := local + "@" + strings.ToLower(domain)
				if seen[key] {
					continue
				}
				seen[key] = true
			}
			to = append(to, address)
		}
	}
	return to, utf8
}
