//go:build unix

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// davmail starts DavMail in front of an Exchange with the settings of
// docs/books.md, and returns the addresses of its LDAP and its CardDAV, and what
// ends it.
func davmail(t *testing.T, e *exchange) (ldap, carddav string, end func()) {
	t.Helper()
	path, dir := needed(t, "davmail-server"), t.TempDir()
	ldap, carddav = freeAddr(t), freeAddr(t)
	host, port, _ := net.SplitHostPort(ldap)
	_, second, _ := net.SplitHostPort(carddav)
	settings := filepath.Join(dir, "davmail.properties")
	text := fmt.Sprintf("davmail.mode=EWS\ndavmail.url=%s/EWS/Exchange.asmx\ndavmail.ldapPort=%s\ndavmail.caldavPort=%s\ndavmail.allowRemote=false\ndavmail.bindAddress=%s\ndavmail.logFilePath=%s\ndavmail.disableUpdateCheck=true\n",
		e.URL, port, second, host, filepath.Join(dir, "davmail.log"))
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, settings)
	cmd.Env, cmd.Dir = append(os.Environ(), "HOME="+dir), dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(func() {
		end()
		if log, err := os.ReadFile(filepath.Join(dir, "davmail.log")); t.Failed() && err == nil {
			t.Logf("the end of DavMail's log:\n%s", log[max(0, len(log)-4000):])
		}
	})
	for _, addr := range []string{ldap, carddav} {
		eventually(t, "DavMail listens", func() bool {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
	return ldap, carddav, end
}

// Who is in the address list of an Exchange is found and written to by way of
// DavMail, and is never unknown where one of the two is away.
func TestExchangeByDavMail(t *testing.T) {
	list := []onList{{"Alice Liddell", "alice@corp.example", ""}, {"Bob Müller", "bob@corp.example", ""}, {"Bob Smith", "smith@corp.example", ""}, {"All Hands", "all@corp.example", "PublicDL"}}
	for i := range 120 {
		list = append(list, onList{fmt.Sprintf("Number%d Many", i), fmt.Sprintf("number%d@corp.example", i), ""})
	}
	e := newExchange(t, list...)
	addr, _, end := davmail(t, e)
	with := func(password, timeout string) *harness {
		h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1)+"[book.outlook]\nprovider = \"ldap\"\nurl = \"ldap://"+addr+"\"\ntls = \"off\"\nbase = \"ou=people\"\n"+
			"filter = \"(|(cn=%s*)(sn=%s*)(givenName=%s*)(mail=%s*))\"\nusername = \"alice@corp.example\"\npassword_file = \"DIR/password\"\ntimeout = \""+timeout+"\"\ncache = \"0s\"\n")
		if err := os.WriteFile(filepath.Join(h.dir, "password"), []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
		return h
	}
	h := with("s3cret", "30s")
	h.start()
	if out := h.must("book", "test", "outlook"); !strings.Contains(out, "inetorgperson") || !strings.Contains(out, "ou=people") {
		t.Error(out)
	}
	sends := func(to string) []string {
		return []string{"send", "--from", "me@example.com", "--to", to, "--subject", "s", "--body", "b"}
	}
	for _, c := range []struct {
		args []string
		code int
		want string // of what is said
	}{
		{[]string{"book", "find", "alice"}, exitOK, "Alice Liddell  alice@corp.example  outlook\n"},
		{[]string{"book", "find", "MÜLLER"}, exitOK, "Bob Müller  bob@corp.example  outlook\n"},
		{[]string{"book", "find", "many"}, exitOK, "there may be others: the directory's size limit was reached"},
		{[]string{"book", "find", "nobody"}, exitNoUser, "nobody was found"},
		{[]string{"book", "show", "smith@corp.example"}, exitOK, "Bob Smith"},
		{append(sends("Alice Liddell"), "--cc", "all hands", "--bcc", "müll"), exitOK, ""},
		{sends("bob"), exitNoUser, `"bob" may be `},
		{sends("Zoe"), exitNoUser, "nobody of that name in local, outlook"},
		{sends("group:All Hands"), exitNoUser, "no such group in local, outlook"},
	} {
		r := h.do(c.args...)
		if r.code != c.code || !strings.Contains(r.stdout+r.stderr, c.want) || c.want == "Alice Liddell  alice@corp.example  outlook\n" && strings.Contains(r.stdout, "All Hands") {
			t.Errorf("%q: exit %d, want %d with %q\n%s%s", c.args, r.code, c.code, c.want, r.stdout, r.stderr)
		}
	}
	mail := h.captured(1)[0]
	for _, who := range []string{"alice@corp.example", "all@corp.example", "bob@corp.example"} {
		if !strings.Contains(mail, "Delivered-To: "+who) {
			t.Errorf("not to %s:\n%s", who, mail)
		}
	}
	away := func(what string, h *harness, want string, args ...string) {
		t.Helper()
		if r := h.do(args...); r.code != exitTempFail || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: exit %d\n%s", what, r.code, r.stderr)
		}
	}
	away("a wrong password", with("chalk", "30s"), "the password or the name is wrong", "book", "find", "smith")
	e.stall.Store(true)
	hasty := with("s3cret", "1s")
	away("an Exchange that does not answer", hasty, "no answer in time", sends("smith")...)
	e.stall.Store(false)
	e.CloseClientConnections()
	e.Listener.Close()
	away("no Exchange", hasty, "can't be asked now", sends("smith")...)
	end()
	away("no DavMail", h, "cannot be asked now", sends("smith")...)
}

