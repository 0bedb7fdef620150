package capture

import (
	"context"
	"testing"

	"github.com/emersion/go-smtp"
)

// What the capture server announces it does: it makes no notifications, so
// DSN is left to the relay in front of it (RFC 3461 §5.2.2).
func TestAnnouncesWhatItHonours(t *testing.T) {
	s, err := Start(Options{Dir: t.TempDir(), Hostname: "capture.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	conn, err := s.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := smtp.NewClient(conn)
	defer c.Close()
	if err := c.Hello("client.example"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"DSN": false, "8BITMIME": true, "SMTPUTF8": true, "STARTTLS": true} {
		if got, _ := c.Extension(name); got != want {
			t.Errorf("%s announced: %v, want %v", name, got, want)
		}
	}
}
