package graph

import (
	"net/url"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"postern/config"
	"postern/config/wire"
	"postern/relay/directory"
)

// part is something of Microsoft 365 that holds addresses.
type part struct {
	name       string // of the configuration
	path       string // below the URL
	kind       directory.Kind
	mailbox    string // whose contacts it is; empty: none
	fields     string // for $select
	names      []string
	mails      []string // fields that hold one address
	starts     []string // fields that a search may begin with
	addressed  string   // the filter of those that have an address
	permission string
}

// memberFields are what is asked for of members.
const memberFields = "id,displayName,mail,proxyAddresses"

func partOf(what string) part {
	const common = "id,displayName,mail,proxyAddresses,mailNickname"
	switch what {
	case config.GraphUsers:
		return part{
			name: what, path: "/users", fields: common + ",givenName,surname,companyName,userPrincipalName,showInAddressList",
			names: []string{"displayName", "mailNickname"}, mails: []string{"mail", "userPrincipalName"},
			starts: []string{"displayName", "givenName", "surname"}, addressed: "mail ne null", permission: "User.Read.All",
		}
	case config.GraphContacts:
		return part{
			name: what, path: "/contacts", fields: common + ",givenName,surname,companyName",
			names: []string{"displayName", "mailNickname"}, mails: []string{"mail"},
			starts: []string{"displayName", "givenName", "surname"}, addressed: "mail ne null", permission: "OrgContact.Read.All",
		}
	case config.GraphGroups:
		return part{
			name: what, path: "/groups", kind: directory.Group, fields: common + ",mailEnabled",
			names: []string{"displayName", "mailNickname"}, mails: []string{"mail"}, addressed: "mailEnabled eq true", permission: "GroupMember.Read.All",
		}
	}
	mailbox := strings.TrimPrefix(what, config.GraphMailbox)
	return part{
		name: what, path: "/users/" + url.PathEscape(mailbox) + "/contacts", mailbox: mailbox,
		fields: "id,displayName,nickName,givenName,surname,companyName,emailAddresses", permission: "Contacts.Read",
	}
}

// search is what Microsoft looks for in names and addresses.
func (p *part) search(text string) string {
	text = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)
	return anyOf(append([]string{"displayName"}, p.mails...), " OR ", func(field string) string { return `"` + field + ":" + text + `"` })
}

// exact is the filter of those that have a name or an address.
func (p *part) exact(text string) string {
	value := literal(text)
	if !strings.Contains(text, "@") {
		return anyOf(p.names, " or ", func(field string) string { return field + " eq " + value })
	}
	return anyOf(append([]string{"displayName"}, p.mails...), " or ", func(field string) string { return field + " eq " + value }) +
		" or proxyAddresses/any(a:a eq " + literal("smtp:"+text) + ")"
}

// prefix is the filter of those whose name begins with a text.
func (p *part) prefix(text string) string {
	return anyOf(p.starts, " or ", func(field string) string { return "startswith(" + field + "," + literal(text) + ")" })
}

func anyOf(fields []string, or string, condition func(string) string) string {
	all := make([]string, len(fields))
	for i, f := range fields {
		all[i] = condition(f)
	}
	return strings.Join(all, or)
}

// literal is a text in a filter (OData 4.01, ABNF: SQUOTE-in-string).
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// item is one thing as Microsoft tells it. What it doesn't know, or may not tell,
// is null.
type item struct {
	Type              string   `json:"@odata.type"`
	ID                string   `json:"id"`
	DisplayName       string   `json:"displayName"`
	GivenName         string   `json:"givenName"`
	Surname           string   `json:"surname"`
	NickName          string   `json:"nickName"`
	MailNickname      string   `json:"mailNickname"`
	CompanyName       string   `json:"companyName"`
	Mail              string   `json:"mail"`
	UserPrincipalName string   `json:"userPrincipalName"`
	ProxyAddresses    []string `json:"proxyAddresses"`
	ShowInAddressList *bool    `json:"showInAddressList"`
	EmailAddresses    []struct {
		Address string `json:"address"`
	} `json:"emailAddresses"`
}

// hidden says whether it is left out of address lists.
func (i *item) hidden() bool { return i.ShowInAddressList != nil && !*i.ShowInAddressList }

func line(s string) string { return wire.Text(strings.TrimSpace(s), 256) }

// entry takes what is of use.
func (i *item) entry(p part) *directory.Entry {
	mail := []string{i.Mail}
	for _, a := range i.EmailAddresses {
		mail = append(mail, a.Address)
	}
	e := &directory.Entry{
		ID: i.ID, Kind: p.kind, Name: line(i.DisplayName), Organisation: line(i.CompanyName),
		Addresses: directory.Addresses(i.ProxyAddresses, mail), Words: []string{line(i.GivenName), line(i.Surname)},
	}
	if e.Name == "" {
		e.Name = line(strings.TrimSpace(i.GivenName + " " + i.Surname))
	}
	if e.Name == "" {
		e.Name = e.Address()
	}
	for _, n := range []string{line(i.NickName), line(i.MailNickname)} {
		if n != "" && n != e.Name {
			e.Nicknames = append(e.Nicknames, n)
		}
	}
	if upn := directory.Addresses(nil, []string{i.UserPrincipalName}); len(e.Addresses) > 0 && len(upn) > 0 &&
		!slices.ContainsFunc(e.Addresses, func(a string) bool { return strings.EqualFold(a, upn[0]) }) {
		e.Nicknames = append(e.Nicknames, upn[0]) // a name to sign in with, and maybe no mailbox
	}
	return e
}

// contains reports whether an entry has every word of a text.
func contains(e *directory.Entry, text string) bool {
	fold := func(s string) string { return strings.ToLower(norm.NFC.String(s)) }
	all := fold(strings.Join(slices.Concat([]string{e.Name, e.Organisation}, e.Nicknames, e.Words, e.Addresses), " "))
	for word := range strings.FieldsSeq(fold(text)) {
		if !strings.Contains(all, word) {
			return false
		}
	}
	return true
}
