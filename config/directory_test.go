package config

import (
	"strings"
	"testing"
)

func TestCheckFilter(t *testing.T) {
	for filter, want := range map[string]string{
		"(&(department=Sales)(cn=*%s*))": "", "(|(cn=%s)(mail=%s@x.test))": "", "(cn=ali)": "no %s", "(%s=ali)": "no value", "%s": "no value", "(cn=x)%s": "no value",
		"(cn=%s": "no filter", "(&(cn=x)%s)": "no value", "(|(cn=%s)(%s=x))": "no value",
	} {
		if err := checkFilter(filter); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Error(filter, err)
		}
	}
}

func TestDirectoryServers(t *testing.T) {
	for _, u := range []string{"", "dc1", "http://dc1", "ldap://", "ldaps://me:pw@dc1", "ldap://dc1/dc=x", "ldapi://run/ldapi", "ldapi:///a\nb", "ldapi://%zz", "ldap://dc1?x"} {
		if _, err := ParseDirectoryServer(u); err == nil {
			t.Errorf("%q is taken", u)
		}
	}
	for u, want := range map[string]DirectoryServer{
		"ldap://dc1": {"ldap://dc1", "dc1", "389", false, false, ""}, "ldaps://dc1.example.com:3269/": {"ldaps://dc1.example.com:3269", "dc1.example.com", "3269", true, false, ""},
		"ldap://[::1]:390": {"ldap://[::1]:390", "::1", "390", false, false, ""}, "ldaps://dc1": {"ldaps://dc1", "dc1", "636", true, false, ""},
		"ldapi:///": {URL: "ldapi:///run/slapd/ldapi", Socket: "/run/slapd/ldapi"}, "ldapi:///srv/a b/": {URL: "ldapi:///srv/a b", Socket: "/srv/a b"},
		"ldapi://%2Fvar%2Frun%2Fldapi": {URL: "ldapi:///var/run/ldapi", Socket: "/var/run/ldapi"},
	} {
		if s, err := ParseDirectoryServer(u); err != nil || s != want {
			t.Error(s, err)
		}
	}
}
