//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// folder holds the binary that the tests run.
var folder string

// TestMain gives the tests a mount namespace of their own, where it may.
func TestMain(m *testing.M) {
	if os.Geteuid() == 0 && os.Getenv(inNamespace) == "" {
		if code, err := inOwnNamespace(context.Background(), os.Args[1:]); err == nil {
			os.Exit(code)
		}
	}
	// The tests wait for other processes more than they work.
	flag.Parse()
	if at := flag.Lookup("test.parallel"); at.Value.String() == at.DefValue {
		flag.Set(at.Name, strconv.Itoa(max(6, runtime.GOMAXPROCS(0))))
	}
	var err error
	if folder, err = os.MkdirTemp("", "prove"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

// built is the program as it is released. In the short form it is the one of
// this machine: for the other a cold cache compiles everything once more.
var built = sync.OnceValues(func() (string, error) {
	var env []string
	if long() {
		env = append(env, static)
	}
	return build(context.Background(), folder, "postern", env...)
})

func postern(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// need skips a test where a program is missing, and fails it where it is
// required.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing(t, fmt.Sprintf("%s is not installed", p))
		}
	}
}

// needRoot does the same where the test can't have its own mounts.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 || os.Getenv(inNamespace) == "" {
		t.Skip("this needs root, to mount a file system of its own")
	}
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("POSTERN_REQUIRE_INTEROP") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// harness is a daemon with an upstream, and the books of both.
type harness struct {
	*daemon
	t     *testing.T
	books *books
	sink  *sink
}

// newHarness makes a harness with its spool below disk, or in a folder of its own.
func newHarness(t *testing.T, disk string) *harness {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the real binary for some seconds")
	}
	dir, err := os.MkdirTemp("", "pst")
	if err != nil {
		t.Fatal(err)
	}
	if disk == "" {
		disk = dir
	}
	h := &harness{t: t, books: newBooks()}
	if h.sink, err = startSink(h.books); err != nil {
		t.Fatal(err)
	}
	if h.daemon, err = newDaemon(postern(t), dir, disk, h.sink.addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if h.running() {
			h.kill()
		}
		h.sink.close()
		if t.Failed() {
			t.Logf("the end of the log:\n%s", tail(h.logged(), 4000))
		}
		os.RemoveAll(dir)
	})
	return h
}

func (h *harness) running() bool { return h.cmd != nil && h.cmd.ProcessState == nil }

func (h *harness) logged() string {
	b, _ := os.ReadFile(h.log)
	return string(b)
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// edit changes the configuration.
func (h *harness) edit(old, changed string) {
	h.t.Helper()
	b, err := os.ReadFile(h.config())
	if err != nil || !strings.Contains(string(b), old) {
		h.t.Fatalf("%q is not in the configuration: %v", old, err)
	}
	if err := os.WriteFile(h.config(), []byte(strings.Replace(string(b), old, changed, 1)), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// up starts the daemon.
func (h *harness) up() {
	h.t.Helper()
	if err := h.start(context.Background()); err != nil {
		h.t.Fatalf("%v\n%s", err, tail(h.logged(), 2000))
	}
}

// settled waits until everything promised has arrived and draws the balance.
func (h *harness) settled() balance {
	h.t.Helper()
	if err := waitEmpty(h.t.Context(), h.books, stallLimit, time.Minute); err != nil {
		h.t.Error(err)
	}
	doubt, err := h.inDoubt()
	if err != nil {
		h.t.Fatal(err)
	}
	r := h.books.close(doubt)
	if err := r.verdict(); err != nil {
		h.t.Error(err)
	}
	return r
}

// client is a connection on which every answer is kept.
type client struct {
	*textproto.Conn
	t    *testing.T
	h    *harness
	name string
	sent int
	gone bool // the daemon has closed the connection
}

func (h *harness) dial(name string) *client {
	h.t.Helper()
	c, err := net.DialTimeout("tcp", h.addr, 5*time.Second)
	if err != nil {
		h.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(3 * time.Minute))
	k := &client{Conn: textproto.NewConn(c), t: h.t, h: h, name: name}
	h.t.Cleanup(func() { k.Close() })
	k.expect(220)
	k.say("EHLO client.example", 250)
	return k
}

func (k *client) expect(code int) string {
	k.t.Helper()
	_, text, err := k.ReadResponse(code)
	if err != nil {
		k.t.Fatalf("%s: wanted %d: %v", k.name, code, err)
	}
	return text
}

func (k *client) say(line string, code int) string {
	k.t.Helper()
	if err := k.PrintfLine("%s", line); err != nil {
		k.t.Fatal(err)
	}
	return k.expect(code)
}

// send sends one message and returns what came of it: "" where it was
// promised, otherwise the first answer that refused it.
func (k *client) send(size int) string {
	k.t.Helper()
	k.sent++
	number := fmt.Sprintf("%s-%d", k.name, k.sent)
	body := []byte(strings.Repeat("a line of ordinary text, and nothing else.\r\n", size/44+1))
	k.h.books.sent(number, digest(body))
	for _, step := range []struct {
		line string
		code int
	}{{"MAIL FROM:<a@client.example>", 250}, {"RCPT TO:<b@sink.example>", 250}, {"DATA", 354}} {
		k.PrintfLine("%s", step.line)
		if _, _, err := k.ReadResponse(step.code); err != nil {
			return k.refused(err)
		}
	}
	w := k.DotWriter()
	fmt.Fprintf(w, "From: <a@client.example>\r\nSubject: proof\r\nX-Number: %s\r\n\r\n%s", number, body)
	w.Close()
	_, text, err := k.ReadResponse(250)
	if err != nil {
		return k.refused(err)
	}
	k.h.books.promised(number, text[strings.LastIndexByte(text, ' ')+1:])
	return ""
}

func (k *client) refused(err error) string {
	k.t.Helper()
	e, ok := err.(*textproto.Error)
	if !ok {
		k.t.Fatalf("%s: %v", k.name, err)
	}
	k.PrintfLine("RSET")
	if _, _, err := k.ReadResponse(250); err != nil {
		k.gone = true // a client that only asks and asks is sent away: 421
	}
	return fmt.Sprintf("%d %s", e.Code, e.Msg)
}

// mounted mounts a file system for the time of the test and returns where.
func mounted(t *testing.T, fs, device, options string) string {
	t.Helper()
	needRoot(t)
	dir, err := os.MkdirTemp("", "mnt")
	if err != nil {
		t.Fatal(err)
	}
	if err := command(t.Context(), "mount", "-t", fs, "-o", options, device, dir); err != nil {
		missing(t, err.Error())
	}
	t.Cleanup(func() {
		command(context.Background(), "umount", "-l", dir)
		os.Remove(dir)
	})
	return dir
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if holds() {
			return
		}
		time.Sleep(20 * time.Millisecond) // another process is waited for
	}
	t.Fatalf("it did not come about: %s", what)
}
