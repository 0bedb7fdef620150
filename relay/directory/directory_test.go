package directory

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/config"
	"postern/relay/directory/directorytest"
)

func names(a *Answer) string {
	var out []string
	for _, e := range a.Entries {
		out = append(out, e.Name+" <"+e.Address()+">")
	}
	return strings.Join(out, ", ")
}

func secret(t *testing.T, text string) config.Secret {
	t.Helper()
	return config.NewSecret(text)
}

// A directory that gives too little, or stops half-way, leaves nobody unknown.
func TestIncomplete(t *testing.T) {
	for _, c := range []struct {
		name   string
		search func(c *asker)
		want   string // of the answer, or behind "!" of the error
		tells  string
	}{
		{"size limit", func(c *asker) { c.Person("Ali", "ali@x.test"); c.Done(ldap.LDAPResultSizeLimitExceeded) }, "Ali <ali@x.test>", "size limit"},
		{"time limit", func(c *asker) { c.Done(ldap.LDAPResultTimeLimitExceeded) }, "", "time limit"},
		{"limit of the administrator, also without pages", func(c *asker) { c.Done(ldap.LDAPResultAdminLimitExceeded) }, "", "administrator"},
		{"no such base", func(c *asker) { c.Done(ldap.LDAPResultNoSuchObject) }, "!no such base", ""},
		{"may not read", func(c *asker) { c.Done(ldap.LDAPResultInsufficientAccessRights) }, "!may not read", ""},
		{"busy", func(c *asker) { c.Done(ldap.LDAPResultBusy) }, "!Busy (51)", ""},
		{"ends before the end", func(c *asker) { c.Person("Ali", "ali@x.test"); _ = c.Close() }, "!ended the connection", ""},
		{"silent", func(*asker) {}, "!no answer in time", ""},
		{"no LDAP", func(c *asker) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, "!not LDAP", ""},
		{"a length without end", func(c *asker) { _, _ = c.Write([]byte{0x30, 0x80, 2, 1, 1}) }, "!no definite length", ""},
		{"a message of a gigabyte", func(c *asker) { _, _ = c.Write([]byte{0x30, 0x84, 0x40, 0, 0, 0}) }, "!more than the 8388608", ""},
		{"lengths that lie", func(c *asker) { _, _ = c.Write([]byte{0x30, 5, 2, 1, 1, 0x64, 99}) }, "!make no sense", ""},
		{"deeper and deeper", func(c *asker) { _, _ = c.Write(nested(100)) }, "!make no sense", ""},
		{"endless pages", func(c *asker) { c.Page("again") }, "!pages have no end", ""},
		{"half a message", func(c *asker) { _, _ = c.Write([]byte{0x30, 50, 2, 1}); _ = c.Close() }, "!ended the connection", ""},
		{"hostile text", func(c *asker) {
			c.Person("A\x1b[31m\r\nli", "ali@x.test\r\nBcc: x@x.test")
			c.Person("B\u202e", "b@x.test")
			c.Done(0)
		}, "B? <b@x.test>", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := directorytest.New(t)
			f.Search = func(a *asker, _, _ string) { c.search(a) }
			a, err := at(t, nil, f).Find(t.Context(), "ali", 10)
			if part, fails := strings.CutPrefix(c.want, "!"); fails {
				var away *Away
				if !errors.As(err, &away) || !strings.Contains(err.Error(), part) {
					t.Errorf("%v; want one that holds %q", err, part)
				}
				return
			}
			if err != nil || !strings.Contains(a.Incomplete, c.tells) || (a.Incomplete == "") != (c.tells == "") {
				t.Fatal(a, err)
			}
			if got := names(a); got != c.want {
				t.Errorf("%q; want %q", got, c.want)
			}
		})
	}
}

// nested is a message of n elements in each other.
func nested(n int) []byte {
	var b []byte
	for range n {
		b = append([]byte{0x30, byte(len(b))}, b...)
		if len(b) > 120 {
			break
		}
	}
	return append([]byte{0x30, byte(len(b) + 3), 2, 1, 1}, b...)
}

// Entries without end are bounded in bytes.
func TestEndless(t *testing.T) {
	f := directorytest.New(t)
	f.Search = func(c *asker, _, _ string) {
		for range 1000 {
			c.Person(strings.Repeat("x", 1<<10), "ali@x.test")
		}
	}
	d := at(t, func(s *config.Directory) { s.Timeout = 10 * time.Second }, f)
	d.most = 1 << 16
	_, err := d.Find(t.Context(), "none", 10)
	if err == nil || !strings.Contains(err.Error(), "more than is read") {
		t.Error(err)
	}
}

