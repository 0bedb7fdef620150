//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/queue"
)

// needsLab skips where relay/signin/lab/run has not started its servers.
func needsLab(t *testing.T) {
	t.Helper()
	if os.Getenv("POSTERN_LAB") == "" {
		t.Skip("no lab here; relay/signin/lab/run starts one, as root on Debian 12")
	}
}

// inLab is a configuration whose upstream is in the lab. A parked upstream is
// tried again in an hour only.
func inLab(listen, upstream string) string {
	return fmt.Sprintf(`hostname = "relay.postern.test"
state_dir = "DIR"
[spool]
dir = "DIR/spool"
min_free = "1MiB"
[control]
socket = "DIR/control.sock"
[log]
level = "debug"
[[listener]]
name = "mail"
address = %q
[[route]]
from = ["*"]
upstream = ["office"]
[retry]
backoff = ["1h"]
[upstream.office]
tls = "verify"
ca_file = "/etc/postern/ca.pem"
%s
`, listen, upstream)
}

const (
	atCyrus   = "host = \"mail.postern.test\"\nport = 10587\n"
	atDovecot = "host = \"mail.ad.postern.test\"\nport = 11587\n"
	atTickets = "host = \"mail.ad.postern.test\"\nport = 11588\n"
	atBehind  = "host = \"mail.ad.postern.test\"\nport = 12587\n"

	byService = `username = "alice@postern.test"
[upstream.office.oauth]
provider = "generic"
issuer = "http://localhost:9998"
flow = "client_credentials"
client_id = "sid1"
client_secret_file = "DIR/client.secret"
scopes = ["openid", "email"]
`
	byPassword = atCyrus + "auth = \"scram-sha-512\"\nusername = \"alice\"\npassword = \"alicepw\"\n"
)

