package directory

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"postern/config"
)

// activeDirectory are the settings for the lab's domain controller;
// relay/signin/lab/run starts it.
func activeDirectory(t *testing.T, account config.Account) config.Directory {
	t.Helper()
	if os.Getenv("POSTERN_LAB") == "" {
		t.Skip("no lab here; relay/signin/lab/run starts one, as root on Debian 12")
	}
	return config.Directory{Schema: config.SchemaAuto, Timeout: 30 * time.Second, Servers: servers(t, "ldaps://dc1.ad.postern.test"), CAFile: "/etc/postern/ca.pem", Account: account}
}

// Every way to sign in to Active Directory, by TLS and StartTLS.
func TestLabSignIn(t *testing.T) {
	kerberos := config.Kerberos{Realm: "AD.POSTERN.TEST"}
	keytab := kerberos
	keytab.Keytab = "/etc/postern/ad-alice.keytab"
	password := secret(t, "alicepw-1")
	for name, c := range map[string]struct {
		account config.Account
		url     string
		plain   bool
		want    string // of the error; empty: it signs in
	}{
		"simple":               {config.Account{Auth: config.MechanismSimple, Username: "alice@ad.postern.test", Password: password}, "", false, ""},
		"simple, StartTLS":     {config.Account{Auth: config.MechanismSimple, Username: `POSTERN\alice`, Password: password}, "ldap://dc1.ad.postern.test", false, ""},
		"simple without TLS":   {config.Account{Auth: config.MechanismSimple, Username: "alice@ad.postern.test", Password: password}, "ldap://dc1.ad.postern.test", true, "wants TLS"},
		"wrong password":       {config.Account{Auth: config.MechanismSimple, Username: "bob@ad.postern.test", Password: password}, "", false, "password or the name is wrong"},
		"GSSAPI by password":   {config.Account{Auth: "gssapi", Username: "alice", Password: password, Kerberos: kerberos}, "", false, ""},
		"GSSAPI by a keytab":   {config.Account{Auth: "gssapi", Username: "alice", Kerberos: keytab}, "", false, ""},
		"GSSAPI and StartTLS":  {config.Account{Auth: "gssapi", Username: "alice", Kerberos: keytab}, "ldap://dc1.ad.postern.test", false, ""},
		"GSSAPI, wrong":        {config.Account{Auth: "gssapi", Username: "alice", Password: secret(t, "chalk"), Kerberos: kerberos}, "", false, "password or the keytab is wrong"},
		"integrated, a keytab": {config.Account{Auth: "integrated", Kerberos: config.Kerberos{Keytab: keytab.Keytab}}, "", false, ""},
		"anonymous":            {config.Account{Auth: config.MechanismAnonymous}, "", false, "set auth"},
		"address of the host":  {config.Account{Auth: config.MechanismAnonymous}, "ldaps://10.77.0.10", false, "another name"},
	} {
		t.Run(name, func(t *testing.T) {
			set := activeDirectory(t, c.account)
			if c.plain {
				set.TLS = config.DirectoryTLSOff
			}
			if c.url != "" {
				set.Servers = servers(t, c.url)
			}
			a, err := open(t, set).Exact(t.Context(), "u7@postern.test", 5)
			if c.want == "" {
				if err != nil || names(a) != "User Number7 <user7@postern.test>" {
					t.Error(a, err)
				}
				return
			}
			var away *Away
			if !errors.As(err, &away) || !strings.Contains(err.Error()+away.Hint, c.want) {
				t.Error(err)
			}
		})
	}
}

func TestLabAddressLists(t *testing.T) {
	set := activeDirectory(t, config.Account{Auth: config.MechanismSimple, Username: "alice@ad.postern.test", Password: secret(t, "alicepw-1")})
	d := open(t, set)
	if tested, ok := d.Test(t.Context()); !ok || tested[0].People != 2000 || tested[0].Groups != 2 || tested[0].Schema != config.SchemaActiveDirectory || tested[0].Base != "DC=ad,DC=postern,DC=test" {
		t.Errorf("%+v", tested)
	}
	find := func(text string) string {
		a, err := d.Find(t.Context(), text, 50)
		if err != nil || a.Incomplete != "" || a.More || len(a.Elsewhere) > 0 {
			t.Error(text, a, err)
			return ""
		}
		return names(a)
	}
	for text, want := range map[string]string{
		"Otto": "Otto Outside <otto@outside.test>", "user number1234": "User Number1234 <user1234@postern.test>", "u7@postern.test": "User Number7 <user7@postern.test>",
		"number1999": "", "*)(mail=*": "", "everyb": "Everybody <everybody@postern.test>",
	} {
		if got := find(text); got != want {
			t.Errorf("%s: %s; want %s", text, got, want)
		}
	}
	if a, err := d.Prefix(t.Context(), "number1", 2000); err != nil || len(a.Entries) != 1110 || a.More {
		t.Error(len(a.Entries), err) // 1, 1x, 1xx, 1xxx without 1999: more than one page
	}
	group := func(name string) *Entry {
		a, err := d.Groups(t.Context(), name, 2)
		if err != nil || len(a.Entries) != 1 {
			t.Fatal(name, a, err)
		}
		return a.Entries[0]
	}
	x, err := d.Expand(t.Context(), group("sales"), 100)
	if err != nil || len(x.Members) != 3 || strings.Join(x.Loops, ";") != "Sales > Field > Sales" {
		t.Error(x, err)
	}
	started := time.Now()
	x, err = d.Expand(t.Context(), group("everybody@postern.test"), 5000)
	if err != nil || len(x.Members) != 1600 {
		t.Error(err)
	}
	t.Log("1,600 members:", time.Since(started))
}