// The contacts of a mailbox at an Exchange, with its distribution lists, are a book
// by way of DavMail's CardDAV. What was heard of them counts while both are away, and
// without it nobody is called unknown.
func TestContactsByDavMail(t *testing.T) {
	e := newExchange(t)
	alice := contact{id: "c1", name: "Alice Liddell", address: "alice@example.com"}
	all := []contact{alice, {id: "c2", name: "Bob Müller", address: "bob@example.net"}, {id: "l1", name: "Tea Party", members: []string{"alice@example.com", "hatter@example.org"}}}
	e.contacts.Store(&all)
	_, addr, end := davmail(t, e)
	with := func(password, timeout string) *harness {
		h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1)+"[book.contacts]\nprovider = \"carddav\"\nurl = \"http://"+addr+"/users/alice@corp.example/contacts/\"\n"+
			"username = \"alice@corp.example\"\npassword_file = \"DIR/password\"\ntimeout = \""+timeout+"\"\n")
		if err := os.WriteFile(filepath.Join(h.dir, "password"), []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
		return h
	}
	h := with("s3cret", "30s")
	h.start()
	if out := h.must("book", "test", "contacts"); !strings.Contains(out, "contacts  carddav   3        1       0") || !strings.Contains(out, "3 cards in contacts") {
		t.Error(out)
	}
	h.must("send", "--from", "me@example.com", "--to", "Alice Liddell", "--cc", "müll", "--bcc", "group:Tea Party", "--subject", "s", "--body", "b")
	mail := h.captured(1)[0]
	for _, who := range []string{"alice@example.com", "bob@example.net", "hatter@example.org"} {
		if !strings.Contains(mail, "Delivered-To: "+who) {
			t.Errorf("not to %s:\n%s", who, mail)
		}
	}
	alice.address, alice.version = "alice@example.org", 1
	changed := []contact{alice, all[2]}
	e.contacts.Store(&changed)
	h.stop()
	again := with("s3cret", "30s")
	if r := again.do("book", "find", "liddell"); !strings.Contains(r.stdout, "alice@example.org") || again.do("book", "find", "bob").code != exitNoUser {
		t.Errorf("what has changed there: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	sends := func(to string) []string {
		return []string{"send", "--from", "me@example.com", "--to", to, "--subject", "s", "--body", "b"}
	}
	away := func(what string, h *harness) {
		t.Helper()
		if r := h.do(sends("Zoe")...); r.code != exitTempFail || !strings.Contains(r.stderr, "asked now") {
			t.Errorf("%s: exit %d\n%s", what, r.code, r.stderr)
		}
	}
	away("a wrong password", with("chalk", "30s"))
	e.CloseClientConnections()
	e.Listener.Close()
	away("no Exchange", with("s3cret", "30s"))
	end()
	away("no DavMail", with("s3cret", "30s"))
	if r := again.do("book", "find", "liddell"); r.code != exitOK || !strings.Contains(r.stdout+r.stderr, "alice@example.org") {
		t.Errorf("what was heard: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}
