//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Nobody reads the log, which is a pipe, and nobody reads what systemd would be
// told: mail, control, reload and stop go on as ever, and health says what is
// missing.
func TestNothingBesideMailHoldsItUp(t *testing.T) {
	listen, up := freeAddr(t), freeAddr(t)
	sink := startSink(t, up)
	h := newHarness(t, strings.Replace(ordinary(listen, up), `level = "debug"`, `level = "info"`, 1))
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	full := filepath.Join(h.dir, "full")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: full, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	fill(t, full)

	h.cmd = h.command(context.Background(), "serve")
	h.cmd.Env = append(h.cmd.Env, "NOTIFY_SOCKET="+full)
	h.cmd.Stdout, h.cmd.Stderr = write, write
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	exited, cmd := make(chan struct{}), h.cmd
	h.exited = exited
	go func() {
		cmd.Wait()
		close(exited)
	}()
	eventually(t, "the relay listens", func() bool {
		c, err := net.Dial("tcp", listen)
		if err == nil {
			c.Close()
		}
		return err == nil
	})

	const clients, each = 10, 300
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			c, err := smtp.Dial(listen)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for i := range each {
				if err := sendOver(c, fmt.Sprintf("message %d", i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	eventually(t, "all of it has arrived", func() bool { return len(sink.received()) == clients*each })
	eventually(t, "health tells of the log", func() bool {
		r := h.do("status", "--health")
		return r.code != 0 && strings.Contains(r.stdout+r.stderr, "nobody has taken the lines of the log")
	})
	if r := h.do("reload"); r.code != 0 {
		t.Errorf("reload: %+v", r)
	}
	began := time.Now()
	h.signal(syscall.SIGTERM)
	if code := h.wait(); code != 0 || time.Since(began) > 10*time.Second {
		t.Errorf("it stopped after %s with %d", time.Since(began), code)
	}
}

// sendOver sends a message over a connection that stays open.
func sendOver(c *smtp.Client, subject string) error {
	if err := c.Mail("a@app.example"); err != nil {
		return err
	}
	if err := c.Rcpt("b@example.com"); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(message(subject)); err != nil {
		return err
	}
	return w.Close()
}

// fill sends datagrams to a socket until it takes no more.
func fill(t *testing.T, path string) {
	t.Helper()
	c, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 10_000 {
		c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.Write([]byte("STATUS=full")); err != nil {
			return
		}
	}
	t.Fatal("the socket takes everything")
}

// The log is a file on a disk that is full: mail goes on, and when there is
// room again the log says what is missing.
func TestLogOnAFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	defer full.Close()
	listen, up := freeAddr(t), freeAddr(t)
	sink := startSink(t, up)
	h := newHarness(t, ordinary(listen, up))
	h.cmd = h.command(context.Background(), "serve")
	h.cmd.Stderr = full
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited, cmd := make(chan struct{}), h.cmd
	h.exited = exited
	go func() {
		cmd.Wait()
		close(exited)
	}()
	eventually(t, "a message has arrived", func() bool {
		c, err := smtp.Dial(listen)
		if err != nil {
			return false
		}
		defer c.Close()
		sendOver(c, "hello")
		return len(sink.received()) > 0
	})
	if r := h.do("status", "--health"); r.code == 0 {
		t.Errorf("health: %+v", r)
	}
	h.signal(syscall.SIGTERM)
	if code := h.wait(); code != 0 {
		t.Errorf("it stopped with %d", code)
	}
}
