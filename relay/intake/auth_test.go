package intake

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xdg-go/scram"

	"postern/config"
	"postern/relay/origin"
	"postern/relay/passwd"
)

func withUsers(l *config.Listener) {
	l.Users = map[string]string{"app1": testArgon, "app2": testBcrypt, "app3": testSCRAM}
}

// signIn carries out SCRAM-SHA-256 and returns the last reply.
func signIn(t *testing.T, k *talk, name, password string, initial bool) string {
	t.Helper()
	client, err := scram.SHA256.NewClient(name, password, "")
	if err != nil {
		t.Fatal(err)
	}
	conv := client.NewConversation()
	out, _ := conv.Step("")
	enc := base64.StdEncoding
	var reply string
	if initial {
		reply = k.cmd("AUTH SCRAM-SHA-256 "+enc.EncodeToString([]byte(out)), "334 ")
	} else {
		k.cmd("AUTH SCRAM-SHA-256", "334 \r\n")
		reply = k.cmd(enc.EncodeToString([]byte(out)), "334 ")
	}
	first, err := enc.DecodeString(strings.TrimSpace(reply[4:]))
	if err != nil {
		t.Fatal(err)
	}
	if out, err = conv.Step(string(first)); err != nil {
		t.Fatal(err)
	}
	k.send(enc.EncodeToString([]byte(out)))
	reply = k.expect("")
	if strings.HasPrefix(reply, "334 ") {
		last, _ := enc.DecodeString(strings.TrimSpace(reply[4:]))
		if _, err := conv.Step(string(last)); err != nil || !conv.Valid() {
			t.Errorf("the server's proof: %v", err)
		}
		k.send("")
		reply = k.expect("")
	}
	return reply
}

func TestSCRAM(t *testing.T) {
	l := testListener()
	withUsers(&l)
	s, st, ev := serveOn(t, l)
	for _, initial := range []bool{true, false} {
		k := talkTo(t, s.Addrs()["test"])
		k.expect("220 ")
		k.cmd("EHLO a.example.com", "250-")
		if got := signIn(t, k, "app3", "geheim", initial); !strings.HasPrefix(got, "235 2.7.0 ") {
			t.Errorf("%q", got)
		}
		k.message()
	}
	if u := st.all()[0].env.User; u != "app3" {
		t.Errorf("user %q", u)
	}
	// A wrong password, a user of another stored form, and none at all look
	// alike, and a salt stays the same.
	for _, name := range []string{"app3", "app1", "nobody"} {
		k := talkTo(t, s.Addrs()["test"])
		k.expect("220 ")
		k.cmd("EHLO a.example.com", "250-")
		if got := signIn(t, k, name, "falsch", true); !strings.HasPrefix(got, "535 5.7.8 authentication failed") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if !ev.has("signed in SCRAM-SHA-256 app3") || !ev.has("sign-in failed SCRAM-SHA-256 nobody") {
		t.Errorf("events: %v", ev.lines)
	}
	u := s.listener("test").settings.Load().users
	one, _ := u.verifier("nobody")
	two, _ := u.verifier("nobody")
	other, _ := u.verifier("somebody")
	real, _ := u.verifier("app3")
	if one.Salt != two.Salt || one.Salt == other.Salt || len(one.Salt) != len(real.Salt) || one.Iters != real.Iters {
		t.Error("who exists can be told by the salt")
	}
}

func (s *Server) listener(name string) *listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.listeners {
		if d.settings.Load().cfg.Name == name {
			return d
		}
	}
	return nil
}

