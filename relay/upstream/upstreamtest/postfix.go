package upstreamtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/config"
)

// Postfix is one of our own in a folder that is thrown away: its queue, its
// ports on the loopback interface, its certificate for mail.postern.test, its
// user with a password.
type Postfix struct {
	Port     int    // with STARTTLS
	Implicit int    // with TLS from the first byte
	CA       string // file of its authority
	dir      string
}

// The user of a Postfix.
const (
	PostfixUser     = "user"
	PostfixPassword = "pencil"
)

// missing ends a test that lacks its counterpart: skipped at a desk, failed
// where POSTERN_REQUIRE_INTEROP=1 says that it has to be there.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("POSTERN_REQUIRE_INTEROP") == "1" {
		t.Fatal("required, and missing: " + what)
	}
	t.Skip("needs " + what)
}

// StartPostfix starts one; it ends with the test. The test is skipped where
// it cannot be had, or fails where POSTERN_REQUIRE_INTEROP=1.
func StartPostfix(t testing.TB) *Postfix {
	t.Helper()
	for _, program := range []string{"postfix", "saslpasswd2"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, program+" (Debian: postfix, sasl2-bin, libsasl2-modules)")
		}
	}
	if os.Geteuid() != 0 {
		missing(t, "root, to start Postfix")
	}
	if runtime.GOOS != "linux" {
		missing(t, "Linux, for the paths of Postfix")
	}
	dir, err := os.MkdirTemp("", "postern-postfix-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // Postfix reads it as another user
		t.Fatal(err)
	}
	p := &Postfix{dir: dir, Port: freePort(t), Implicit: freePort(t)}
	p.certify(t)
	p.addUser(t, PostfixUser, PostfixPassword)
	p.configure(t)
	p.run(t, "start")
	t.Cleanup(func() { p.run(t, "stop") })
	for _, port := range []int{p.Port, p.Implicit} {
		waitForPort(t, port)
	}
	return p
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func waitForPort(t testing.TB, port int) {
	t.Helper()
	for range 100 {
		if conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			conn.Close()
			return
		}
		time.Sleep(50 * time.Millisecond) // another program: nothing to wait on but its port
	}
	t.Fatalf("Postfix does not listen on port %d", port)
}

func (p *Postfix) certify(t testing.TB) {
	ca := NewAuthority(t)
	p.CA = ca.File(t, p.dir)
	WritePair(t, p.dir, "server", ca.IssueRSA(t, "mail.postern.test"))
}

// addUser makes a SASL user for PLAIN, LOGIN, CRAM-MD5 and SCRAM.
func (p *Postfix) addUser(t testing.TB, name, password string) {
	t.Helper()
	db := filepath.Join(p.dir, "sasldb2")
	cmd := exec.Command("saslpasswd2", "-p", "-c", "-f", db, "-u", "mail.postern.test", name)
	cmd.Stdin = strings.NewReader(password)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("saslpasswd2: %v: %s", err, out)
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		missing(t, "the user postfix")
	}
	uid, _ := strconv.Atoi(owner.Uid)
	if err := os.Chown(db, uid, -1); err != nil {
		t.Fatal(err)
	}
}

func (p *Postfix) write(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (p *Postfix) configure(t testing.TB) {
	nobody, err := user.Lookup("nobody")
	if err != nil {
		missing(t, "the user nobody")
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	for name, owner := range map[string]int{"queue": 0, "data": -1, "mail": uid} {
		path := filepath.Join(p.dir, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if owner < 0 {
			u, _ := user.Lookup("postfix")
			owner, _ = strconv.Atoi(u.Uid)
		}
		if err := os.Chown(path, owner, -1); err != nil {
			t.Fatal(err)
		}
	}
	p.write(t, "sasl/smtpd.conf", fmt.Sprintf(`pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: %s/sasldb2
mech_list: PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-512
`, p.dir))
	for _, name := range []string{"postfix-files", "dynamicmaps.cf"} { // Debian's, where it has them
		if text, err := os.ReadFile(filepath.Join("/etc/postfix", name)); err == nil {
			p.write(t, name, string(text))
		}
	}
	p.write(t, "main.cf", fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/log
maillog_file_prefixes = /
myhostname = mail.postern.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 192.0.2.1/32
alias_maps =
alias_database =
disable_dns_lookups = yes
smtpd_peername_lookup = no
message_size_limit = 1000000
virtual_mailbox_limit = 0
smtpd_recipient_limit = 30
virtual_mailbox_domains = b.example
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_maps = inline:{ok@b.example=box/, too@b.example=box/, @many.b.example=box/}
virtual_uid_maps = static:%[2]s
virtual_gid_maps = static:%[3]s
virtual_minimum_uid = 1
smtpd_sasl_auth_enable = yes
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = %[1]s/sasl
smtpd_sasl_local_domain = mail.postern.test
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_reject_unlisted_recipient = yes
smtpd_tls_cert_file = %[1]s/server.pem
smtpd_tls_key_file = %[1]s/server.key
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
`, p.dir, nobody.Uid, nobody.Gid))
	p.write(t, "master.cf", fmt.Sprintf(`127.0.0.1:%d inet n - n - - smtpd
127.0.0.1:%d inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`, p.Port, p.Implicit))
}

func (p *Postfix) run(t testing.TB, verb string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "postfix", "-c", p.dir, verb).CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(p.dir, "log"))
		t.Fatalf("postfix %s: %v: %s\n%s", verb, err, out, log)
	}
}

// Upstream is the configuration that leads here.
func (p *Postfix) Upstream(auth string) *config.Upstream {
	return &config.Upstream{
		Host: "127.0.0.1", Port: p.Port, TLS: config.TLSVerify,
		CAFile: p.CA, ServerName: "mail.postern.test",
		Account:        config.Account{Name: "postfix-" + auth, Auth: config.Mechanism(auth), Username: PostfixUser, Password: config.NewSecret(PostfixPassword)},
		CommandTimeout: 20 * time.Second, DataTimeout: 20 * time.Second,
	}
}

// Mailbox is the files of its mailbox at this moment.
func (p *Postfix) Mailbox(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(p.dir, "mail/box/new/*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Arrived waits until count messages lie in the mailbox.
func (p *Postfix) Arrived(t testing.TB, count int) (messages [][]byte) {
	t.Helper()
	for range 200 {
		names := p.Mailbox(t)
		if len(names) >= count {
			for _, name := range names {
				text, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				messages = append(messages, text)
				_ = os.Remove(name)
			}
			return messages
		}
		time.Sleep(50 * time.Millisecond) // Postfix delivers when it likes
	}
	log, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	t.Fatalf("not all of %d messages arrived\n%s", count, log)
	return nil
}
