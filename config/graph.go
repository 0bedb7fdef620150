package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// BookGraph is the directory of Microsoft 365, and contacts of its mailboxes.
const BookGraph = "graph"

// What there is to ask of Microsoft 365. Contacts of a mailbox are GraphMailbox
// and its address.
const (
	GraphUsers    = "users"
	GraphContacts = "orgcontacts" // people outside, who are in the address list
	GraphGroups   = "groups"
	GraphMailbox  = "contacts:"
)

// graphURL is where Microsoft Graph is, but for national clouds.
const graphURL = "https://graph.microsoft.com/v1.0"

var defaultGraphParts = []string{GraphUsers, GraphContacts, GraphGroups}

var graphParts = kind[[]string]{name: "parts", parse: listOf(readGraphPart), format: unlessNone}

func readGraphPart(f field, s string) (string, bool) {
	if mailbox, ok := strings.CutPrefix(s, GraphMailbox); ok {
		_, ok := ParseAddress(mailbox)
		return s, ok || f.problem(fmt.Sprintf("%q names no mailbox", s), `such as "contacts:office@example.com"`)
	}
	ok := slices.Contains(defaultGraphParts, s)
	return s, ok || f.problem(fmt.Sprintf("%q is nothing to ask for", s), `"users", "orgcontacts", "groups", or "contacts:office@example.com"`)
}

// checkGraph looks at a book of Microsoft 365.
func (b *Book) checkGraph(t *table) {
	t.refuse("is not for Microsoft 365", "remove it", "dir", "file", "charset", "columns")
	b.Directory.refuse(t, b.Provider)
	b.checkWeb(t)
	if !t.has("url") {
		b.URL = graphURL
	}
	for i, part := range b.What {
		if slices.Index(b.What, part) < i {
			t.problem("what", fmt.Sprintf("names %q twice", part), "")
		}
	}
	if !t.has("oauth") {
		t.problem("provider", "needs to know where tokens come from", "add an ["+t.path+".oauth] table")
		return
	}
	b.checkOAuth(t)
}

// graphScopes are what Microsoft is asked for: all that an application was
// granted, or what a person has to allow.
func (b *Book) graphScopes(c *OAuth) []string {
	u, err := url.Parse(b.URL)
	if err != nil {
		return nil
	}
	resource := u.Scheme + "://" + u.Host + "/"
	if c.Flow == FlowClientCredentials {
		return []string{resource + ".default"}
	}
	var scopes []string
	for _, part := range b.What {
		scope := map[string]string{GraphUsers: "User.Read.All", GraphContacts: "OrgContact.Read.All", GraphGroups: "GroupMember.Read.All"}[part]
		if scope == "" {
			scope = "Contacts.Read.Shared"
		}
		if scope = resource + scope; !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	return append(scopes, "offline_access")
}
