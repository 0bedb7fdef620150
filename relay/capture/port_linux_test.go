package capture_test

import (
	"os"
	"strings"
	"testing"

	"postern/config"
	"postern/relay/capture"
	"postern/relay/upstream/upstreamtest"
)

// sockets is how many sockets this process has.
func sockets(t *testing.T) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range list {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// The server has no port and no socket, so that nobody else can come.
func TestCaptureHasNoPort(t *testing.T) {
	before := sockets(t)
	server, dir := start(t, capture.Options{})
	conn, err := server.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	feed := upstreamtest.NewFeed()
	feed.Add(envelope("from@a.example", "to@b.example"), []byte("Subject: x\r\n\r\nx\r\n"))
	deliver(t, server, server.Upstream(&config.Upstream{Account: config.Account{Name: "x"}}), feed)
	if n := len(kept(t, dir)); n != 1 {
		t.Errorf("%d messages", n)
	}
	if after := sockets(t); after != before {
		t.Errorf("%d sockets more", after-before)
	}
}
