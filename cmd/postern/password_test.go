//go:build unix

package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"postern/queue"
)

// passwordServer is a sink that wants a password, and counts how often it was
// given another one.
type passwordServer struct {
	*sink
	password string
	wrong    chan string
}

func (d *passwordServer) NewSession(*smtp.Conn) (smtp.Session, error) {
	return &passwordSession{sinkSession: sinkSession{d.sink}, want: d}, nil
}

type passwordSession struct {
	sinkSession
	want     *passwordServer
	signedIn bool
}

func (*passwordSession) AuthMechanisms() []string { return []string{"PLAIN"} }

func (s *passwordSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, _, password string) error {
		if password != s.want.password {
			s.want.wrong <- password
			return smtp.ErrAuthFailed
		}
		s.signedIn = true
		return nil
	}), nil
}

func (s *passwordSession) Mail(from string, o *smtp.MailOptions) error {
	if !s.signedIn {
		return smtp.ErrAuthRequired
	}
	return s.sinkSession.Mail(from, o)
}

// A password that was changed counts at the next sign-in, and after a reload
// where it stands in the configuration: nobody restarts anything.
func TestPasswordIsReadAnew(t *testing.T) {
	listen, upstream := freeAddr(t), freeAddr(t)
	l, err := net.Listen("tcp", upstream)
	if err != nil {
		t.Fatal(err)
	}
	asks := &passwordServer{sink: &sink{}, password: "the new one", wrong: make(chan string, 100)}
	server := smtp.NewServer(asks)
	server.Domain, server.AllowInsecureAuth = "password.test", true
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	config := func(source string) string {
		return strings.Replace(ordinary(listen, upstream), "tls = \"off\"\n", "tls = \"off\"\nauth = \"plain\"\nusername = \"billing\"\n"+source+"\n", 1)
	}
	h := newHarness(t, config(`password_file = "DIR/pw"`))
	writeSecret(t, filepath.Join(h.dir, "pw"), "the old one")
	h.start()
	send(t, listen, "a@example.com", "one")
	eventually(t, "the upstream is parked", func() bool { return h.office().State == queue.Parked })
	writeSecret(t, filepath.Join(h.dir, "pw"), "the new one")
	eventually(t, "the mail goes out by itself", func() bool { return len(asks.received()) == 1 })

	h.write(config(`password = "another"`))
	h.must("reload")
	eventually(t, "the session ends", func() bool { return h.office().Sessions == 0 })
	send(t, listen, "a@example.com", "two")
	eventually(t, "the upstream is parked again", func() bool { return h.office().State == queue.Parked })
	h.write(config(`password = "the new one"`))
	h.must("reload")
	eventually(t, "the mail goes out after the reload", func() bool { return len(asks.received()) == 2 })
	close(asks.wrong)
	tried := map[string]bool{}
	for password := range asks.wrong {
		tried[password] = true
	}
	if len(tried) != 2 || !tried["the old one"] || !tried["another"] {
		t.Errorf("%v", tried)
	}
	h.stop()
}
