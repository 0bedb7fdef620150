package signin

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/config"
)

// labConn is a small session with a real server.
type labConn struct {
	conn    net.Conn
	in      *bufio.Reader
	offered []string
}

func (c *labConn) Begin(mechanism string, initial []byte) (Answer, error) {
	return lines(c.exchange).Begin(mechanism, initial)
}
func (c *labConn) Respond(response []byte) (Answer, error) {
	return lines(c.exchange).Respond(response)
}
func (c *labConn) Cancel() { lines(c.exchange).Cancel() }

func (c *labConn) exchange(line []byte) (Reply, error) {
	if _, err := c.conn.Write(append(line, "\r\n"...)); err != nil {
		return Reply{}, err
	}
	return c.reply()
}

func (c *labConn) reply() (Reply, error) {
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return Reply{}, err
		}
		line = strings.TrimRight(line, "\r\n")
		if len(line) < 4 {
			return Reply{}, fmt.Errorf("%q is not a reply", line)
		}
		if words := strings.Fields(line[4:]); len(words) > 0 && words[0] == "AUTH" {
			c.offered = words[1:]
		}
		if line[3] == ' ' {
			code, err := strconv.Atoi(line[:3])
			return Reply{Code: code, Text: line[4:]}, err
		}
	}
}

// labServer is one server of the lab.
type labServer struct{ name, host, address string }

