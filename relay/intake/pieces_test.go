//go:build linux

package intake

import (
	"net"
	"testing"
	"time"
)

// A client that writes content and final dot apart, and whose kernel lets the
// dot wait until what is before it was acknowledged (Nagle's algorithm), isn't
// made to wait for that. With the kernel's own delay each of these messages
// takes 40 ms. A busy machine has several tries.
func TestPiecesAreAcknowledgedAtOnce(t *testing.T) {
	const (
		messages = 25
		delayed  = messages * 40 * time.Millisecond
	)
	s, st, _ := serveOn(t, testListener())
	var took time.Duration
	for try := range 5 {
		k := talkTo(t, s.Addrs()["test"])
		if err := k.nc.(*net.TCPConn).SetNoDelay(false); err != nil {
			t.Fatal(err)
		}
		k.expect("220 ")
		k.cmd("HELO client.example", "250 ")
		began := time.Now()
		for range messages {
			k.cmd("MAIL FROM:<a@example.com>", "250 ")
			k.cmd("RCPT TO:<b@example.net>", "250 ")
			k.cmd("DATA", "354 ")
			k.send("Subject: pieces", "")
			k.send("one", "two")
			k.send(".")
			k.expect("250 ")
		}
		took = time.Since(began)
		k.cmd("QUIT", "221 ")
		if n := len(st.all()); n != messages*(try+1) {
			t.Fatalf("%d messages", n)
		}
		if took < delayed/2 {
			return
		}
	}
	t.Errorf("%d messages took %v", messages, took)
}