// newLabHarness is a daemon's folder with what the upstreams of the lab need.
func newLabHarness(t *testing.T, listen, upstream string) *harness {
	t.Helper()
	h := newHarness(t, inLab(listen, upstream))
	for name, content := range map[string]string{"client.secret": "verysecret\n", "device.secret": "device-s3cret\n"} {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// serverLog is what a server of the lab has logged.
type serverLog struct {
	path string
	from int // its length when the test began
}

func watch(t *testing.T, name string) *serverLog {
	t.Helper()
	l := &serverLog{path: "/var/log/" + name + ".log"}
	l.from = len(l.read())
	return l
}

func (l *serverLog) read() string {
	b, _ := os.ReadFile(l.path)
	return string(b)
}

func (l *serverLog) has(text string) bool { return strings.Contains(l.read()[l.from:], text) }

// The whole way: a client's message goes through the daemon to a real server,
// which tells by whom it was signed in to.
func TestLabDelivers(t *testing.T) {
	needsLab(t)
	for _, c := range []struct{ name, upstream, log, says string }{
		{"scram", byPassword, "postfix", "sasl_method=SCRAM-SHA-512, sasl_username=alice"},
		{"auto", strings.Replace(byPassword, `auth = "scram-sha-512"`, "", 1), "postfix", "sasl_method=SCRAM-SHA-512, sasl_username=alice"},
		{"ntlm", atBehind + "auth = \"ntlm\"\ndomain = \"POSTERN\"\nusername = \"alice\"\npassword = \"alicepw-1\"\n",
			"postfix", "sasl_method=NTLM, sasl_username=alice"},
		{"keytab", atCyrus + "auth = \"gssapi\"\nrealm = \"POSTERN.TEST\"\nusername = \"alice\"\nkeytab = \"/etc/postern/alice.keytab\"\n",
			"postfix", "sasl_method=GSSAPI, sasl_username=alice"},
		{"keytab of AD", atDovecot + "auth = \"gssapi\"\nkeytab = \"/etc/postern/ad-alice.keytab\"\n", "dovecot", "method=GSSAPI"},
		{"certificate", atTickets + "auth = \"external\"\ncert_file = \"/etc/postern/alice.pem\"\nkey_file = \"/etc/postern/alice.key\"\n",
			"dovecot-kerberos", "user=<alice@postern.test>, method=EXTERNAL"},
		{"certificate, auto", atTickets + "auth = \"auto\"\ncert_file = \"/etc/postern/alice.pem\"\nkey_file = \"/etc/postern/alice.key\"\n",
			"dovecot-kerberos", "user=<alice@postern.test>, method=EXTERNAL"},
		{"client credentials, auto", atDovecot + byService, "dovecot", "user=<alice@postern.test>, method=OAUTHBEARER"},
		{"client credentials", atDovecot + "auth = \"xoauth2\"\n" + byService, "dovecot", "user=<alice@postern.test>, method=XOAUTH2"},
		{"client credentials, Postfix", atBehind + "auth = \"xoauth2\"\n" + byService, "postfix", "sasl_method=XOAUTH2, sasl_username=alice@postern.test"},
		{"client credentials, Postfix, RFC 7628", atBehind + "auth = \"oauthbearer\"\n" + byService, "postfix", "sasl_method=OAUTHBEARER, sasl_username=alice@postern.test"},
		{"client credentials, RFC 7628", atDovecot + "auth = \"oauthbearer\"\n" + byService, "dovecot", "user=<alice@postern.test>, method=OAUTHBEARER"},
	} {
		t.Run(c.name, func(t *testing.T) {
			listen, log := freeAddr(t), watch(t, c.log)
			h := newLabHarness(t, listen, c.upstream)
			h.start()
			send(t, listen, "alice@postern.test", c.name)
			eventually(t, "the mail goes out", func() bool { return len(h.queued()) == 0 })
			eventually(t, "the server says who signed in", func() bool { return log.has(c.says) })
			if !strings.Contains(h.log.String(), `"result":"delivered"`) {
				t.Error("the log does not tell of the delivery")
			}
			h.stop()
		})
	}
}

// Each way to fail: what becomes of the upstream, what is said, and that the
// mail is kept and goes out once the configuration is mended.
func TestLabFails(t *testing.T) {
	needsLab(t)
	expired := filepath.Join(t.TempDir(), "tickets")
	kinit := exec.Command("kinit", "-l", "1s", "-c", "FILE:"+expired, "-k", "-t", "/etc/postern/alice.keytab", "alice@POSTERN.TEST")
	if out, err := kinit.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	time.Sleep(1100 * time.Millisecond) // a real ticket of one second, by a real clock
	gssapi := func(user, password, more string) string {
		return fmt.Sprintf(atCyrus+"auth = \"gssapi\"\nusername = %q\npassword = %q\n%s", user, password, more)
	}
	ntlm := func(user, password string) string {
		return fmt.Sprintf(atBehind+"auth = \"ntlm\"\ndomain = \"POSTERN\"\nusername = %q\npassword = %q\n", user, password)
	}
	const mit = "realm = \"POSTERN.TEST\"\n"
	for _, c := range []struct {
		name, upstream string
		state          queue.State
		says           string
	}{
		{"wrong password", strings.Replace(byPassword, "alicepw", "chalk", 1), queue.Parked, "535"},
		{"wrong password of the domain", ntlm("alice", "chalk"), queue.Parked, "535"},
		{"unknown user", gssapi("mallory", "chalk", mit), queue.Parked, "no such user; check username and realm"},
		{"wrong realm", gssapi("alice", "alicepw", "realm = \"NOWHERE.TEST\"\n"), queue.Parked, "knows no realm NOWHERE.TEST"},
		{"unknown service", gssapi("alice", "alicepw", mit+"spn = \"smtp/other.postern.test\"\n"), queue.Parked, "no such service"},
		{"expired ticket", atCyrus + "auth = \"gssapi\"\nccache = \"" + expired + "\"\n", queue.Parked, "renew it by kinit"},
		{"locked account", gssapi("locked", "lockedpw", mit), queue.Parked, "locked, disabled or expired"},
		{"disabled account", ntlm("disabled", "disabledpw-1"), queue.Parked, "535"},
		{"clock skew", gssapi("alice", "alicepw", mit+"krb5_conf = \"/etc/postern/krb5-ahead.conf\"\n"), queue.Parked, "run NTP on both"},
		{"clock skew of the upstream", "host = \"mail.ad.postern.test\"\nport = 11589\nauth = \"gssapi\"\nkeytab = \"/etc/postern/ad-alice.keytab\"\n",
			queue.Parked, "its clock"},
		{"no KDC", gssapi("alice", "alicepw", mit+"krb5_conf = \"/etc/postern/krb5-down.conf\"\n"), queue.Waiting, "no KDC of the realm answers"},
		{"wrong client secret", atDovecot + "auth = \"xoauth2\"\n" + strings.Replace(byService, `_file = "DIR/client.secret"`, ` = "chalk"`, 1), queue.Parked, "invalid_client"},
		{"no provider", atDovecot + "auth = \"xoauth2\"\n" + strings.Replace(byService, "9998", "9", 1), queue.Waiting, "cannot be reached"},
		{"somebody else's mailbox", atDovecot + "auth = \"xoauth2\"\n" + strings.Replace(byService, "alice@", "bob@", 1), queue.Parked, "535"},
	} {
		t.Run(c.name, func(t *testing.T) {
			listen := freeAddr(t)
			h := newLabHarness(t, listen, c.upstream)
			h.start()
			send(t, listen, "alice@postern.test", c.name)
			eventually(t, "the upstream is "+string(c.state), func() bool { return h.office().State == c.state })
			lane := h.office()
			t.Log(lane.Reason)
			if !strings.Contains(lane.Reason, c.says) {
				t.Errorf("%q is not in %q", c.says, lane.Reason)
			}
			if n := strings.Count(h.log.String(), `"state":"`+string(c.state)+`"`); n != 1 {
				t.Errorf("%d alerts", n)
			}
			if len(h.queued()) != 1 {
				t.Fatal("the mail was not kept")
			}
			h.write(inLab(listen, byPassword))
			h.must("reload")
			h.must("queue", "retry", "--upstream", "office")
			eventually(t, "the mail goes out", func() bool { return len(h.queued()) == 0 })
			h.stop()
		})
	}
}
