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
// docs/books.md, and returns the address of its LDAP and what ends it.
func davmail(t *testing.T, e *exchange) (addr string, end func()) {
	t.Helper()
	path, dir := needed(t, "davmail-server"), t.TempDir()
	addr = freeAddr(t)
	host, port, _ := net.SplitHostPort(addr)
	settings := filepath.Join(dir, "davmail.properties")
	text := fmt.Sprintf("davmail.mode=EWS\ndavmail.url=%s/EWS/Exchange.asmx\ndavmail.ldapPort=%s\ndavmail.allowRemote=false\ndavmail.bindAddress=%s\ndavmail.logFilePath=%s\ndavmail.disableUpdateCheck=true\n",
		e.URL, port, host, filepath.Join(dir, "davmail.log"))
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
	eventually(t, "DavMail listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return addr, end
}

// Who is in the address list of an Exchange is found and written to by way of
// DavMail, and is never unknown where one of the two is away.
func TestExchangeByDavMail(t *testing.T) {
	list := []onList{{"Alice Liddell", "alice@corp.example", ""}, {"Bob Müller", "bob@corp.example", ""}, {"Bob Smith", "smith@corp.example", ""}, {"All Hands", "all@corp.example", "PublicDL"}}
	for i := range 120 {
		list = append(list, onList{fmt.Sprintf("Number%d Many", i), fmt.Sprintf("number%d@corp.example", i), ""})
	}
	e := newExchange(t, list...)
	addr, end := davmail(t, e)
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
