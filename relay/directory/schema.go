package directory

import (
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/text/unicode/norm"

	"postern/config"
	"postern/config/wire"
)

// Kind is what an entry is.
type Kind int

// The kinds.
const (
	Person  Kind = iota
	Group        // with members
	Dynamic      // a group whose members a rule tells, which only the mail server knows
)

// Entry is one of a directory. Its text is one line, without control
// characters.
type Entry struct {
	ID           string // the DN, or what else names it in its directory
	Kind         Kind
	Name         string
	Nicknames    []string
	Organisation string
	Addresses    []string // the first one is that to write to; may be empty

	// Words are further names by which a search may find a person.
	Words []string

	hidden bool   // from address lists
	rule   string // of a dynamic group
}

// Address is the one to write to; empty: there is none.
func (e *Entry) Address() string {
	if len(e.Addresses) == 0 {
		return ""
	}
	return e.Addresses[0]
}

// folded is a name without the differences that people don't mean.
func folded(s string) string {
	return strings.ToLower(strings.Join(strings.Fields(norm.NFC.String(s)), " "))
}

// Is reports whether a text is an address, the name or a nickname of the entry.
func (e *Entry) Is(text string) bool {
	k := folded(text)
	same := func(s string) bool { return folded(s) == k }
	return same(e.Name) || slices.ContainsFunc(e.Addresses, same) || slices.ContainsFunc(e.Nicknames, same)
}

// Begins reports whether a name of the entry, or a word of it, begins with a text.
func (e *Entry) Begins(text string) bool {
	k := folded(text)
	for _, name := range append([]string{e.Name}, append(e.Nicknames, e.Words...)...) {
		if name = folded(name); strings.HasPrefix(name, k) || strings.Contains(name, " "+k) {
			return true
		}
	}
	return false
}

// rawEntry is one as the server has sent it.
type rawEntry ldap.Entry

// Bounds of an entry.
const (
	maxText   = 256
	maxValues = 200 // addresses and names
)

func (r *rawEntry) all(name string) []string {
	for _, a := range r.Attributes {
		if strings.EqualFold(a.Name, name) {
			return a.Values
		}
	}
	return nil
}

// first is the first value of an attribute, fit for people.
func (r *rawEntry) first(name string) string {
	if v := r.all(name); len(v) > 0 {
		return line(v[0])
	}
	return ""
}

func (r *rawEntry) has(class ...string) bool {
	for _, c := range r.all("objectClass") {
		if slices.ContainsFunc(class, func(s string) bool { return strings.EqualFold(s, c) }) {
			return true
		}
	}
	return false
}

func line(s string) string { return wire.Text(strings.TrimSpace(s), maxText) }

func list(values []string) string {
	var out []string
	for _, v := range values[:min(len(values), 5)] {
		out = append(out, line(v))
	}
	return strings.Join(out, ", ")
}

// schema is what a directory calls things.
type schema struct {
	kind      config.Schema
	names     []string // attributes that an exact name is in
	parts     []string // of names: what a prefix is looked for in
	addressed string   // filter of those with an address
	grouped   string   // filter of groups
}

// capabilityAD is told by every Active Directory since Windows 2000 (MS-ADTS
// 3.1.1.3.4.3.1), and by Samba.
const capabilityAD = "1.2.840.113556.1.4.800"

func schemaOf(want config.Schema, root *rawEntry) schema {
	if want == config.SchemaActiveDirectory || want == config.SchemaAuto && slices.Contains(root.all("supportedCapabilities"), capabilityAD) {
		return schema{
			kind:      config.SchemaActiveDirectory,
			names:     []string{"displayName", "cn", "mailNickname", "sAMAccountName"},
			parts:     []string{"displayName", "cn", "sn", "givenName", "mailNickname", "sAMAccountName"},
			addressed: "(&(|(objectClass=user)(objectClass=contact)(objectClass=group)(objectClass=msExchDynamicDistributionList))(|(mail=*)(proxyAddresses=*)))",
			grouped:   "(|(objectClass=group)(objectClass=msExchDynamicDistributionList))",
		}
	}
	groups := "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup)(objectClass=groupOfURLs))"
	return schema{
		kind:      config.SchemaInetOrgPerson,
		names:     []string{"cn", "displayName", "uid"},
		parts:     []string{"cn", "displayName", "sn", "givenName", "uid"},
		addressed: "(|(mail=*)" + groups + ")",
		grouped:   groups,
	}
}

// attributes are those that are needed, and no photographs.
func (s schema) attributes() []string {
	common := []string{"objectClass", "cn", "displayName", "givenName", "sn", "mail"}
	if s.kind == config.SchemaActiveDirectory {
		return append(common, "proxyAddresses", "mailNickname", "sAMAccountName", "company",
			"msExchHideFromAddressLists", "msExchDynamicDLFilter", "msExchQueryFilter")
	}
	return append(common, "uid", "o", "memberURL")
}

