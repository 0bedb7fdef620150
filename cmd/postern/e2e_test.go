//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/cmd/control"
)

// ordinary is a configuration with one listener and one upstream.
func ordinary(listen, upstream string) string {
	host, port, _ := net.SplitHostPort(upstream)
	return fmt.Sprintf(`hostname = "relay.example.com"
state_dir = "DIR"
[spool]
dir = "DIR/spool"
min_free = "1MiB"
[control]
socket = "DIR/control.sock"
[[listener]]
name = "mail"
address = %q
[upstream.office]
host = %q
port = %s
tls = "off"
connect_timeout = "2s"
[[route]]
from = ["*"]
upstream = ["office"]
[retry]
backoff = ["1s"]
`, listen, host, port)
}

func message(subject string) []byte {
	return []byte("From: <a@example.com>\r\nTo: <b@example.com>\r\nSubject: " + subject + "\r\n\r\nDear b.\r\n")
}

func send(t *testing.T, addr, from string, subject string) {
	t.Helper()
	if err := smtp.SendMail(addr, nil, from, []string{"b@example.com"}, message(subject)); err != nil {
		t.Fatal(err)
	}
}

// queued lists the queue as a program would.
func (h *harness) queued(args ...string) []control.Entry {
	h.t.Helper()
	var list []control.Entry
	out := h.must(append([]string{"queue", "list", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		h.t.Fatalf("%v:\n%s", err, out)
	}
	return list
}

func TestEmbeddedDefaultKeepsMailOnThisMachine(t *testing.T) {
	if !alone(t) {
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:2525")
	if err != nil {
		t.Skip("127.0.0.1:2525 is in use")
	}
	l.Close()
	if _, err := os.Stat("/etc/postern/postern.toml"); err == nil {
		t.Skip("this machine has a configuration of its own")
	}
	h := newHarness(t, "")
	h.start()
	send(t, "127.0.0.1:2525", "a@example.com", "kept")
	var found string
	eventually(t, "the mail lies in the Maildir", func() bool {
		files, _ := filepath.Glob(filepath.Join(h.dir, "postern", "capture", "new", "*"))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			found = string(b)
		}
		return strings.Contains(found, "Subject: kept")
	})
	if !strings.Contains("\n"+found, "\nReceived: from ") {
		t.Errorf("it has no Received field:\n%s", found)
	}
	if !strings.Contains(h.log.String(), "stays on this machine") {
		t.Error("the daemon did not say that mail stays on this machine")
	}
	if out := h.must("status", "--health"); out != "ok\n" {
		t.Errorf("status --health printed %q", out)
	}
	h.stop()
}

func TestMailSurvivesKillAndArrivesWhenTheUpstreamIsBack(t *testing.T) {
	listen, upstream := freeAddr(t), freeAddr(t)
	h := newHarness(t, ordinary(listen, upstream))
	h.start()
	const n = 20
	for i := range n {
		send(t, listen, "a@example.com", fmt.Sprintf("number %d.", i))
	}
	h.kill()
	s := startSink(t, upstream)
	h.start()
	eventually(t, "all mail arrived", func() bool { return len(s.received()) >= n })
	for i := range n {
		if !strings.Contains(strings.Join(s.received(), "\n"), fmt.Sprintf("Subject: number %d.", i)) {
			t.Errorf("message %d is lost", i)
		}
	}
	eventually(t, "the queue is empty", func() bool { return len(h.queued()) == 0 })
	h.stop()
}

// dialogue opens a connection and reads the banner.
func dialogue(t *testing.T, network, addr string) *textproto.Conn {
	t.Helper()
	c, err := net.DialTimeout(network, addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(waitLimit))
	conn := textproto.NewConn(c)
	t.Cleanup(func() { conn.Close() })
	expect(t, conn, 220)
	return conn
}

func expect(t *testing.T, c *textproto.Conn, code int) string {
	t.Helper()
	_, text, err := c.ReadResponse(code)
	if err != nil {
		t.Fatalf("wanted %d: %v", code, err)
	}
	return text
}

func command(t *testing.T, c *textproto.Conn, code int, line string) string {
	t.Helper()
	if err := c.PrintfLine("%s", line); err != nil {
		t.Fatal(err)
	}
	return expect(t, c, code)
}

func TestTermLetsDataFinishAndClosesIdleClients(t *testing.T) {
	listen := freeAddr(t)
	h := newHarness(t, ordinary(listen, freeAddr(t)))
	h.start()
	idle := dialogue(t, "tcp", listen)
	busy := dialogue(t, "tcp", listen)
	command(t, busy, 250, "EHLO client.example.com")
	command(t, busy, 250, "MAIL FROM:<a@example.com>")
	command(t, busy, 250, "RCPT TO:<b@example.com>")
	command(t, busy, 354, "DATA")
	if err := busy.PrintfLine("Subject: in the middle\r\n"); err != nil {
		t.Fatal(err)
	}
	h.signal(syscall.SIGTERM)
	h.noted("STOPPING=1")
	expect(t, idle, 421)
	if c, err := net.Dial("tcp", listen); err == nil {
		c.Close()
		t.Error("it still takes connections")
	}
	answer := command(t, busy, 250, "the end.\r\n.")
	if code := h.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	list := h.queued() // of the stopped spool
	if len(list) != 1 || !strings.Contains(answer, list[0].ID) {
		t.Fatalf("after %q the spool holds %+v", answer, list)
	}
	if body := h.must("queue", "cat", list[0].ID); !strings.Contains(body, "in the middle") || !strings.Contains(body, "the end.") {
		t.Errorf("its content is\n%s", body)
	}
	if out := h.must("queue", "show", list[0].ID); !strings.Contains(out, "No daemon runs") {
		t.Errorf("queue show does not say that no daemon runs:\n%s", out)
	}
	if r := h.do("queue", "hold", "--all"); r.code != exitUnavailable || !strings.Contains(r.stderr, "no daemon answers at") {
		t.Errorf("queue hold without a daemon: %+v", r)
	}
}

func TestSecondTermEndsItAtOnce(t *testing.T) {
	listen := freeAddr(t)
	h := newHarness(t, ordinary(listen, freeAddr(t)))
	h.start()
	busy := dialogue(t, "tcp", listen)
	command(t, busy, 250, "EHLO client.example.com")
	command(t, busy, 250, "MAIL FROM:<a@example.com>")
	command(t, busy, 250, "RCPT TO:<b@example.com>")
	command(t, busy, 354, "DATA")
	h.signal(syscall.SIGTERM)
	h.noted("STOPPING=1")
	h.signal(syscall.SIGTERM)
	if code := h.wait(); code != 0 || !strings.Contains(h.log.String(), `"in_order":false`) {
		t.Errorf("exit code %d", code)
	}
	if list := h.queued(); len(list) != 0 {
		t.Errorf("half a message was accepted: %+v", list)
	}
}

func TestReloadTakesTheWholeConfigurationOrNone(t *testing.T) {
	first, second := freeAddr(t), freeAddr(t)
	down, up := freeAddr(t), freeAddr(t)
	h := newHarness(t, ordinary(first, down))
	h.start()
	send(t, first, "a@example.com", "accepted before the reload")

	h.write(strings.Replace(ordinary(second, up), "[retry]", "[retry]\nlifetime = 5", 1))
	r := h.do("reload")
	if r.code != exitConfig || !strings.Contains(r.stderr, "retry.lifetime") || !strings.Contains(r.stderr, "the old one is kept") {
		t.Errorf("a wrong file: %+v", r)
	}
	send(t, first, "a@example.com", "accepted after the refusal")

	s := startSink(t, up)
	h.write(strings.Replace(ordinary(second, up), "DIR/spool", "DIR/elsewhere", 1))
	h.forget()
	h.signal(syscall.SIGHUP)
	h.noted("RELOADING=1")
	h.noted("READY=1")
	send(t, second, "a@example.com", "accepted after the reload")
	if c, err := net.Dial("tcp", first); err == nil {
		c.Close()
		t.Error("the old listener still listens")
	}
	// The edited upstream applies to what was queued before.
	eventually(t, "three messages arrived", func() bool { return len(s.received()) == 3 })
	r = h.do("reload")
	if r.code != 0 || !strings.Contains(r.stderr, "spool.dir") {
		t.Errorf("spool.dir changed, and reload says %+v", r)
	}
	h.stop()
}

// A file that is put into conf.d counts from the next reload on, and one that
// is wrong leaves everything as it was.
func TestReloadReadsFurtherFiles(t *testing.T) {
	first, second, up := freeAddr(t), freeAddr(t), freeAddr(t)
	s := startSink(t, up)
	h := newHarness(t, ordinary(first, up))
	h.start()
	folder := filepath.Join(filepath.Dir(h.config), "conf.d")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "second.toml")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("\n[retry]\nlifetime = \"2d\"\n")
	if r := h.do("reload"); r.code != exitConfig || !strings.Contains(r.stderr, file+":2: retry: this key or table stands in "+h.config) {
		t.Errorf("a table twice: %+v", r)
	}
	put("[[listener]]\naddress = \"" + second + "\"\n")
	if r := h.do("reload"); r.code != 0 {
		t.Errorf("reload: %+v", r)
	}
	send(t, second, "a@example.com", "by a listener of conf.d")
	eventually(t, "the message arrived", func() bool { return len(s.received()) == 1 })
	if r := h.do("check", "--file-only"); r.code != 0 || !strings.Contains(r.stdout, "postern.toml with 1 further file is good: 2 listeners") {
		t.Errorf("check: %+v", r)
	}
	h.stop()
}

// TestPlacesOfFurtherFiles: where conf.d says where the daemon is, and the main
// file nothing of it, every command finds it, and the spool when it has ended.
func TestPlacesOfFurtherFiles(t *testing.T) {
	listen := freeAddr(t)
	h := newHarness(t, "hostname = \"mx.example.com\"\n\n[[route]]\nfrom = [\"*\"]\nupstream = [\"office\"]\n")
	folder := filepath.Join(h.dir, "conf.d")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"10-places.toml":   "state_dir = \"DIR/elsewhere\"\n[spool]\ndir = \"DIR/spool\"\n[pickup]\ndir = \"off\"\n",
		"20-control.toml":  "[control]\nsocket = \"DIR/c.sock\"\nread_socket = \"DIR/r.sock\"\n[http]\nsocket = \"DIR/s.sock\"\n",
		"30-listener.toml": "[[listener]]\naddress = \"" + listen + "\"\n",
		"40-upstream.toml": "[upstream.office]\nhost = \"127.0.0.1\"\nport = 1\ntls = \"off\"\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(strings.ReplaceAll(text, "DIR", h.dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.start()
	send(t, listen, "a@example.com", "waits")
	list := h.queued()
	if len(list) != 1 {
		t.Fatalf("the queue: %+v", list)
	}
	for _, args := range [][]string{
		{"status"}, {"queue", "show", list[0].ID}, {"queue", "cat", list[0].ID}, {"queue", "hold", list[0].ID}, {"queue", "release", list[0].ID},
		{"upstream", "list"}, {"upstream", "pause", "office"}, {"upstream", "resume", "office"}, {"reload"}, {"check"},
	} {
		h.must(args...)
	}
	if _, err := os.Stat(filepath.Join(h.dir, "elsewhere")); err != nil {
		t.Errorf("the state: %v", err)
	}
	if r := h.do("doctor", "--json"); !strings.Contains(r.stdout, h.dir+"/c.sock") || strings.Contains(r.stdout, "/run/postern") || strings.Contains(r.stdout, "/var/lib/postern") {
		t.Errorf("doctor looked elsewhere: %+v", r)
	}
	h.stop()
	if list := h.queued(); len(list) != 1 {
		t.Errorf("without the daemon: %+v", list)
	}
}

func TestMisconfiguredStartSaysEverythingAtOnce(t *testing.T) {
	h := newHarness(t, "[spool]\ndirr = \"x\"\n[retry]\nlifetime = 5\n")
	for _, cmd := range []string{"serve", "check"} {
		r := h.do(cmd)
		if r.code != exitConfig {
			t.Errorf("%s: exit code %d", cmd, r.code)
		}
		for _, want := range []string{h.config + ":2", "spool.dirr", h.config + ":4", "retry.lifetime"} {
			if !strings.Contains(r.stderr, want) {
				t.Errorf("%s does not say %q:\n%s", cmd, want, r.stderr)
			}
		}
	}
}

func TestLockedSpoolStopsTheStartWithASentence(t *testing.T) {
	h := newHarness(t, ordinary(freeAddr(t), freeAddr(t)))
	h.start()
	// The same spool from another configuration, with a socket of its own.
	other := newHarness(t, strings.ReplaceAll(ordinary(freeAddr(t), freeAddr(t)), "DIR/spool", h.dir+"/spool"))
	r := other.do("serve")
	if r.code != exitTempFail || !strings.Contains(r.stderr, h.dir+"/spool") || !strings.Contains(r.stderr, "another") {
		t.Errorf("a locked spool: %+v", r)
	}
	told := 0
	for line := range strings.Lines(r.stderr) { // nobody looks at a terminal: the log is JSON
		var event struct {
			Event, Level, Text string
			ExitCode           int `json:"exit_code"`
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Errorf("%v: %s", err, line)
		}
		if event.Event == "start-failed" && event.Level == "error" && event.ExitCode == exitTempFail && strings.Contains(event.Text, h.dir+"/spool") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("told %d times: %s", told, r.stderr)
	}
	other.write("log.format = \"console\"\n" + strings.ReplaceAll(ordinary(freeAddr(t), freeAddr(t)), "DIR/spool", h.dir+"/spool"))
	if r := other.do("serve"); r.code != exitTempFail || !strings.Contains(r.stderr, "\npostern: spool folder ") || strings.Contains(r.stderr, "start-failed") {
		t.Errorf("a locked spool, in words: %+v", r)
	}
	// The same configuration twice: whatever is noticed first is said.
	if r := h.do("serve"); r.code != exitTempFail && r.code != exitUnavailable {
		t.Errorf("a second daemon: %+v", r)
	}
	h.stop()
}

func TestSharedStateFolderStopsTheStartWithASentence(t *testing.T) {
	h := newHarness(t, ordinary(freeAddr(t), freeAddr(t)))
	h.start()
	other := newHarness(t, strings.Replace(ordinary(freeAddr(t), freeAddr(t)), `"DIR"`, `"`+h.dir+`"`, 1))
	r := other.do("serve")
	want := fmt.Sprintf("state_dir %s is held by process ", h.dir)
	if r.code != exitTempFail || !strings.Contains(r.stderr, want) {
		t.Errorf("a state folder of another: %+v", r)
	}
	if r := other.do("check"); runtime.GOOS == "linux" && (r.code == exitOK || !strings.Contains(r.stderr, want)) {
		t.Errorf("check: %+v", r)
	}
	if r := h.do("check"); r.code != exitOK {
		t.Errorf("check beside the daemon: %+v", r)
	}
	h.stop()
	if r := other.do("check"); r.code != exitOK {
		t.Errorf("check after the other has stopped: %+v", r)
	}
}

func TestQueueCommandsAgainstALiveDaemon(t *testing.T) {
	listen, upstream := freeAddr(t), freeAddr(t)
	h := newHarness(t, strings.Replace(ordinary(listen, upstream), `["1s"]`, `["1h"]`, 1))
	h.start()
	for _, from := range []string{"kept@example.com", "removed@example.com", "bounced@example.com"} {
		send(t, listen, from, "from "+from)
	}
	eventually(t, "the first was tried", func() bool { return len(h.queued("--deferred")) > 0 })
	if n := len(h.queued()); n != 3 {
		t.Fatalf("%d are queued", n)
	}
	id := func(from string) string {
		list := h.queued("--from", from)
		if len(list) != 1 {
			t.Fatalf("from %s: %+v", from, list)
		}
		return list[0].ID
	}
	if out := h.must("queue", "show", id("kept@")); !strings.Contains(out, "<b@example.com>") || !strings.Contains(out, "why") {
		t.Errorf("queue show printed\n%s", out)
	}
	if out := h.must("queue", "cat", id("kept@")); !strings.Contains(out, "Subject: from kept@example.com\r\n") {
		t.Errorf("queue cat printed %q", out)
	}
	h.must("queue", "hold", id("kept@"))
	if list := h.queued("--held"); len(list) != 1 || list[0].From != "kept@example.com" {
		t.Errorf("held: %+v", list)
	}
	removed := id("removed@")
	h.must("queue", "remove", removed)
	if r := h.do("queue", "show", removed); r.code != exitData || !strings.Contains(r.stderr, removed) {
		t.Errorf("show of a removed message: %+v", r)
	}
	h.must("queue", "bounce", "--from", "bounced@")
	eventually(t, "the bounce is queued", func() bool {
		list := h.queued("--from", "<>")
		return len(list) == 1 && list[0].To[0] == "bounced@example.com"
	})
	if r := h.do("queue", "remove"); r.code != exitUsage {
		t.Errorf("remove without a selection: %+v", r)
	}
	s := startSink(t, upstream)
	h.must("queue", "retry", "--all")
	eventually(t, "the bounce arrived", func() bool { return len(s.received()) == 1 })
	h.must("queue", "release", "--held")
	h.must("queue", "retry", "--upstream", "office")
	eventually(t, "the released one arrived", func() bool { return len(s.received()) == 2 })
	eventually(t, "the queue is empty", func() bool { return len(h.queued()) == 0 })

	h.must("upstream", "pause", "office")
	if out := h.must("upstream", "list"); !strings.Contains(out, "paused") {
		t.Errorf("upstream list printed\n%s", out)
	}
	send(t, listen, "a@example.com", "waits")
	h.must("upstream", "resume", "office")
	eventually(t, "the paused one arrived", func() bool { return len(s.received()) == 3 })
	if r := h.do("upstream", "pause", "nobody"); r.code != exitData {
		t.Errorf("pause of an unknown upstream: %+v", r)
	}
	var st control.Status
	if err := json.Unmarshal([]byte(h.must("status", "--json")), &st); err != nil || st.PID != h.cmd.Process.Pid {
		t.Errorf("status --json: %v, %+v", err, st)
	}
	h.stop()
}

func TestUnixSocketRoutesByItsPeer(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	upstream := freeAddr(t)
	config := ordinary("unix:DIR/smtp.sock", upstream)
	h := newHarness(t, strings.Replace(config, `from = ["*"]`, fmt.Sprintf("from = [\"*\"]\nunix_user = [%q]", me.Username), 1))
	s := startSink(t, upstream)
	h.start()
	c := dialogue(t, "unix", filepath.Join(h.dir, "smtp.sock"))
	command(t, c, 250, "EHLO client.example.com")
	command(t, c, 250, "MAIL FROM:<a@example.com>")
	command(t, c, 250, "RCPT TO:<b@example.com>")
	command(t, c, 354, "DATA")
	command(t, c, 250, "Subject: by peer\r\n\r\nbody\r\n.")
	command(t, c, 221, "QUIT")
	eventually(t, "it arrived", func() bool { return len(s.received()) == 1 })

	r := h.do("explain", "--from", "a@example.com", "--to", "b@example.com", "--unix-user", "somebody-else")
	if r.code != exitData || !strings.Contains(r.stdout, "550") {
		t.Errorf("explain for another user: %+v", r)
	}
	h.stop()
}
