package intake

import (
	"maps"
	"net/netip"
	"os"
	"testing"

	"postern/config"
)

// A reload ends what it takes away, after the message that it is at; the
// others stay.
func TestReloadEndsWhatIsGone(t *testing.T) {
	all := map[string]string{"app1": testArgon, "app2": testBcrypt}
	auth := map[string]string{"app2": "AUTH PLAIN AGFwcDIAZ2VoZWlt"}
	for name, c := range map[string]struct {
		signIn string
		change func(l *config.Listener)
		stays  bool
	}{
		"nothing":            {"app2", func(l *config.Listener) { l.MaxMessageSize = 999 }, true},
		"user":               {"app2", func(l *config.Listener) { delete(l.Users, "app2") }, false},
		"password":           {"app2", func(l *config.Listener) { l.Users["app2"] = testArgon }, false},
		"every user":         {"app2", func(l *config.Listener) { l.Users = nil }, false},
		"another user":       {"app2", func(l *config.Listener) { delete(l.Users, "app1") }, true},
		"not signed in":      {"", func(l *config.Listener) { delete(l.Users, "app2") }, true},
		"network":            {"", func(l *config.Listener) { l.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }, false},
		"network of another": {"", func(l *config.Listener) { l.Allow = l.Allow[:1] }, true},
		"sign-in required":   {"", func(l *config.Listener) { l.RequireAuth = true }, false},
		"required, is":       {"app2", func(l *config.Listener) { l.RequireAuth = true }, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := testListener()
			l.Target, l.Users = freePort(t), maps.Clone(all)
			s, st, _ := serveOn(t, l)
			begin := func() *talk {
				k := talkTo(t, s.Addrs()["test"])
				k.expect("220 ")
				k.cmd("EHLO a.example.com", "250-")
				if c.signIn != "" {
					k.cmd(auth[c.signIn], "235 ")
				}
				return k
			}
			idle, busy, mail := begin(), begin(), begin()
			busy.cmd("MAIL FROM:<a@example.com>", "250 ")
			busy.cmd("RCPT TO:<b@example.net>", "250 ")
			busy.cmd("DATA", "354 ")
			mail.cmd("MAIL FROM:<a@example.com>", "250 ")
			next := l
			next.Users = maps.Clone(all)
			c.change(&next)
			if err := s.Apply(&config.Config{Hostname: "mx.example.com", Listeners: []config.Listener{next}}, testRoutes(t)); err != nil {
				t.Fatal(err)
			}
			if c.stays {
				idle.cmd("NOOP", "250 ")
				mail.cmd("RCPT TO:<b@example.net>", "250 ")
				busy.cmd("Subject: x\r\n\r\n.", "250 2.0.0")
				busy.cmd("NOOP", "250 ")
				return
			}
			for _, k := range []*talk{idle, mail} {
				k.expect("421 4.3.2 the configuration has changed")
				k.closed()
			}
			busy.cmd("Subject: x\r\n\r\n.", "250 2.0.0")
			busy.expect("421 4.3.2 the configuration has changed")
			busy.closed()
			if len(st.all()) != 1 {
				t.Errorf("%d messages", len(st.all()))
			}
		})
	}
}

// Who connected before a reload can't sign in as a user that it removed.
func TestRemovedUserCannotSignInOverAnOldConnection(t *testing.T) {
	l := testListener()
	l.Target, l.Users = freePort(t), map[string]string{"app1": testArgon, "app2": testBcrypt}
	s, _, _ := serveOn(t, l)
	k := talkTo(t, s.Addrs()["test"])
	k.expect("220 ")
	k.cmd("EHLO a.example.com", "250-")
	next := l
	next.Users = map[string]string{"app1": testArgon}
	if err := s.Apply(&config.Config{Hostname: "h", Listeners: []config.Listener{next}}, testRoutes(t)); err != nil {
		t.Fatal(err)
	}
	k.cmd("AUTH PLAIN AGFwcDIAZ2VoZWlt", "421 4.3.2")
	k.closed()
}

// A connection under a certificate that was replaced ends, and STARTTLS
// doesn't show that any more.
func TestReplacedCertificateEndsConnections(t *testing.T) {
	l := testListener()
	l.TLS, l.Target = config.ListenerTLSStart, freePort(t)
	l.CertFile, l.KeyFile = testCert(t)
	s, _, _ := serveOn(t, l)
	k := talkTo(t, s.Addrs()["test"])
	k.expect("220 ")
	k.cmd("EHLO a.example.com", "250-")
	c2, k2 := testCert(t)
	for from, to := range map[string]string{c2: l.CertFile, k2: l.KeyFile} {
		b, _ := os.ReadFile(from)
		os.WriteFile(to, b, 0o600)
	}
	if err := s.Apply(&config.Config{Hostname: "h", Listeners: []config.Listener{l}}, testRoutes(t)); err != nil {
		t.Fatal(err)
	}
	k.cmd("NOOP", "250 ")
	k.cmd("STARTTLS", "421 4.3.2")
	k.closed()
}

// Data before the greeting ends the connection, on the real kernel.
func TestDataBeforeTheGreeting(t *testing.T) {
	l := testListener()
	l.Target, l.Early = freePort(t), "refuse"
	s, st, ev := serveOn(t, l)
	for range 20 {
		k := talkTo(t, s.Addrs()["test"])
		k.nc.Write([]byte("EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n\r\n.\r\nQUIT\r\n"))
		if reply, _ := k.r.ReadString('\n'); reply[:3] != "554" { // or the greeting was sent before the bytes came
			k.expect("554 5.5.0 data behind EHLO")
		}
		k.closed()
	}
	if len(st.all()) != 0 || len(ev.abused) == 0 {
		t.Errorf("%d messages, %v", len(st.all()), ev.abused)
	}
}
