//go:build unix

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// strictSink is a sink that takes mail from one user alone.
type strictSink struct{ *sink }

func (s strictSink) NewSession(*smtp.Conn) (smtp.Session, error) {
	return &strictSession{Session: &sinkSession{s.sink}}, nil
}

type strictSession struct {
	smtp.Session
	in bool
}

func (s *strictSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *strictSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != "app" || password != "hunter 2" {
			return errors.New("no such user")
		}
		s.in = true
		return nil
	}), nil
}

func (s *strictSession) Mail(from string, o *smtp.MailOptions) error {
	if !s.in {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "sign in first"}
	}
	return s.Session.Mail(from, o)
}

func startStrictSink(t *testing.T) (s *sink, host, port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = &sink{}
	srv := smtp.NewServer(strictSink{s})
	srv.AllowInsecureAuth = true
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	host, port, _ = net.SplitHostPort(l.Addr().String())
	return s, host, port
}

// TestImportedConfigurationDelivers: what msmtp was told is read, and the relay
// that is started with it signs in and delivers.
func TestImportedConfigurationDelivers(t *testing.T) {
	s, host, port := startStrictSink(t)
	listen := freeAddr(t)
	h := newHarness(t, "hostname = \"relay.example.com\"\n")
	old, made, secrets := filepath.Join(h.dir, "msmtprc"), filepath.Join(h.dir, "made.toml"), filepath.Join(h.dir, "secrets")
	if err := os.WriteFile(old, fmt.Appendf(nil, "account default\nhost %s\nport %s\nauth plain\nuser app\npassword \"hunter 2\"\ndomain relay.example.com\n", host, port), 0o600); err != nil {
		t.Fatal(err)
	}
	h.must("import", "msmtp", old, "--out", made, "--secrets", secrets)
	imported, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(imported), "hunter") {
		t.Errorf("it holds the password:\n%s", imported)
	}
	h.write("state_dir = \"DIR\"\n" + string(imported) + fmt.Sprintf("\n[spool]\ndir = \"DIR/spool\"\nmin_free = \"1MiB\"\n[control]\nsocket = \"DIR/control.sock\"\n[[listener]]\naddress = %q\n", listen))
	h.must("check")
	h.start()
	send(t, listen, "a@example.com", "imported")
	eventually(t, "the mail arrived", func() bool { return strings.Contains(strings.Join(s.received(), "\n"), "Subject: imported") })
	h.stop()
}

// TestImport: what the command prints, and what it refuses.
func TestImport(t *testing.T) {
	dir := t.TempDir()
	rc, out := filepath.Join(dir, "msmtprc"), filepath.Join(dir, "postern.toml")
	if err := os.WriteFile(rc, []byte("account default\nhost mail.example.com\ntls on\nauth on\nuser app\npassword hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := perform(t, "", "import", "msmtp", rc)
	if got.code != exitOK || !strings.Contains(got.stdout, "[upstream.mail-example-com]") || !strings.Contains(got.stdout, `# username = "app"`) {
		t.Errorf("%+v", got)
	}
	if all := got.stdout + got.stderr; strings.Contains(all, "hunter2") {
		t.Errorf("the password is shown:\n%s", all)
	}
	if got := perform(t, "", "import", "msmtp", rc, "--out", out); got.code != exitOK || got.stdout != "" {
		t.Errorf("%+v", got)
	}
	if got := perform(t, "", "check", "--file-only", "--config", out); got.code != exitOK {
		t.Errorf("%+v", got)
	}
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{"msmtp", rc, "--out", out, "--secrets", filepath.Join(dir, "s")}, exitCantCreate, "--force"},
		{[]string{"msmtp", rc, "--out", out, "--force"}, exitOK, "1 upstream, 1 route"},
		{[]string{"msmtp", filepath.Join(dir, "none")}, exitData, "is not there"},
		{[]string{"sendmail", rc}, exitUsage, "there is no source"},
		{[]string{"msmtp"}, exitUsage, "needs a source and a path"},
		{[]string{"msmtp", rc, "--out", filepath.Join(dir, "none", "x")}, exitCantCreate, "no such file"},
	} {
		if got := perform(t, "", append([]string{"import"}, c.args...)...); got.code != c.code || !strings.Contains(got.stderr, c.say) {
			t.Errorf("%q: %+v", c.args, got)
		}
	}
	fresh := t.TempDir()
	if err := os.Mkdir(filepath.Join(fresh, "conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(fresh, "conf.d", "50-route-x.toml"), []byte("[[route]]\nfrom = [\"x@example.com\"]\nupstream = [\"gone\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := perform(t, "", "import", "msmtp", rc, "--out", filepath.Join(fresh, "postern.toml")); got.code != exitConfig || !strings.Contains(got.stderr, "what stands in "+filepath.Join(fresh, "conf.d")+" does not go with") || !strings.Contains(got.stderr, "50-route-x.toml:3") {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "s")); err == nil {
		t.Error("passwords were written although the file was refused")
	}
}