// A server that can't be used costs its time once; then the others go first.
func TestFailover(t *testing.T) {
	good := directorytest.New(t)
	good.Search = func(c *asker, _, _ string) { c.Person("Ali", "ali@x.test"); c.Done(0) }
	silent := directorytest.New(t)
	silent.Silent = true
	refusing := directorytest.New(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing.URL = "ldap://" + l.Addr().String()
	_ = l.Close()
	broken := directorytest.New(t)
	broken.Search = func(c *asker, _, _ string) { _ = c.Close() }
	busy := directorytest.New(t)
	busy.Search = func(c *asker, _, _ string) { c.Done(ldap.LDAPResultUnavailable) }

	d := at(t, nil, refusing, broken, busy, good)
	for i := range 3 {
		if a, err := d.Find(t.Context(), fmt.Sprint(i), 10); err != nil || names(a) != "Ali <ali@x.test>" {
			t.Fatal(a, err)
		}
	}
	if broken.Asked.Load() != 1 || busy.Asked.Load() != 1 || good.Asked.Load() != 1 {
		t.Error("asked:", broken.Asked.Load(), busy.Asked.Load(), good.Asked.Load())
	}
	d.Close()
	if _, err := d.Find(t.Context(), "again", 10); err != nil || broken.Asked.Load() != 1 {
		t.Error(err, broken.Asked.Load())
	}

	d = at(t, nil, silent, good)
	started := time.Now()
	if _, err := d.Find(t.Context(), "ali", 10); err != nil || time.Since(started) > 8*time.Second {
		t.Error(err, time.Since(started))
	}
	started = time.Now()
	d.Close()
	if _, err := d.Find(t.Context(), "other", 10); err != nil || time.Since(started) > 2*time.Second {
		t.Error(err, time.Since(started))
	}

	var away *Away
	d = at(t, nil, refusing, broken)
	if _, err := d.Find(t.Context(), "ali", 10); !errors.As(err, &away) || !strings.Contains(err.Error(), "refused") || !strings.Contains(err.Error(), broken.URL) {
		t.Error(err)
	}
	before := broken.Asked.Load()
	if _, err := d.Find(t.Context(), "ali", 10); !errors.As(err, &away) || broken.Asked.Load() != before {
		t.Error("asked again at once", err)
	}
}

// A sign-in may take as long as any answer where no other server could be asked.
func TestSlowSignIn(t *testing.T) {
	t.Parallel()
	slow := directorytest.New(t)
	slow.Bind = func(c *asker, _, _ string) {
		time.Sleep(connectTimeout + 200*time.Millisecond)
		c.Result(ldap.ApplicationBindResponse, ldap.LDAPResultSuccess, "")
	}
	slow.Search = func(c *asker, _, _ string) { c.Person("Ali", "ali@x.test"); c.Done(0) }
	d := at(t, func(s *config.Directory) {
		s.Account = config.Account{Auth: config.MechanismSimple, Username: "cn=me", Password: secret(t, "chalk")}
		s.Timeout = time.Minute
	}, slow)
	if a, err := d.Find(t.Context(), "ali", 10); err != nil || names(a) != "Ali <ali@x.test>" {
		t.Error(a, err)
	}
}

// A wrong password is tried at one server, once for a while: more would lock
// the account.
func TestWrongPassword(t *testing.T) {
	tries := 0
	one, two := directorytest.New(t), directorytest.New(t)
	one.Bind = func(c *asker, _, _ string) {
		tries++
		c.Result(ldap.ApplicationBindResponse, ldap.LDAPResultInvalidCredentials, "80090308: LdapErr: DSID-0C09, comment: AcceptSecurityContext error, data 775, v4563\x00")
	}
	d := at(t, func(s *config.Directory) {
		s.Account = config.Account{Auth: config.MechanismSimple, Username: "cn=me", Password: secret(t, "chalk")}
	}, one, two)
	for range 3 {
		var away *Away
		if _, err := d.Find(t.Context(), "ali", 10); !errors.As(err, &away) || !strings.Contains(err.Error(), "account is locked") || away.Hint == "" {
			t.Error(err)
		}
	}
	if tries != 1 || two.Asked.Load() != 0 {
		t.Error(tries, two.Asked.Load())
	}
}

// No password goes out where TLS does not stand, and an empty one never does.
func TestPasswordInClear(t *testing.T) {
	pair, ca, _, _ := certificate(t, "127.0.0.1")
	_, other, _, _ := certificate(t, "127.0.0.1")
	for _, c := range []struct {
		name, password, ca string
		certificate        bool
		want               string // "": it signs in
	}{
		{"no StartTLS", "s3cret", ca, false, "no TLS here"},
		{"foreign certificate", "s3cret", other, true, "authority"},
		{"empty", "", ca, true, "password: is empty"},
		{"right", "s3cret", ca, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := directorytest.New(t)
			f.Search = func(c *asker, _, _ string) { c.Done(0) }
			got := ""
			f.Bind = func(c *asker, name, password string) {
				got = name + ":" + password
				c.Result(ldap.ApplicationBindResponse, 0, "")
			}
			if c.certificate {
				f.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
			}
			d := at(t, func(s *config.Directory) {
				s.TLS, s.CAFile = config.DirectoryTLSVerify, c.ca
				s.Account = config.Account{Auth: config.MechanismSimple, Username: "cn=me", Password: secret(t, c.password)}
			}, f)
			_, err := d.Find(t.Context(), "ali", 10)
			switch {
			case c.want == "" && (err != nil || got != "cn=me:s3cret"):
				t.Error(err, got)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || got != ""):
				t.Error(err, got)
			}
		})
	}
}

