package intake

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/config"
)

// TestRealClients lets programs that people use talk to the engine. Those
// that are missing are skipped, unless POSTERN_REQUIRE_INTEROP is set.
func TestRealClients(t *testing.T) {
	cert, key := testCert(t)
	l := testListener()
	withUsers(&l)
	l.TLS, l.CertFile, l.KeyFile = config.ListenerTLSStart, cert, key
	s, st, ev := serveOn(t, l)
	host, port, _ := net.SplitHostPort(s.Addrs()["test"].String())
	mail := filepath.Join(t.TempDir(), "mail.eml")
	body := "From: a@example.com\r\nTo: b@example.net\r\nSubject: real\r\n\r\nHello\r\n.\r\n..dots\r\n" + strings.Repeat("0123456789 äöü\r\n", 2000)
	if err := os.WriteFile(mail, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	python := fmt.Sprintf(`
import smtplib
m = open(%q, "rb").read()
name = "client.example.com" # or else it asks the DNS for its own
with smtplib.SMTP(%q, %s, local_hostname=name) as s:
    s.sendmail("a@example.com", ["b@example.net", "c@example.net"], m)
    s.sendmail("a@example.com", ["b@example.net"], m, mail_options=["BODY=8BITMIME"], rcpt_options=["NOTIFY=NEVER"])
with smtplib.SMTP(%q, %s, local_hostname=name) as s:
    import ssl
    c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
    s.starttls(context=c)
    s.login("app1", "geheim")
    s.sendmail("a@example.com", ["b@example.net"], m)
`, mail, host, port, host, port)
	for _, c := range []struct {
		name string
		kept int
		args []string
	}{
		{"smtplib", 3, []string{"python3", "-c", python}},
		{"curl", 1, []string{"curl", "-sS", "smtp://" + host + ":" + port + "/client.example.com", "--mail-from", "a@example.com", "--mail-rcpt", "b@example.net", "-T", mail}},
		{"curl with TLS and sign-in", 1, []string{"curl", "-sS", "-k", "--ssl-reqd", "--user", "app3:geheim", "smtp://" + host + ":" + port, "--mail-from", "a@example.com", "--mail-rcpt", "b@example.net", "-T", mail}},
		{"swaks", 1, []string{"swaks", "--server", host, "--port", port, "--from", "a@example.com", "--to", "b@example.net", "--helo", "client.example.com", "--suppress-data"}},
		{"swaks with TLS and LOGIN", 1, []string{"swaks", "--server", host, "--port", port, "-tls", "--auth", "LOGIN", "--auth-user", "app2", "--auth-password", "geheim", "--from", "a@example.com", "--to", "b@example.net", "--pipeline", "--helo", "client.example.com", "--suppress-data"}},
		{"smtp-source", 200, []string{"smtp-source", "-c", "-d", "-s", "10", "-m", "200", "-l", "3000", "-f", "a@example.com", "-t", "b@example.net", host + ":" + port}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bin, err := exec.LookPath(c.args[0])
			if err != nil {
				if os.Getenv("POSTERN_REQUIRE_INTEROP") != "" && (c.args[0] == "swaks" || c.args[0] == "smtp-source") {
					t.Fatal(err)
				}
				t.Skipf("%s is not installed", c.args[0])
			}
			before := len(st.all())
			out, err := exec.Command(bin, c.args[1:]...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			kept := st.all()[before:]
			if len(kept) != c.kept {
				t.Errorf("%d messages, want %d\n%s", len(kept), c.kept, out)
			}
			checkKept(t, kept, false)
			if strings.Contains(c.name, "smtplib") || strings.Contains(c.name, "curl") {
				for _, m := range kept {
					if _, got, _ := strings.Cut(m.content, "\r\n\r\n"); got != body[strings.Index(body, "Hello"):] {
						t.Errorf("the body changed: %.200q", got)
					}
				}
			}
		})
	}
	if b := bytes.TrimSpace([]byte(strings.Join(ev.abused, ", "))); len(b) > 0 {
		t.Errorf("taken for abuse: %s", b)
	}
}
