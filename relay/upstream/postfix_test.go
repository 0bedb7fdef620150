package upstream_test

import (
	"bytes"
	"context"
	"errors"
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
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// postfix is a Postfix of our own in a folder that is thrown away: its
// queue, its ports on the loopback interface, its certificate, its users.
type postfix struct {
	dir            string
	port, implicit int
	ca             string
}

// missing ends a test that lacks its counterpart: skipped at a desk, failed
// where POSTERN_REQUIRE_INTEROP=1 says that it has to be there.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("POSTERN_REQUIRE_INTEROP") == "1" {
		t.Fatal("required, and missing: " + what)
	}
	t.Skip("needs " + what)
}

func startPostfix(t *testing.T) *postfix {
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
	p := &postfix{dir: dir, port: freePort(t), implicit: freePort(t)}
	p.certify(t)
	p.addUser(t, "user", "pencil")
	p.configure(t)
	p.run(t, "start")
	t.Cleanup(func() { p.run(t, "stop") })
	for _, port := range []int{p.port, p.implicit} {
		waitForPort(t, port)
	}
	return p
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func waitForPort(t *testing.T, port int) {
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

func (p *postfix) certify(t *testing.T) {
	ca := upstreamtest.NewAuthority(t)
	p.ca = ca.File(t, p.dir)
	upstreamtest.WritePair(t, p.dir, "server", ca.Issue(t, "mail.postern.test"))
}

// addUser makes a SASL user for PLAIN, LOGIN, CRAM-MD5 and SCRAM.
func (p *postfix) addUser(t *testing.T, name, password string) {
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

func (p *postfix) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (p *postfix) configure(t *testing.T) {
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
`, p.port, p.implicit))
}

func (p *postfix) run(t *testing.T, verb string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "postfix", "-c", p.dir, verb).CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(p.dir, "log"))
		t.Fatalf("postfix %s: %v: %s\n%s", verb, err, out, log)
	}
}

// upstream is the configuration that leads here.
func (p *postfix) upstream(auth string) *config.Upstream {
	return &config.Upstream{
		Name: "postfix-" + auth, Host: "127.0.0.1", Port: p.port, TLS: config.TLSVerify,
		CAFile: p.ca, ServerName: "mail.postern.test",
		Auth: auth, Username: "user", Password: config.NewSecret("pencil"),
		CommandTimeout: 20 * time.Second, DataTimeout: 20 * time.Second,
	}
}

// arrived waits until count messages lie in the mailbox.
func (p *postfix) arrived(t *testing.T, count int) (messages [][]byte) {
	t.Helper()
	for range 200 {
		names, _ := filepath.Glob(filepath.Join(p.dir, "mail/box/new/*"))
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

func TestPostfix(t *testing.T) {
	p := startPostfix(t)
	deliver := func(t *testing.T, up *config.Upstream, envs ...*spool.Envelope) (*upstreamtest.Feed, *recorder, error) {
		t.Helper()
		feed, rec := upstreamtest.NewFeed(), &recorder{}
		for i, env := range envs {
			feed.Add(env, fmt.Appendf(nil, "Subject: %s\r\nMessage-ID: <%d.%s@a.example>\r\n\r\n.dot\r\n..\r\nnumber %d\r\n", t.Name(), i, up.Name, i))
		}
		dialer := &upstream.Dialer{Hostname: func() string { return "relay.example" }, Events: rec}
		err := dialer.Deliver(t.Context(), up, feed)
		for _, breach := range feed.Breaches() {
			t.Error(breach)
		}
		return feed, rec, err
	}
	to := func(rcpts ...string) *spool.Envelope {
		env := &spool.Envelope{From: "from@a.example"}
		for _, rcpt := range rcpts {
			env.Recipients = append(env.Recipients, spool.Recipient{Address: rcpt})
		}
		return env
	}

	for _, auth := range []string{"plain", "login", "cram-md5", "scram-sha-256", "auto"} {
		t.Run(auth, func(t *testing.T) {
			feed, rec, err := deliver(t, p.upstream(auth), to("ok@b.example"))
			if err != nil {
				t.Fatal(err)
			}
			if o := feed.Settled()[0].Outcomes[0]; o.Stage != spool.StageDot || o.Code != 250 || o.Enhanced != "2.0.0" || !o.DSNRelayed {
				t.Errorf("%+v", o)
			}
			want := strings.ToUpper(auth)
			if auth == "auto" {
				want = "SCRAM-SHA-512"
			}
			if e := rec.opened[0]; e.Mechanism != want || !e.Verified || e.TLSVersion == "" || !e.Pipelining {
				t.Errorf("%+v", e)
			}
			for _, m := range p.arrived(t, 1) {
				if !bytes.HasSuffix(bytes.ReplaceAll(m, []byte("\r\n"), []byte("\n")), []byte("\n\n.dot\n..\nnumber 0\n")) {
					t.Errorf("%q", m)
				}
			}
		})
	}
	t.Run("implicit", func(t *testing.T) {
		up := p.upstream("auto")
		up.Port, up.TLS = p.implicit, config.TLSImplicit
		if _, _, err := deliver(t, up, to("ok@b.example")); err != nil {
			t.Fatal(err)
		}
		p.arrived(t, 1)
	})
	t.Run("fifty messages over one connection", func(t *testing.T) {
		var envs []*spool.Envelope
		for range 50 {
			envs = append(envs, to("ok@b.example"))
		}
		feed, rec, err := deliver(t, p.upstream("auto"), envs...)
		if err != nil || len(rec.opened) != 1 || len(feed.Settled()) != 50 {
			t.Fatal(err, rec)
		}
		seen := map[string]bool{}
		for _, m := range p.arrived(t, 50) {
			_, rest, _ := bytes.Cut(m, []byte("\nnumber "))
			seen[string(bytes.TrimSpace(rest))] = true
		}
		if len(seen) != 50 {
			t.Errorf("%d different messages arrived", len(seen))
		}
	})
	t.Run("refused and accepted recipients", func(t *testing.T) {
		feed, _, err := deliver(t, p.upstream("plain"), to("ok@b.example", "nobody@b.example", "too@b.example"))
		if err != nil {
			t.Fatal(err)
		}
		o := feed.Settled()[0].Outcomes
		if o[0].Code != 250 || o[1].Code != 550 || o[1].Enhanced != "5.1.1" || o[1].Stage != spool.StageRcpt || o[2].Code != 250 {
			t.Errorf("%+v", o)
		}
		p.arrived(t, 2)
	})
	t.Run("more recipients than it takes at once", func(t *testing.T) {
		env := to()
		for range 70 {
			env.Recipients = append(env.Recipients, spool.Recipient{Address: "ok@b.example"})
		}
		feed, _, err := deliver(t, p.upstream("plain"), env)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range feed.Settled()[0].Outcomes {
			if o.Stage != spool.StageDot || o.Code != 250 {
				t.Errorf("recipient %d: %+v", i, o)
			}
		}
		p.arrived(t, 3)
	})
	t.Run("larger than it takes", func(t *testing.T) {
		feed := upstreamtest.NewFeed()
		feed.Add(to("ok@b.example"), bytes.Repeat([]byte("0123456789\r\n"), 100_000))
		if err := (&upstream.Dialer{}).Deliver(t.Context(), p.upstream("plain"), feed); err != nil {
			t.Fatal(err)
		}
		if o := feed.Settled()[0].Outcomes[0]; !o.Unsupported || o.Code != 552 {
			t.Errorf("%+v", o)
		}
	})
	fault := func(t *testing.T, up *config.Upstream, stage spool.Stage, code int) {
		t.Helper()
		feed, _, err := deliver(t, up, to("ok@b.example"))
		var f *spool.Fault
		if !errors.As(err, &f) || f.Outcome.Stage != stage || f.Outcome.Code != code {
			t.Errorf("%v", err)
		}
		if len(feed.Settled()) != 0 {
			t.Error("a message was taken")
		}
	}
	for _, auth := range []string{"plain", "login", "cram-md5", "scram-sha-256"} {
		t.Run("wrong password by "+auth, func(t *testing.T) {
			up := p.upstream(auth)
			up.Password = config.NewSecret("chalk")
			fault(t, up, spool.StageSignIn, 535)
		})
	}
	t.Run("unknown authority", func(t *testing.T) {
		up := p.upstream("plain")
		up.CAFile = ""
		fault(t, up, spool.StageTLS, 0)
	})
	t.Run("wrong name", func(t *testing.T) {
		up := p.upstream("plain")
		up.ServerName = "other.postern.test"
		fault(t, up, spool.StageTLS, 0)
	})
	t.Run("not signed in", func(t *testing.T) {
		feed, _, err := deliver(t, p.upstream("none"), to("ok@b.example"))
		if o := feed.Settled()[0].Outcomes[0]; err != nil || o.Code != 554 || o.Stage != spool.StageRcpt {
			t.Errorf("%+v, %v", o, err)
		}
	})
}
