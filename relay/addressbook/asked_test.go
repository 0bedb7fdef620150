package addressbook

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/config"
	"postern/relay/directory"
	"postern/relay/directory/directorytest"
)

// gal is a book of a directory that knows two people and a group.
func gal(t *testing.T, name string, away *atomic.Bool) config.Book {
	t.Helper()
	f := directorytest.New(t)
	f.Search = func(c *directorytest.Asker, base, filter string) {
		if away.Load() {
			_ = c.Close()
			return
		}
		person := func(cn, mail string) {
			c.Entry("cn="+cn+",dc=x", map[string][]string{"objectClass": {"inetOrgPerson"}, "cn": {cn}, "mail": {mail}})
		}
		group := func() {
			c.Entry("cn=Field,dc=x", map[string][]string{"objectClass": {"groupOfNames"}, "cn": {"Field"}, "member": {"cn=Ali Baba,dc=x"}})
		}
		code := 0
		switch has := func(s string) bool { return strings.Contains(strings.ToLower(filter), s) }; {
		case strings.HasPrefix(base, "cn=Field"):
			group()
		case strings.HasPrefix(base, "cn=Ali"):
			person("Ali Baba", "ali@corp.test")
		case has("limit"):
			person("Limit", "limit@corp.test")
			code = ldap.LDAPResultSizeLimitExceeded
		case has("field"), has("dynamic"):
			group()
			c.Entry("cn=Dynamic,dc=x", map[string][]string{"objectClass": {"groupOfURLs"}, "cn": {"Dynamic"}, "mail": {"all@corp.test"}, "memberURL": {"ldap:///x"}})
		case has("twin"):
			person("Twin", "twin@corp.test")
			c.Entry("uid=2,dc=x", map[string][]string{"objectClass": {"inetOrgPerson"}, "cn": {"Twin"}, "mail": {"other@corp.test"}})
		case has("ali"), has("bab"):
			person("Ali Baba", "ali@corp.test")
			person("Alison Corp", "alison@corp.test")
		}
		c.Done(code)
	}
	f.Start(t)
	server, err := config.ParseDirectoryServer(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	return config.Book{Name: name, Provider: config.BookLDAP, Directory: config.Directory{
		Servers: []config.DirectoryServer{server}, TLS: config.DirectoryTLSOff, Account: config.Account{Auth: config.MechanismAnonymous},
		Timeout: 5 * time.Second, Max: 50,
	}}
}

// Cards and a directory answer together, in their order.
func TestDirectory(t *testing.T) {
	var away atomic.Bool
	dir := t.TempDir()
	card := "BEGIN:VCARD\nVERSION:4.0\nUID:1\nFN:Alice Liddell\nEMAIL:alice@team.test\nEND:VCARD\n"
	if err := os.WriteFile(filepath.Join(dir, "1.vcf"), []byte(card), 0o600); err != nil {
		t.Fatal(err)
	}
	b := New([]config.Book{{Name: "team", Provider: config.BookVCards, Dir: dir}, gal(t, "gal", &away)})
	resolved := func(name string) string {
		list, err := b.Resolve(t.Context(), name, 100)
		var unknown *Unknown
		switch {
		case errors.As(err, &unknown):
			return "unknown: " + unknown.Text + " (" + unknown.Hint + ")"
		case err != nil:
			return "temporary: " + err.Error()
		}
		return fmt.Sprint(list)
	}
	for name, want := range map[string]string{
		"Alice Liddell":       "alice@team.test",
		"ali baba":            "ali@corp.test",
		"ALI@corp.test":       "ali@corp.test",
		"Baba":                "ali@corp.test", // completed
		"Ali":                 `unknown: "Ali" may be Alice Liddell <alice@team.test> (team), Ali Baba <ali@corp.test> (gal) or Alison Corp <alison@corp.test> (gal)`,
		"group:Field":         "ali@corp.test",
		"group:gal/field":     "ali@corp.test",
		"book:gal/Ali Baba":   "ali@corp.test",
		"book:team/Ali Baba":  "unknown: nobody of that name in team",
		"group:Dynamic":       "unknown: Dynamic is a dynamic group, which can't be taken apart: its rule is ldap:///x (write to its address, all@corp.test",
		"Twin":                `unknown: "Twin" may be Twin <twin@corp.test> (gal) or Twin <other@corp.test> (gal)`,
		"Limit":               "temporary: the book gal has not told all",
		"nobody":              "unknown: nobody of that name in team, gal",
		"group:gal/Alice":     "unknown: no such group in gal",
		"group:team/Field":    "unknown: no such group in team",
		"book:gal/*)(mail=*)": "unknown: nobody",
	} {
		if got := resolved(name); !strings.Contains(got, want) {
			t.Errorf("%s: %s; want %s", name, got, want)
		}
	}
	found := b.Find(t.Context(), "ali", 50)
	if len(found.Entries) != 3 || found.Entries[0].Book != "team" || found.Entries[1].Book != "gal" || len(found.Away) > 0 {
		t.Errorf("%+v", found)
	}
	if found := b.Find(t.Context(), "limit", 50); len(found.Entries) != 1 || len(found.Faults) != 1 || !strings.Contains(found.Faults[0].Text, "size limit") {
		t.Errorf("%+v", found)
	}
	x, err := b.Expand(t.Context(), "group:Field", 10)
	if err != nil || x.Book != "gal" || len(x.Members) != 1 || x.Members[0].Path[0] != "Field" {
		t.Error(x, err)
	}
	if c := b.Check(t.Context()); len(c) != 2 || c[1].Error != "" || len(c[1].Servers) != 1 {
		t.Errorf("%+v", c)
	}

	away.Store(true)
	var gone *directory.Away
	if _, err := b.Resolve(t.Context(), "ali baba", 100); !errors.As(err, &gone) {
		t.Error(err)
	}
	if got := resolved("Alice Liddell"); !strings.Contains(got, "alice@team.test") {
		t.Error("the first book doesn't need the second:", got)
	}
	if found := b.Find(t.Context(), "ali", 50); len(found.Entries) != 1 || len(found.Away) != 1 {
		t.Errorf("%+v", found)
	}
	if c := b.Check(t.Context()); c[1].Error == "" {
		t.Errorf("%+v", c)
	}
}
