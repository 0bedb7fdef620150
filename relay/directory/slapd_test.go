package directory

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/config"
)

// slapd starts a real OpenLDAP with 2,000 people and groups of all kinds, and
// gives the settings for it: ldap:// with StartTLS.
func slapd(t *testing.T, more string) config.Directory {
	t.Helper()
	program, err := exec.LookPath("slapd")
	if err != nil {
		program = "/usr/sbin/slapd"
	}
	add, err2 := exec.LookPath("slapadd")
	if err2 != nil {
		add = "/usr/sbin/slapadd"
	}
	_, missing := os.Stat(program)
	if _, err := os.Stat("/usr/lib/ldap/back_mdb.so"); missing != nil || err != nil {
		if os.Getenv("POSTERN_REQUIRE_INTEROP") != "" {
			t.Fatal("slapd is not installed")
		}
		t.Skip("slapd is not installed here")
	}
	_, ca, key, dir := certificate(t, "127.0.0.1", "localhost")
	conf, ldif := filepath.Join(dir, "slapd.conf"), filepath.Join(dir, "all.ldif")
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, conf, `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile `+dir+`pid
TLSCertificateFile `+ca+`
TLSCertificateKeyFile `+key+`
TLSCACertificateFile `+ca+`
`+more+`
database mdb
suffix "dc=example,dc=com"
rootdn "cn=admin,dc=example,dc=com"
rootpw s3cret
maxsize 67108864
dbnosync
directory `+dir+`db
index objectClass eq
index mail,cn,sn,uid eq,sub
`)
	write(t, ldif, people(2000))
	if out, err := exec.Command(add, "-q", "-f", conf, "-l", ldif).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	var log bytes.Buffer
	socket := "ldapi://" + url.PathEscape(filepath.Join(dir, "ldapi"))
	cmd := exec.Command(program, "-f", conf, "-h", "ldap://"+address+" "+socket, "-d", "0")
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err, log.String())
		}
	}
	return config.Directory{Schema: config.SchemaAuto, Timeout: 30 * time.Second, Servers: servers(t, "ldap://"+address), CAFile: ca,
		Account: config.Account{Auth: config.MechanismSimple, Username: "cn=admin,dc=example,dc=com", Password: secret(t, "s3cret")},
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// people is LDIF of n people, and of groups of them.
func people(n int) string {
	var b strings.Builder
	b.WriteString("dn: dc=example,dc=com\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n")
	person := func(uid, name, surname string) {
		fmt.Fprintf(&b, "dn: uid=%s,dc=example,dc=com\nobjectClass: inetOrgPerson\nuid: %s\ncn: %s\nsn: %s\nmail: %s@example.com\no: Example\n\n", uid, uid, name, surname, uid)
	}
	person("alice", "Alice Liddell", "Liddell")
	person("ali", "Ali Baba", "Baba")
	person("paren", "Star (*) Paren", "Paren")
	for i := range n {
		person(fmt.Sprint("user", i), fmt.Sprint("User Number", i), fmt.Sprint("Number", i))
	}
	group := func(name string, members ...string) {
		fmt.Fprintf(&b, "dn: cn=%s,dc=example,dc=com\nobjectClass: groupOfNames\ncn: %s\n", name, name)
		for _, m := range members {
			fmt.Fprintf(&b, "member: %s,dc=example,dc=com\n", m)
		}
		b.WriteString("\n")
	}
	var many []string
	for i := range min(n, 1600) {
		many = append(many, fmt.Sprint("uid=user", i))
	}
	group("Big", many...)
	group("Sales", "uid=alice", "cn=Field")
	group("Field", "uid=ali", "cn=Sales", "uid=nobody")
	b.WriteString("dn: cn=unix,dc=example,dc=com\nobjectClass: posixGroup\ncn: unix\ngidNumber: 1\nmemberUid: alice\nmemberUid: ghost\n\n")
	b.WriteString("dn: cn=unique,dc=example,dc=com\nobjectClass: groupOfUniqueNames\ncn: unique\nuniqueMember: uid=ali,dc=example,dc=com\n")
	return b.String()
}

func TestOpenLDAP(t *testing.T) {
	set := slapd(t, "sizelimit unlimited")
	d := open(t, set)
	for _, c := range []struct {
		ask  func() (*Answer, error)
		want string
	}{
		{func() (*Answer, error) { return d.Find(t.Context(), "ali", 10) }, "Alice Liddell <alice@example.com>, Ali Baba <ali@example.com>"},
		{func() (*Answer, error) { return d.Find(t.Context(), "lid alice", 10) }, "Alice Liddell <alice@example.com>"},
		{func() (*Answer, error) { return d.Find(t.Context(), "(*", 10) }, "Star (*) Paren <paren@example.com>"},
		{func() (*Answer, error) { return d.Find(t.Context(), "*)(mail=*", 10) }, ""},
		{func() (*Answer, error) { return d.Exact(t.Context(), "ALI@example.com", 10) }, "Ali Baba <ali@example.com>"},
		{func() (*Answer, error) { return d.Exact(t.Context(), "alice liddell", 10) }, "Alice Liddell <alice@example.com>"},
		{func() (*Answer, error) { return d.Exact(t.Context(), "liddell", 10) }, ""},
		{func() (*Answer, error) { return d.Prefix(t.Context(), "bab", 10) }, "Ali Baba <ali@example.com>"},
		{func() (*Answer, error) { return d.Groups(t.Context(), "sales", 10) }, "Sales <>"},
		{func() (*Answer, error) { return d.Groups(t.Context(), "", 10) }, "Big <>, Sales <>, Field <>, unix <>, unique <>"},
	} {
		a, err := c.ask()
		if err != nil || names(a) != c.want {
			t.Errorf("%v %v; want %s", names(a), err, c.want)
		}
	}
	if a, err := d.Find(t.Context(), "user number", 25); err != nil || len(a.Entries) != 25 || !a.More {
		t.Error(len(a.Entries), a.More, err)
	}
	for name, want := range map[string]string{"Sales": "Sales/alice@example.com Sales/Field/ali@example.com", "unix": "unix/alice@example.com", "unique": "unique/ali@example.com"} {
		a, err := d.Groups(t.Context(), name, 2)
		if err != nil || len(a.Entries) != 1 {
			t.Fatal(a, err)
		}
		if x, err := d.Expand(t.Context(), a.Entries[0], 100); err != nil || expansion(x) != want {
			t.Error(x, err)
		}
	}
	big, err := d.Exact(t.Context(), "Big", 2)
	if err != nil || len(big.Entries) != 1 {
		t.Fatal(big, err)
	}
	started := time.Now()
	if x, err := d.Expand(t.Context(), big.Entries[0], 2000); err != nil || len(x.Members) != 1600 {
		t.Error(err)
	}
	t.Log("1,600 members:", time.Since(started))

	tested, ok := d.Test(t.Context())
	if r := tested[0]; !ok || r.People != 2003 || r.Groups != 5 || r.TLS == "" || r.Schema != config.SchemaInetOrgPerson || r.Base != "dc=example,dc=com" || r.As != "dn:cn=admin,dc=example,dc=com" {
		t.Errorf("%+v", r)
	}
}

// What an administrator of OpenLDAP has forbidden.
func TestOpenLDAPLimits(t *testing.T) {
	set := slapd(t, "sizelimit 100\nsecurity tls=1\nlimits anonymous size.soft=100 size.hard=100 size.prtotal=disabled")
	set.Account = config.Account{Auth: config.MechanismAnonymous}
	a, err := open(t, set).Find(t.Context(), "user number", 200)
	if err != nil || a.Incomplete == "" || len(a.Entries) != 100 {
		t.Error(a, err)
	}
	plain := set
	plain.TLS = config.DirectoryTLSOff
	var away *Away
	if _, err := open(t, plain).Find(t.Context(), "ali", 10); !errors.As(err, &away) || !strings.Contains(err.Error(), "wants TLS") || away.Hint == "" {
		t.Error(err)
	}
	wrong := set
	wrong.Account = config.Account{Auth: config.MechanismSimple, Username: "cn=admin,dc=example,dc=com", Password: secret(t, "chalk")}
	if _, err := open(t, wrong).Find(t.Context(), "ali", 10); !errors.As(err, &away) || !strings.Contains(err.Error(), "password or the name is wrong") {
		t.Error(err)
	}
	base := set
	base.Base = "dc=other"
	if _, err := open(t, base).Find(t.Context(), "ali", 10); !errors.As(err, &away) || !strings.Contains(err.Error(), "no such base") {
		t.Error(err)
	}
}

// TestSocketOfDirectory asks OpenLDAP at its socket, where it sees who we are.
func TestSocketOfDirectory(t *testing.T) {
	set := slapd(t, "")
	set.Servers = servers(t, "ldapi://"+url.PathEscape(filepath.Join(filepath.Dir(set.CAFile), "ldapi")))
	for _, c := range []struct {
		account config.Account
		as      string
	}{
		{config.Account{Auth: config.MechanismExternal}, "dn:gidNumber=" + fmt.Sprint(os.Getgid()) + "+uidNumber=" + fmt.Sprint(os.Getuid()) + ",cn=peercred,cn=external,cn=auth"},
		{config.Account{Auth: config.MechanismAnonymous}, ""},
		{set.Account, "dn:cn=admin,dc=example,dc=com"},
	} {
		set.Account = c.account
		d := open(t, set)
		a, err := d.Exact(t.Context(), "alice liddell", 10)
		if err != nil || len(a.Entries) != 1 || a.Entries[0].Addresses[0] != "alice@example.com" {
			t.Errorf("%s: %v %v", c.account.Auth, a, err)
		}
		all, ok := d.Test(t.Context())
		if !ok || all[0].As != c.as || all[0].TLS != "" {
			t.Errorf("%s: %+v", c.account.Auth, all)
		}
	}
}
