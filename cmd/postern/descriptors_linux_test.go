package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/textproto"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// With 128 open files, strangers who take every place at the listener and the
// metrics, some within a large message, leave enough for an operator and for
// mail.
func TestStrangersLeaveDescriptors(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("another client is another user, which needs root")
	}
	listen, scrapes := freeAddr(t), freeAddr(t)
	h := newHarness(t, strings.Replace(ordinary(listen, freeAddr(t)), "[control]\n", "[control]\nmetrics = \""+scrapes+"\"\n", 1))
	h.limit = 128
	h.start()
	for _, command := range []string{"doctor", "check", "reload"} {
		if r := h.do(command); !strings.Contains(r.stdout+r.stderr, "of 128 open files") || !strings.Contains(r.stdout+r.stderr, "LimitNOFILE=") {
			t.Errorf("%s says nothing of the limit:\n%s%s", command, r.stdout, r.stderr)
		}
	}
	var strangers []net.Conn
	for i := range 300 {
		at := listen
		if i%2 == 1 {
			at = scrapes
		}
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		strangers = append(strangers, c)
	}
	for i := 0; i < len(strangers); i += 2 {
		go breakOff(strangers[i])
	}
	for range 5 {
		time.Sleep(300 * time.Millisecond)
		h.must("status")
		submitAs(t, 65534, listen)
		open, err := os.ReadDir("/proc/" + strconv.Itoa(h.cmd.Process.Pid) + "/fd")
		if err != nil {
			t.Fatal(err)
		}
		bodies, err := os.ReadDir(h.dir + "/spool/big")
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d open files, %d large messages", len(open), len(bodies))
	}
	if got := len(h.queued()); got != 5 {
		t.Errorf("%d messages are queued", got)
	}
	log := h.log.String()
	if strings.Contains(log, `"accept-failed"`) || strings.Contains(log, "too many open files") {
		t.Error("descriptors ran out")
	}
	if !strings.Contains(log, "of 128 open files") {
		t.Error("the start did not warn")
	}
}

// breakOff begins a large message and does not end it. Whoever is sent away
// stays away.
func breakOff(c net.Conn) {
	c.SetDeadline(time.Now().Add(waitLimit))
	in := bufio.NewReader(c)
	for _, line := range []string{"HELO x", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA"} {
		if _, err := in.ReadString('\n'); err != nil {
			return
		}
		io.WriteString(c, line+"\r\n")
	}
	if _, err := in.ReadString('\n'); err == nil {
		c.Write(bytes.Repeat([]byte("x\r\n"), 200_000))
	}
}

// dialAs connects as another user: the kernel tells whose a socket is by the
// file system user of the thread that makes it.
func dialAs(t *testing.T, uid int, to string) net.Conn {
	t.Helper()
	var conn net.Conn
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with its user
		if err = unix.Setfsuid(uid); err == nil {
			conn, err = net.DialTimeout("tcp", to, waitLimit)
		}
	}()
	if <-done; err != nil {
		t.Fatal(err)
	}
	return conn
}

// submitAs hands in a message as another user.
func submitAs(t *testing.T, uid int, to string) {
	t.Helper()
	conn := dialAs(t, uid, to)
	conn.SetDeadline(time.Now().Add(waitLimit))
	c := textproto.NewConn(conn)
	defer c.Close()
	expect(t, c, 220)
	command(t, c, 250, "HELO other.example")
	command(t, c, 250, "MAIL FROM:<c@example.com>")
	command(t, c, 250, "RCPT TO:<d@example.com>")
	command(t, c, 354, "DATA")
	command(t, c, 250, "Subject: x\r\n\r\ntext\r\n.")
}
