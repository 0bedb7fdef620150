package intake

import (
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/spool"
	"postern/spool/storetest"
)

// TestQueuedBefore: who hands a message with a key in again is told under which
// ID it was queued, over DATA and BDAT, and nothing is queued.
func TestQueuedBefore(t *testing.T) {
	mem := storetest.NewMemory()
	s := newServer(mem, &record{}, nil)
	t.Cleanup(func() { s.Close() })
	cfg := &config.Config{Hostname: "mx.example.com", Listeners: []config.Listener{testListener()}, Submission: config.Submission{Idempotency: time.Hour}}
	if err := s.Apply(cfg, testRoutes(t)); err != nil {
		t.Fatal(err)
	}
	k := talkTo(t, s.Addrs()["test"])
	k.expect("220")
	k.send("EHLO client.example")
	k.expect("250")
	const content = "From: a@example.com\r\nPostern-Idempotency-Key: job/1\r\n\r\nhello\r\n"
	hand := func(prefix string) string {
		t.Helper()
		k.send("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA")
		k.expect("250")
		k.expect("250")
		k.expect("354")
		k.send(content + ".")
		return strings.TrimSpace(strings.TrimPrefix(k.expect(prefix), prefix))
	}
	first := hand("250 2.0.0 queued as ")
	if again := hand("250 2.0.0 queued before as "); again != first {
		t.Errorf("queued before as %q, want %q", again, first)
	}
	k.send("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "BDAT 62 LAST")
	k.send(content[:len(content)-2])
	k.expect("250")
	k.expect("250")
	k.expect("250 2.0.0 queued before as " + first)
	n := 0
	mem.Find(t.Context(), spool.Query{}, func(spool.Summary) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d messages", n)
	}
}