// open connects, and shows the certificate of alice where it has to.
func (s labServer) open(t *testing.T, certificate bool) (*labConn, *tls.ConnectionState) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	c := &labConn{conn: conn, in: bufio.NewReader(conn)}
	if _, err := c.reply(); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"EHLO relay.postern.test", "STARTTLS"} {
		if r, err := c.exchange([]byte(line)); err != nil || r.Code/100 != 2 {
			t.Fatal(r, err)
		}
	}
	pem, err := os.ReadFile("/etc/postern/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	conf := &tls.Config{RootCAs: roots, ServerName: s.host}
	if certificate {
		pair, err := tls.LoadX509KeyPair("/etc/postern/alice.pem", "/etc/postern/alice.key")
		if err != nil {
			t.Fatal(err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	secure := tls.Client(conn, conf)
	if err := secure.Handshake(); err != nil {
		t.Fatal(err)
	}
	c.conn, c.in = secure, bufio.NewReader(secure)
	if r, err := c.exchange([]byte("EHLO relay.postern.test")); err != nil || r.Code != 250 {
		t.Fatal(r, err)
	}
	state := secure.ConnectionState()
	return c, &state
}

// sign signs in, and then looks whether the server agrees that it did.
func (s labServer) sign(t *testing.T, r *Request) (string, error) {
	t.Helper()
	conn, state := s.open(t, r.Certificate)
	r.Offered, r.TLS, r.State = conn.offered, true, state
	if r.Host == "" {
		r.Host = s.host
	}
	name, err := Do(t.Context(), conn, r)
	if err == nil {
		if mail, mailErr := conn.exchange([]byte("MAIL FROM:<alice@postern.test>")); mailErr != nil || mail.Code != 250 {
			t.Errorf("the server does not believe it: %v %v", mail, mailErr)
		}
	}
	return name, err
}

func fixed(password string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return password, nil }
}

var (
	cyrus   = labServer{"Postfix, Cyrus SASL", "mail.postern.test", "127.0.0.1:10587"}
	dovecot = labServer{"Dovecot, Samba AD", "mail.ad.postern.test", "10.77.0.10:11587"}
	tickets = labServer{"Dovecot, Kerberos", "mail.ad.postern.test", "10.77.0.10:11588"}
	ahead   = labServer{"Dovecot, Kerberos, clock ahead", "mail.ad.postern.test", "10.77.0.10:11589"}
	behind  = labServer{"Postfix, Dovecot SASL", "mail.ad.postern.test", "10.77.0.10:12587"}
)

func needsLab(t *testing.T) {
	t.Helper()
	if os.Getenv("POSTERN_LAB") == "" {
		t.Skip("no lab here; relay/signin/lab/run starts one, as root on Debian 12")
	}
}

// The matrix of mechanisms and real servers. relay/signin/lab/run starts them.
func TestLab(t *testing.T) {
	needsLab(t)
	caches := labCaches(t)
	t.Setenv("KRB5CCNAME", "FILE:"+caches.good)
	mit := config.Kerberos{Realm: "POSTERN.TEST"}
	ad := config.Kerberos{Realm: "AD.POSTERN.TEST"}
	plain := func(auth, user, password string) *Request {
		return &Request{Auth: config.Mechanism(auth), Username: user, Password: fixed(password)}
	}
	kerberos := func(auth, user, password string, k config.Kerberos) *Request {
		r := plain(auth, user, password)
		r.Kerberos = k
		if password == "" {
			r.Password = nil
		}
		return r
	}
	ntlm := func(auth, user, password, domain string) *Request {
		r := plain(auth, user, password)
		r.Domain = domain
		return r
	}
	by := func(conf string, k config.Kerberos) config.Kerberos {
		k.Conf = "/etc/postern/" + conf
		return k
	}
	with := func(k config.Kerberos, keytab, cache string) config.Kerberos {
		k.Keytab, k.CCache = keytab, cache
		return k
	}
	for _, c := range []struct {
		server labServer
		what   string
		r      *Request
		want   string // mechanism, or a part of the error behind "!"
	}{
		{cyrus, "right", plain("plain", "alice@mail.postern.test", "alicepw"), "PLAIN"},
		{cyrus, "right", plain("login", "alice@mail.postern.test", "alicepw"), "LOGIN"},
		{cyrus, "right", plain("cram-md5", "alice@mail.postern.test", "alicepw"), "CRAM-MD5"},
		{cyrus, "right", plain("scram-sha-1", "alice", "alicepw"), "SCRAM-SHA-1"},
		{cyrus, "right", plain("scram-sha-256", "alice", "alicepw"), "SCRAM-SHA-256"},
		{cyrus, "right", plain("scram-sha-512", "alice", "alicepw"), "SCRAM-SHA-512"},
		{cyrus, "wrong password", plain("scram-sha-512", "alice", "chalk"), "!535"},
		{cyrus, "right", ntlm("ntlm", "alice", "alicepw", ""), "NTLM"},
		{cyrus, "wrong password", ntlm("ntlm", "alice", "chalk", ""), "!535"},
		{cyrus, "password", kerberos("gssapi", "alice", "alicepw", mit), "GSSAPI"},
		{cyrus, "keytab", kerberos("gssapi", "alice", "", with(mit, "/etc/postern/alice.keytab", "")), "GSSAPI"},
		{cyrus, "keytab tells the user", kerberos("gssapi", "", "", with(config.Kerberos{}, "/etc/postern/alice.keytab", "")), "GSSAPI"},
		{cyrus, "configured cache", kerberos("integrated", "", "", with(config.Kerberos{}, "", caches.good)), "GSSAPI"},
		{cyrus, "the process's cache", kerberos("integrated", "", "", config.Kerberos{}), "GSSAPI"},
		{cyrus, "cache", kerberos("gssapi", "", "", with(config.Kerberos{}, "", caches.good)), "GSSAPI"},
		{cyrus, "password", kerberos("gss-spnego", "alice", "alicepw", mit), "GSS-SPNEGO"},
		{cyrus, "auto", kerberos("auto", "alice", "alicepw", mit), "GSSAPI"},
		{cyrus, "auto, no realm", plain("auto", "alice", "alicepw"), "SCRAM-SHA-512"},
		{cyrus, "wrong password", kerberos("gssapi", "alice", "chalk", mit), "!password or the keytab is wrong"},
		{cyrus, "unknown user", kerberos("gssapi", "mallory", "chalk", mit), "!no such user"},
		{cyrus, "unknown service", kerberos("gssapi", "alice", "alicepw", config.Kerberos{Realm: "POSTERN.TEST", SPN: "smtp/other.postern.test"}), "!no such service"},
		{cyrus, "wrong realm", kerberos("gssapi", "alice", "alicepw", ad), "!"},
		{cyrus, "unknown realm", kerberos("gssapi", "alice", "alicepw", config.Kerberos{Realm: "NOWHERE.TEST"}), "!knows no realm NOWHERE.TEST"},
		{cyrus, "realm in small letters", kerberos("gssapi", "alice", "alicepw", config.Kerberos{Realm: "postern.test"}), "!in capitals"},
		{cyrus, "expired ticket", kerberos("gssapi", "", "", with(config.Kerberos{}, "", caches.expired)), "!expired at"},
		{cyrus, "locked account", kerberos("gssapi", "locked", "lockedpw", mit), "!locked, disabled or expired"},
		{cyrus, "expired password", kerberos("gssapi", "expired", "expiredpw", mit), "!the password has expired"},
		{cyrus, "the KDC's clock", kerberos("gssapi", "alice", "alicepw", by("krb5-ahead.conf", mit)), "!the clocks of this machine"},
		{cyrus, "no KDC", kerberos("gssapi", "alice", "alicepw", by("krb5-down.conf", mit)), "!no KDC of the realm answers"},
		{dovecot, "right", plain("plain", "alice@postern.test", "alicepw"), "PLAIN"},
		{dovecot, "right", plain("login", "alice@postern.test", "alicepw"), "LOGIN"},
		{dovecot, "right", plain("scram-sha-1", "alice@postern.test", "alicepw"), "SCRAM-SHA-1"},
		{dovecot, "wrong password", plain("plain", "alice@postern.test", "chalk"), "!535"},
		{dovecot, "AD cache", kerberos("integrated", "", "", with(config.Kerberos{}, "", caches.ad)), "GSSAPI"},
		{dovecot, "right", plain("cram-md5", "alice@postern.test", "alicepw"), "CRAM-MD5"},
		{dovecot, "right", plain("scram-sha-256", "alice@postern.test", "alicepw"), "SCRAM-SHA-256"},
		{dovecot, "right", ntlm("ntlm", "alice", "alicepw-1", "POSTERN"), "NTLM"},
		{dovecot, "auto with a domain", ntlm("auto", "alice", "alicepw-1", "POSTERN"), "NTLM"},
		{dovecot, "DOMAIN\\user", ntlm("ntlm", `POSTERN\alice`, "alicepw-1", ""), "NTLM"},
		{dovecot, "wrong password", ntlm("ntlm", "alice", "chalk", "POSTERN"), "!535"},
		{dovecot, "unknown user", ntlm("ntlm", "mallory", "chalk", "POSTERN"), "!535"},
		{dovecot, "disabled account", ntlm("ntlm", "disabled", "disabledpw-1", "POSTERN"), "!535"},
		{dovecot, "expired password", ntlm("ntlm", "expired", "expiredpw-1", "POSTERN"), "!535"},
		{dovecot, "disabled account", kerberos("gssapi", "disabled", "disabledpw-1", ad), "!locked, disabled or expired"},
		{dovecot, "expired password", kerberos("gssapi", "expired", "expiredpw-1", ad), "!the password has expired"},
		{dovecot, "AD password", kerberos("gssapi", "alice", "alicepw-1", ad), "GSSAPI"},
		{dovecot, "AD keytab", kerberos("gssapi", "alice", "", with(ad, "/etc/postern/ad-alice.keytab", "")), "GSSAPI"},
		// Dovecot 2.3.19 takes no NUL in GSS-SPNEGO by winbind; every token has one.
		{dovecot, "AD password", kerberos("gss-spnego", "alice", "alicepw-1", ad), "!535"},
		{dovecot, "AD wrong password", kerberos("gssapi", "alice", "chalk", ad), "!password or the keytab is wrong"},
		{tickets, "AD password", kerberos("gssapi", "alice", "alicepw-1", ad), "GSSAPI"},
		{tickets, "AD password", kerberos("gss-spnego", "alice", "alicepw-1", ad), "GSS-SPNEGO"},
		{tickets, "AD keytab", kerberos("gss-spnego", "alice", "", with(ad, "/etc/postern/ad-alice.keytab", "")), "GSS-SPNEGO"},
		{tickets, "AD keytab", kerberos("gssapi", "alice", "", with(ad, "/etc/postern/ad-alice.keytab", "")), "GSSAPI"},
		{tickets, "AD cache", kerberos("integrated", "", "", with(config.Kerberos{}, "", caches.ad)), "GSSAPI"},
		{tickets, "certificate", &Request{Auth: "external", Certificate: true}, "EXTERNAL"},
		{tickets, "certificate and name", &Request{Auth: "external", Certificate: true, Username: "alice@postern.test"}, "EXTERNAL"},
		{tickets, "certificate", &Request{Auth: "auto", Certificate: true}, "EXTERNAL"},
		{tickets, "no certificate", &Request{Auth: "external"}, "!needs a client certificate"},
		{ahead, "the server's clock", kerberos("gssapi", "alice", "alicepw-1", ad), "!535"},
		{behind, "right", plain("plain", "alice@postern.test", "alicepw"), "PLAIN"},
		{behind, "right", plain("login", "alice@postern.test", "alicepw"), "LOGIN"},
		{behind, "right", plain("cram-md5", "alice@postern.test", "alicepw"), "CRAM-MD5"},
		{behind, "right", plain("scram-sha-1", "alice@postern.test", "alicepw"), "SCRAM-SHA-1"},
		{behind, "AD keytab", kerberos("gssapi", "alice", "", with(ad, "/etc/postern/ad-alice.keytab", "")), "GSSAPI"},
		{behind, "AD cache", kerberos("integrated", "", "", with(config.Kerberos{}, "", caches.ad)), "GSSAPI"},
		{behind, "right", plain("scram-sha-256", "alice@postern.test", "alicepw"), "SCRAM-SHA-256"},
		{behind, "right", ntlm("ntlm", "alice", "alicepw-1", "POSTERN"), "NTLM"},
		{behind, "AD password", kerberos("gssapi", "alice", "alicepw-1", ad), "GSSAPI"},
		{behind, "wrong password", ntlm("ntlm", "alice", "chalk", "POSTERN"), "!535"},
	} {
		t.Run(c.server.name+"/"+string(c.r.Auth)+"/"+c.what, func(t *testing.T) {
			name, err := c.server.sign(t, c.r)
			if part, fails := strings.CutPrefix(c.want, "!"); fails {
				var refused *Refused
				switch {
				case err == nil:
					t.Errorf("signed in by %s", name)
				case part == "535" && (!errors.As(err, &refused) || refused.Reply.Code != 535), !strings.Contains(err.Error(), part):
					t.Error(err)
				}
				t.Log(err)
			} else if err != nil || name != c.want {
				t.Error(name, err)
			}
		})
	}
}

// Five wrong passwords lock an account of the directory, for Kerberos and for
// NTLM. That is why a sign-in is tried once for each connection.
func TestLabLockout(t *testing.T) {
	needsLab(t)
	by := func(auth, password string) *Request {
		return &Request{Auth: config.Mechanism(auth), Username: "locked", Password: fixed(password), Kerberos: config.Kerberos{Realm: "AD.POSTERN.TEST"}}
	}
	if _, err := dovecot.sign(t, by("gssapi", "lockedpw-1")); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if name, err := dovecot.sign(t, by("gssapi", "chalk")); err == nil {
			t.Fatal(name)
		}
	}
	if _, err := dovecot.sign(t, by("gssapi", "lockedpw-1")); err == nil || !strings.Contains(err.Error(), "the account is locked") {
		t.Error(err)
	}
	r := by("ntlm", "lockedpw-1")
	r.Domain = "POSTERN"
	var refused *Refused
	if _, err := dovecot.sign(t, r); !errors.As(err, &refused) || refused.Reply.Code != 535 {
		t.Error(err)
	}
}

type caches struct{ good, expired, ad string }

// labCaches gets tickets by MIT's own kinit, one of which is over at once.
func labCaches(t *testing.T) caches {
	t.Helper()
	get := func(life, keytab, user string) string {
		file := filepath.Join(t.TempDir(), "tickets")
		cmd := exec.Command("kinit", "-l", life, "-c", "FILE:"+file, "-k", "-t", "/etc/postern/"+keytab, user)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return file
	}
	c := caches{
		good: get("1h", "alice.keytab", "alice@POSTERN.TEST"), expired: get("1s", "alice.keytab", "alice@POSTERN.TEST"),
		ad: get("1h", "ad-alice.keytab", "alice@AD.POSTERN.TEST"),
	}
	time.Sleep(1100 * time.Millisecond) // a real ticket of one second, by a real clock
	return c
}
