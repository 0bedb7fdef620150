//go:build unix

package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// TestSocketActivation: sockets that systemd made serve as listeners, and
// whoever connects while the daemon is away is served by the next one.
func TestSocketActivation(t *testing.T) {
	upstream := freeAddr(t)
	config := strings.Replace(ordinary("systemd:mail", upstream), "[upstream.office]",
		"[[listener]]\nname = \"local\"\naddress = \"systemd:local\"\n[upstream.office]", 1)
	h := newHarness(t, config)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	path := filepath.Join(h.dir, "smtp.sock")
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	listen, err := tcp.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer listen.Close()
	local, err := unix.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	h.sockets = []socket{{"local", local}, {"mail", listen}} // by name, not by order
	s := startSink(t, upstream)

	h.start()
	send(t, tcp.Addr().String(), "a@example.com", "by tcp")
	c := dialogue(t, "unix", path)
	command(t, c, 250, "EHLO a")
	command(t, c, 250, "MAIL FROM:<a@example.com>")
	command(t, c, 250, "RCPT TO:<b@example.com>")
	command(t, c, 354, "DATA")
	command(t, c, 250, "Subject: by unix\r\n\r\n.")
	command(t, c, 221, "QUIT")
	eventually(t, "both arrived", func() bool { return len(s.received()) == 2 })
	h.stop()

	// Nobody listens now but the socket itself: the connection waits.
	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		send(t, tcp.Addr().String(), "a@example.com", "while away")
	}()
	h.start()
	<-waiting
	eventually(t, "the third arrived", func() bool {
		return strings.Contains(strings.Join(s.received(), "\n"), "Subject: while away")
	})
	h.stop()
}