// An answer stands in for a directory that is away, and says how old it is.
func TestCache(t *testing.T) {
	f := directorytest.New(t)
	var away atomic.Bool
	f.Search = func(c *asker, _, _ string) {
		if away.Load() {
			_ = c.Close()
			return
		}
		c.Person("Ali", "ali@x.test")
		c.Done(0)
	}
	d := at(t, func(s *config.Directory) { s.Cache = time.Hour }, f)
	for range 3 {
		if a, err := d.Find(t.Context(), "ali", 10); err != nil || a.Age != 0 {
			t.Fatal(a, err)
		}
	}
	if n := f.Searches.Load(); n != 1 {
		t.Error("asked", n, "times in a minute")
	}
	back := func(by time.Duration) {
		for _, h := range d.answers.byKey {
			h.when = h.when.Add(-by)
		}
	}
	back(2 * time.Minute)
	if a, err := d.Find(t.Context(), "ali", 10); err != nil || a.Age != 0 || f.Searches.Load() != 2 {
		t.Error(a, err)
	}
	away.Store(true)
	back(2 * time.Minute)
	if a, err := d.Find(t.Context(), "ali", 10); err != nil || a.Age < 2*time.Minute || names(a) != "Ali <ali@x.test>" {
		t.Error(a, err)
	}
	back(time.Hour)
	if _, err := d.Find(t.Context(), "ali", 10); !errors.As(err, new(*Away)) {
		t.Error(err)
	}
	for i := range maxAnswers + 10 {
		d.answers.keep(fmt.Sprint(i), nil, 1)
	}
	if len(d.answers.byKey) > maxAnswers || d.answers.kept > maxAnswers {
		t.Error(len(d.answers.byKey), d.answers.kept)
	}
}

// A referral is followed to servers that the settings name, and told otherwise.
func TestReferrals(t *testing.T) {
	other, f := directorytest.New(t), directorytest.New(t)
	other.Search = func(c *asker, base, _ string) { c.Person("Baba of "+base, "baba@x.test"); c.Done(0) }
	f.Search = func(c *asker, _, _ string) {
		c.Person("Ali", "ali@x.test")
		c.Reference(other.URL + "/dc=child,dc=x")
		c.Reference("ldap://evil.test/dc=x")
		c.Reference("ldap://DomainDnsZones.x.test/DC=DomainDnsZones,DC=x")
		c.Reference("no URL\x00")
		c.Done(0)
	}
	a, err := at(t, nil, f).Find(t.Context(), "x", 10)
	if err != nil || names(a) != "Ali <ali@x.test>" || len(a.Elsewhere) != 2 || a.Elsewhere[1] != "evil.test" {
		t.Error(a, err)
	}
	a, err = at(t, nil, f, other).Find(t.Context(), "x", 10)
	if err != nil || names(a) != "Ali <ali@x.test>, Baba of dc=child,dc=x <baba@x.test>" || len(a.Elsewhere) != 1 {
		t.Error(names(a), a, err)
	}
}