func TestUsers(t *testing.T) {
	u, err := newUsers(map[string]string{"app1": testArgon, "app2": testBcrypt, "app3": testSCRAM}, newShared())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, password string
		want           bool
	}{
		{"app1", "geheim", true}, {"app2", "geheim", true}, {"app3", "geheim", true},
		{"app1", "falsch", false}, {"app2", "", false}, {"nobody", "geheim", false}, {"", "", false}, {"APP1", "geheim", false},
	} {
		for range 2 { // the second time from memory
			ok, busy := u.check(context.Background(), origin.Key{}, c.name, c.password)
			if ok != c.want || busy {
				t.Errorf("%s %s: %t, busy %t", c.name, c.password, ok, busy)
			}
		}
	}
	if len(u.known) != 3 {
		t.Errorf("%d remembered", len(u.known))
	}
	// What is remembered is answered at once, what isn't waits for its turn.
	u.shared.checks = origin.NewTurns(1)
	if err := u.shared.checks.Take(context.Background(), origin.Key{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if ok, busy := u.check(ctx, origin.Key{}, "app1", "geheim"); !ok || busy {
		t.Error("a password that is known waited")
	}
	if ok, busy := u.check(ctx, origin.Key{}, "app1", "falsch"); ok || !busy {
		t.Error("the bound on checks does not hold")
	}
}

// TestSignInDoesNotSurviveSTARTTLS: whoever signed in before TLS may have been
// somebody in between (RFC 3207 §4.2), so nobody is signed in after it, and may
// sign in anew.
func TestSignInDoesNotSurviveSTARTTLS(t *testing.T) {
	l := testListener()
	withUsers(&l)
	l.RequireAuth, l.TLS = true, config.ListenerTLSStart
	l.CertFile, l.KeyFile = testCert(t)
	s, st, _ := serveOn(t, l)
	k := talkTo(t, s.Addrs()["test"])
	const app2, app3 = "AUTH PLAIN AGFwcDIAZ2VoZWlt", "AUTH PLAIN AGFwcDMAZ2VoZWlt"
	k.expect("220 ")
	k.cmd("EHLO a.example.com", "250-")
	k.cmd(app2, "235 ")
	k.startTLS()
	k.cmd(app3, "503 5.5.1 send EHLO first")
	k.cmd("EHLO a.example.com", "250-")
	k.cmd("MAIL FROM:<a@example.com>", "530 ")
	k.cmd(app3, "235 ")
	k.message()
	if got := st.all()[0].env.User; got != "app3" {
		t.Errorf("user %q", got)
	}
}

// TestAuthDelayEndsWithServer: the reply to a failed AUTH comes late, and a
// shutdown does not wait for it.
func TestAuthDelayEndsWithServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withUsers)
		nc := r.dial("")
		io.WriteString(nc, "EHLO a\r\nAUTH PLAIN AGFwcDIAZmFsc2No\r\n")
		synctest.Wait()
		begin := time.Now()
		r.server.Close()
		if d := time.Since(begin); d != 0 {
			t.Errorf("Close took %v", d)
		}
	})
}

// TestHeaderRoutes: where the header decides, it does so for each recipient,
// and a message that no route takes is refused whole.
func TestHeaderRoutes(t *testing.T) {
	routes := []config.Route{{Name: "urgent", From: []string{"*@header.example"}, Header: map[string][]string{"X-Kind": {"urgent"}}, Upstream: []string{"fast"}}}
	plain := config.Route{Name: "plain", From: []string{"*@header.example"}, To: []string{"plain@example.net"}, Upstream: []string{"slow"}}
	for _, c := range []struct {
		header string
		to     []string
		want   string
	}{
		{"X-Kind: urgent", []string{"b@example.net"}, "250 b@example.net=fast"},
		{"x-kind:\r\n urgent", []string{"b@example.net", "plain@example.net"}, "250 b@example.net=fast plain@example.net=fast"},
		{"X-Kind: late", []string{"plain@example.net"}, "250 plain@example.net=slow"},
		{"X-Kind: late", []string{"b@example.net"}, "550"},
		{"X-Kind: late", []string{"plain@example.net", "b@example.net"}, "550"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil, append(routes, plain)...)
			nc := r.dial("")
			io.WriteString(nc, "EHLO a\r\nMAIL FROM:<a@header.example>\r\n")
			for _, to := range c.to {
				fmt.Fprintf(nc, "RCPT TO:<%s>\r\n", to)
			}
			io.WriteString(nc, "DATA\r\nSubject: x\r\n"+c.header+"\r\n\r\ntext\r\n.\r\n")
			synctest.Wait()
			var b strings.Builder
			collect(&b, nc)
			nc.Close()
			lines := strings.Split(strings.TrimSpace(b.String()), "\n")
			got := strings.TrimPrefix(lines[len(lines)-1], "S: ")[:3]
			for _, m := range r.store.all() {
				for _, rc := range m.env.Recipients {
					got += " " + rc.Address + "=" + strings.Join(rc.Upstreams, ",")
				}
			}
			if got != c.want {
				t.Errorf("%q %v: %q, want %q", c.header, c.to, got, c.want)
			}
		})
	}
}

// BenchmarkSignIn: what a client pays that signs in for each message.
func BenchmarkSignIn(b *testing.B) {
	v, err := passwd.Argon2id("geheim")
	if err != nil {
		b.Fatal(err)
	}
	u, err := newUsers(map[string]string{"app": v}, newShared())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			clear(u.known)
			u.check(context.Background(), origin.Key{}, "app", "geheim")
		}
	})
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			u.check(context.Background(), origin.Key{}, "app", "geheim")
		}
	})
}
