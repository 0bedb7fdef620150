package capture

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

func startAlone(t *testing.T) *Server {
	t.Helper()
	s, err := Start(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.Close(ctx)
	})
	return s
}

func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// signedIn is a session as the relay has them.
func signedIn(t *testing.T, s *Server) *smtp.Client {
	t.Helper()
	c, err := smtp.NewClientStartTLS(dial(t, s), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Auth(sasl.NewPlainClient("", "office", s.password)); err != nil {
		t.Fatal(err)
	}
	return c
}

// A line without an end is cut off before it takes up memory, with TLS or
// without, unless the client has signed in.
func TestHalfLines(t *testing.T) {
	s := startAlone(t)
	half := bytes.Repeat([]byte("x"), 3*strangerBytes)
	plain := dial(t, s)
	plain.Write(half)
	secret, err := smtp.NewClientStartTLS(dial(t, s), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func() error{
		"in clear": func() error {
			plain.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, err := io.Copy(io.Discard, plain)
			return err
		},
		"over TLS": func() error {
			secret.CommandTimeout = 5 * time.Second
			return secret.Verify(string(half))
		},
	} {
		if err := read(); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: half a line of %d bytes is kept", name, len(half))
		}
	}
	mail := signedIn(t, s)
	if err := mail.Mail("a@b.example", nil); err != nil {
		t.Fatal(err)
	}
	if err := mail.Rcpt("c@d.example", nil); err != nil {
		t.Fatal(err)
	}
	w, err := mail.Data()
	if err != nil {
		t.Fatal(err)
	}
	w.Write(half)
	if err := w.Close(); err != nil {
		t.Errorf("a long line of the relay's: %v", err)
	}
}

// However many strangers come, a session that has signed in stays.
func TestStrangersTakeNoPlaceOfTheRelay(t *testing.T) {
	s := startAlone(t)
	s.SetPlaces(4)
	mail := signedIn(t, s)
	var strangers []net.Conn
	for range 20 {
		c := dial(t, s)
		c.SetDeadline(time.Now().Add(5 * time.Second))
		c.Read(make([]byte, 200)) // the greeting, or the end
		strangers = append(strangers, c)
	}
	if err := mail.Noop(); err != nil {
		t.Errorf("the relay's session: %v", err)
	}
	signedIn(t, s)
	open := 0
	for _, c := range strangers {
		c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			open++
		}
	}
	if open > 4 {
		t.Errorf("%d strangers have 4 places", open)
	}
}

// Whoever does not sign in is not waited for, whatever go-smtp would wait for.
func TestStrangersHaveLittleTime(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	g := &guest{Conn: server, until: time.Now().Add(50 * time.Millisecond)}
	for name, set := range map[string]func(time.Time) error{"read": g.SetReadDeadline, "both": g.SetDeadline} {
		for _, at := range []time.Time{{}, time.Now().Add(ioTimeout)} {
			set(at)
			if _, err := g.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	g.SetWriteDeadline(time.Now().Add(ioTimeout))
	if _, err := g.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write: %v", err)
	}
	g.welcome()
	g.SetDeadline(time.Now().Add(ioTimeout))
	go client.Write([]byte("x"))
	if _, err := g.Read(make([]byte, 1)); err != nil {
		t.Errorf("signed in: %v", err)
	}
}
