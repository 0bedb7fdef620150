package directory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"postern/relay/directory/directorytest"
)

// groups has a fixture with entries by their DN, which it finds by memberOf and
// uid too, in pages.
func groups(f *fixture, entries map[string]map[string][]string) {
	f.Search = func(c *asker, base, filter string) {
		if e := entries[strings.ToLower(base)]; e != nil {
			part := map[string][]string{}
			for name, values := range e {
				part[name] = values
			}
			for _, a := range c.Request.Children[1].Children[7].Children { // RFC 4511 §4.5.1: the attributes
				name := a.Data.String()
				from := 0
				if _, err := fmt.Sscanf(name, "member;range=%d-*", &from); err != nil && name != "member" {
					continue
				}
				if all := e["member"]; len(all) > 1500 {
					to := min(from+1500, len(all))
					last := fmt.Sprint(to - 1)
					if to == len(all) {
						last = "*"
					}
					part["member"] = nil
					part[fmt.Sprintf("member;range=%d-%s", from, last)] = all[from:to]
				}
			}
			c.Entry(base, part)
			c.Done(0)
			return
		}
		found := false
		for dn, e := range entries {
			if slices.ContainsFunc(e["uid"], func(u string) bool { return strings.Contains(filter, "(uid="+u+")") }) {
				c.Entry(dn, e)
				found = true
			}
		}
		if found || strings.HasPrefix(filter, "(|(uid=") || strings.HasPrefix(filter, "(memberOf=") {
			c.Done(0)
			return
		}
		c.Done(ldap.LDAPResultNoSuchObject)
	}
}

func group(name string, members ...string) map[string][]string {
	return map[string][]string{"objectClass": {"groupOfNames"}, "cn": {name}, "member": members}
}

func person(name string) map[string][]string {
	return map[string][]string{"objectClass": {"inetOrgPerson"}, "cn": {name}, "uid": {name}, "mail": {name + "@x.test"}}
}

func expansion(x *Expansion) string {
	var out []string
	for _, m := range x.Members {
		out = append(out, strings.Join(m.Path, "/")+"/"+m.Address)
	}
	return strings.Join(out, " ")
}

func TestExpand(t *testing.T) {
	many := []string{}
	entries := map[string]map[string][]string{
		"cn=a,dc=x":   group("A", "cn=ali,dc=x", "cn=b,dc=x", "cn=gone,dc=x", "cn=mute,dc=x"),
		"cn=b,dc=x":   group("B", "CN=Ali, DC=x", "cn=bob,dc=x", "cn=a,dc=x", "cn=b,dc=x"),
		"cn=u,dc=x":   {"objectClass": {"groupOfUniqueNames"}, "cn": {"U"}, "uniqueMember": {"cn=bob,dc=x#'0101'B"}},
		"cn=p,dc=x":   {"objectClass": {"posixGroup"}, "cn": {"P"}, "memberUid": {"bob", "nobody"}},
		"cn=d,dc=x":   {"objectClass": {"groupOfURLs"}, "cn": {"D"}, "memberURL": {"ldap:///dc=x??sub?(o=x)"}},
		"cn=e,dc=x":   group("E", "cn=all,dc=x", "cn=d,dc=x"),
		"cn=n,dc=x":   group("N"),
		"cn=f,dc=x":   group("F", "cn=all,dc=x"),
		"cn=all,dc=x": {"objectClass": {"msExchDynamicDistributionList"}, "cn": {"All"}, "mail": {"all@x.test"}},
		"cn=ali,dc=x": person("ali"), "cn=ali, dc=x": person("ali"), "cn=bob,dc=x": person("bob"),
		"cn=mute,dc=x": {"objectClass": {"person"}, "cn": {"Mute"}},
	}
	for i := range 3100 {
		dn := fmt.Sprintf("cn=m%d,dc=x", i)
		many = append(many, dn)
		entries[dn] = person(fmt.Sprint("m", i))
	}
	entries["cn=big,dc=x"] = group("Big", many...)
	f := directorytest.New(t)
	groups(f, entries)
	group := func(dn string) *Entry {
		return inet.entry(&rawEntry{DN: dn, Attributes: ldap.NewEntry(dn, entries[dn]).Attributes})
	}
	d := at(t, nil, f)
	for dn, want := range map[string]string{
		"cn=a,dc=x": "A/ali@x.test A/B/bob@x.test", "cn=u,dc=x": "U/bob@x.test", "cn=p,dc=x": "P/bob@x.test", "cn=f,dc=x": "F/all@x.test", "cn=n,dc=x": "",
	} {
		x, err := d.Expand(t.Context(), group(dn), 100)
		if err != nil || expansion(x) != want {
			t.Errorf("%s: %v %v", dn, x, err)
			continue
		}
		switch dn {
		case "cn=a,dc=x":
			if got := strings.Join(x.Loops, "; "); got != "A > B > A; B > B" {
				t.Error(got)
			}
			if got := strings.Join(x.Missing, "; "); got != "cn=gone,dc=x is not there; Mute has no address" {
				t.Error(got)
			}
		case "cn=p,dc=x":
			if got := strings.Join(x.Missing, "; "); got != "nobody is not there" {
				t.Error(got)
			}
		}
	}
	x, err := d.Expand(t.Context(), group("cn=big,dc=x"), 5000)
	if err != nil || len(x.Members) != 3100 || x.Members[3099].Address != "m3099@x.test" {
		t.Error(err)
	}
	var many3 *TooMany
	if _, err := d.Expand(t.Context(), group("cn=big,dc=x"), 3000); !errors.As(err, &many3) {
		t.Error(err)
	}
	var no *Unusable
	for _, dn := range []string{"cn=d,dc=x", "cn=e,dc=x", "cn=all,dc=x"} {
		if _, err := d.Expand(t.Context(), group(dn), 100); !errors.As(err, &no) || no.Hint == "" || !strings.Contains(err.Error(), "rule is") {
			t.Error(dn, err)
		}
	}
}

// A group that is told in part is not expanded.
func TestExpandInPart(t *testing.T) {
	for name, search := range map[string]func(c *asker, base string){
		"ranges that don't go on": func(c *asker, base string) {
			c.Entry(base, map[string][]string{"member;range=0-0": {"cn=ali,dc=x"}})
			c.Done(0)
		},
		"group that is not to be read": func(c *asker, _ string) { c.Done(0) },
		"size limit": func(c *asker, base string) {
			if base == "cn=a,dc=x" {
				c.Entry(base, map[string][]string{"memberUid": {"ali"}})
				c.Done(0)
				return
			}
			c.Done(ldap.LDAPResultSizeLimitExceeded)
		},
		"connection that ends": func(c *asker, _ string) { _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			f := directorytest.New(t)
			n := 0
			f.Search = func(c *asker, base, _ string) {
				if n++; n > 5 {
					c.Entry(base, nil)
					c.Done(0)
					return
				}
				search(c, base)
			}
			var away *Away
			if x, err := at(t, nil, f).Expand(t.Context(), &Entry{ID: "cn=a,dc=x", Kind: Group}, 10); !errors.As(err, &away) {
				t.Error(x, err)
			}
		})
	}
}