// value is a text as a filter may have it (RFC 4515 §3), whatever it holds.
func value(text string) string {
	return ldap.EscapeFilter(strings.ToValidUTF8(strings.TrimSpace(text), "\uFFFD"))
}

// oneOf is a filter of attributes, one of which has a value.
func oneOf(attributes []string, value string) string {
	var b strings.Builder
	b.WriteString("(|")
	for _, a := range attributes {
		b.WriteString("(" + a + "=" + value + ")")
	}
	return b.String() + ")"
}

// own is the administrator's filter for a text.
func own(filter, text string) string { return strings.ReplaceAll(filter, "%s", value(text)) }

// find is the filter of those whom a text may mean.
func (s schema) find(filter, text string) string {
	if strings.TrimSpace(text) == "" {
		return s.addressed
	}
	if filter != "" {
		return own(filter, text)
	}
	if s.kind == config.SchemaActiveDirectory {
		// Ambiguous name resolution: MS-ADTS 3.1.1.3.1.3.3.
		v := value(text)
		return "(&" + s.addressed + "(|(anr=" + v + ")(mail=" + v + "*)(proxyAddresses=smtp:" + v + "*)))"
	}
	var words strings.Builder
	for _, w := range strings.Fields(text)[:min(len(strings.Fields(text)), 8)] {
		words.WriteString(oneOf(append(slices.Clone(s.parts), "mail"), "*"+value(w)+"*"))
	}
	return "(&" + s.addressed + words.String() + ")"
}

// exact is the filter of those who have an address or a name.
func (s schema) exact(filter, text string) string {
	if filter != "" {
		return own(filter, text)
	}
	return s.named(text)
}

func (s schema) named(text string) string {
	v := value(text)
	alternatives := "(mail=" + v + ")" + oneOf(s.names, v)
	if s.kind == config.SchemaActiveDirectory {
		alternatives += "(proxyAddresses=smtp:" + v + ")"
	}
	return "(&(|" + s.addressed + s.grouped + ")(|" + alternatives + "))"
}

// prefix is the filter of those whose names begin with a text.
func (s schema) prefix(filter, text string) string {
	if filter != "" {
		return own(filter, text)
	}
	return "(&" + s.addressed + oneOf(s.parts, value(text)+"*") + ")"
}

// groups is the filter of groups of a name, or of all that are of use.
func (s schema) groups(name string) string {
	switch {
	case name != "":
		return "(&" + s.grouped + s.named(name) + ")"
	case s.kind == config.SchemaActiveDirectory: // without those of the system
		return "(&" + s.grouped + "(|(mail=*)(proxyAddresses=*)))"
	}
	return s.grouped
}

// entry takes what is of use of an entry.
func (s schema) entry(r *rawEntry) *Entry {
	e := &Entry{
		ID: r.DN, Name: first(r.first("displayName"), r.first("cn"), r.first("mail"), line(r.DN)),
		Organisation: first(r.first("company"), r.first("o")),
		hidden:       strings.EqualFold(r.first("msExchHideFromAddressLists"), "TRUE"),
		Words:        []string{r.first("givenName"), r.first("sn")},
	}
	for _, name := range s.names {
		for _, v := range r.all(name)[:min(len(r.all(name)), maxValues)] {
			if v = line(v); v != "" && v != e.Name && !slices.Contains(e.Nicknames, v) {
				e.Nicknames = append(e.Nicknames, v)
			}
		}
	}
	e.Addresses = Addresses(r.all("proxyAddresses"), r.all("mail"))
	dynamic := r.has("msExchDynamicDistributionList", "groupOfURLs")
	switch {
	case dynamic:
		e.Kind = Dynamic
		e.rule = first(r.first("msExchQueryFilter"), r.first("msExchDynamicDLFilter"), r.first("memberURL"), "not told")
	case r.has("group", "groupOfNames", "groupOfUniqueNames", "posixGroup"):
		e.Kind = Group
	}
	return e
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// Addresses are those of an entry, the one to write to first: the one behind
// "SMTP:" among the proxyAddresses of Exchange, or the first of mail.
func Addresses(proxyAddresses, mail []string) []string {
	var primary, all []string
	add := func(to []string, s string) []string {
		s = strings.TrimSpace(s)
		same := func(o string) bool { return strings.EqualFold(o, s) }
		if len(s) > 320 || len(all) > maxValues || wire.CheckMailbox(s, true) != wire.NoFault || slices.ContainsFunc(to, same) {
			return to
		}
		return append(to, s)
	}
	for _, p := range proxyAddresses {
		switch kind, address, _ := strings.Cut(p, ":"); kind {
		case "SMTP":
			primary = add(primary, address)
		case "smtp", "Smtp":
			all = add(all, address)
		}
	}
	for _, m := range mail {
		primary = add(primary, m)
	}
	for _, a := range all {
		primary = add(primary, a)
	}
	return primary
}
