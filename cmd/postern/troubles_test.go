//go:build linux

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"net/smtp"

	"postern/relay/upstream/upstreamtest"
)

// staged is a trouble that the test makes, and when it was told of it.
type staged struct {
	kind   string
	by     string // how it is made
	made   time.Time
	told   time.Time
	times  int
	labels map[string]string
	notes  map[string]string
}

// stagedOnes are all of them, with the Alertmanager that is told.
type stagedOnes struct {
	mu    sync.Mutex
	all   []*staged
	early map[string]*staged // by kind: told of between what made it and make
}

// make notes that a trouble was made a moment ago.
func (s *stagedOnes) make(kind, by string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := &staged{kind: kind}
	if e := s.early[kind]; e != nil && time.Since(e.told) < 10*time.Second {
		one = e
	}
	one.by, one.made = by, time.Now()
	s.all = append(s.all, one)
}

// ServeHTTP is API v2 of an Alertmanager.
func (s *stagedOnes) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var list []struct {
		Labels, Annotations map[string]string
		EndsAt              time.Time
	}
	if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range list {
		known := func(one *staged) bool { return one.kind == a.Labels["kind"] }
		if a.EndsAt.IsZero() && !slices.ContainsFunc(s.all, known) {
			if s.early == nil {
				s.early = map[string]*staged{}
			}
			s.early[a.Labels["kind"]] = &staged{kind: a.Labels["kind"], told: time.Now(), times: 1, labels: a.Labels, notes: a.Annotations}
		}
		for _, one := range s.all {
			if one.kind != a.Labels["kind"] || !a.EndsAt.IsZero() || !one.told.IsZero() && time.Since(one.told) > 50*time.Second {
				continue // over, or told again as an Alertmanager is each minute
			}
			if one.times++; one.times == 1 {
				one.told, one.labels, one.notes = time.Now(), a.Labels, a.Annotations
			} else if a.Labels["subject"] != one.labels["subject"] || a.Labels["severity"] != one.labels["severity"] {
				one.times-- // another of its kind, or it got worse
			}
			break
		}
	}
}

// untold are those of which it was not told yet.
func (s *stagedOnes) untold() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if one.told.IsZero() {
			list = append(list, one.kind)
		}
	}
	return list
}

// answering is an upstream that answers commands as it is told, and takes what it
// is told nothing of.
func answering(t *testing.T, addr string, answers map[string]string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answer1(c, answers)
		}
	}()
}

func answer1(c net.Conn, answers map[string]string) {
	defer c.Close()
	fmt.Fprint(c, "220 fake.test ESMTP\r\n")
	in := bufio.NewScanner(c)
	in.Buffer(nil, 1<<20)
	for body := false; in.Scan(); {
		verb, _, _ := strings.Cut(strings.ToUpper(in.Text()), " ")
		switch {
		case body && in.Text() != ".":
			continue
		case body:
			body, verb = false, "."
		}
		reply := cmp.Or(answers[verb], map[string]string{"EHLO": "250-fake.test\r\n250-AUTH PLAIN\r\n250 ENHANCEDSTATUSCODES", "DATA": "354 go on", "QUIT": "221 bye"}[verb], "250 2.0.0 ok")
		if body = verb == "DATA" && strings.HasPrefix(reply, "354"); verb == "QUIT" {
			fmt.Fprint(c, reply+"\r\n")
			return
		}
		fmt.Fprint(c, reply+"\r\n")
	}
}

// troubled is the configuration: one upstream for each way to fail.
func (h *harness) troubled(addrs map[string]string, listen, manager string, gone bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, `hostname = "relay.example.com"
state_dir = "DIR"
[spool]
dir = "DIR/spool"
min_free = "20MiB"
[control]
socket = "DIR/control.sock"
health_max_age = "1s"
[[listener]]
name = "mail"
address = %q
[[listener]]
name = "ends"
address = "unix:DIR/tls.sock"
tls = "starttls"
cert_file = "DIR/cert.pem"
key_file = "DIR/key.pem"
[log]
level = "debug"
[retry]
backoff = ["1s"]
[storm]
messages = 3
per = "5m"
[[alert]]
name = "manager"
alertmanager = %q
after = "0"
[[alert]]
name = "notes"
command = "cat >>DIR/told"
[[alert]]
name = "broken"
command = "exit 1"
after = "0"
[upstream.token]
host = "127.0.0.1"
tls = "off"
auth = "xoauth2"
username = "a@example.com"
[upstream.token.oauth]
provider = "microsoft365"
tenant = "example.com"
flow = "client_credentials"
client_id = "1"
client_secret_file = "DIR/secret"
client_secret_ends = %s
`, listen, manager, time.Now().Add(5*24*time.Hour).Format(time.DateOnly))
	for _, name := range []string{"parked", "down", "slow", "sender", "rated", "refusing", "good", "gone"} {
		if name == "gone" && !gone {
			continue
		}
		host, port, _ := net.SplitHostPort(addrs[name])
		fmt.Fprintf(&b, "[upstream.%s]\nhost = %q\nport = %s\ntls = \"off\"\nconnect_timeout = \"2s\"\n%s[[route]]\nname = %q\nfrom = [\"%s@example.com\"]\nupstream = [%q]\n",
			name, host, port, map[string]string{
				"parked": "auth = \"plain\"\nusername = \"app\"\npassword_file = \"DIR/secret\"\n",
				"rated":  "rate = \"1/1h\"\n",
			}[name], name, name, name)
	}
	b.WriteString("[[route]]\nname = \"backups\"\nfrom = [\"backup@example.com\"]\nupstream = [\"good\"]\nexpect = \"1s\"\n")
	b.WriteString("[[route]]\nfrom = [\"token@example.com\"]\nupstream = [\"token\"]\n[[route]]\nfrom = [\"<>\"]\nupstream = [\"refusing\"]\n")
	return b.String()
}

// TestTroubles stages eighteen troubles with the real program. Of each somebody
// is told once and soon, in words that name a command which works.
func TestTroubles(t *testing.T) {
	t.Parallel() // it waits, most of the time
	h := newHarness(t, "placeholder")
	spool := filepath.Join(h.dir, "spool")
	if err := syscall.Mount("tmpfs", spool, "tmpfs", 0, "size=96m,mode=0700"); err != nil {
		t.Skipf("no tmpfs can be mounted (needs root): %v", err)
	}
	t.Cleanup(func() { h.kill(); syscall.Unmount(spool, syscall.MNT_DETACH) })
	s := &stagedOnes{}
	manager := httptest.NewServer(s)
	defer manager.Close()
	listen, addrs := freeAddr(t), map[string]string{}
	for name, answers := range map[string]map[string]string{
		"parked":   {"AUTH": "535 5.7.8 Username and Password not accepted"},
		"slow":     {"MAIL": "454 4.7.0 Throttling failure: Maximum sending rate exceeded."},
		"sender":   {"MAIL": "550 5.7.60 SMTP; Client does not have permissions to send as this sender"},
		"refusing": {"RCPT": "550 5.1.1 no such user"},
		"rated":    {}, "good": {}, "down": nil, "gone": nil,
	} {
		if addrs[name] = freeAddr(t); answers != nil {
			answering(t, addrs[name], answers)
		}
	}
	ca := upstreamtest.NewAuthority(t)
	cert, key := upstreamtest.WritePair(t, h.dir, "soon", ca.IssueUntil(t, time.Now().Add(10*24*time.Hour), "relay.example.com"))
	os.Rename(cert, filepath.Join(h.dir, "cert.pem"))
	os.Rename(key, filepath.Join(h.dir, "key.pem"))
	if err := os.WriteFile(filepath.Join(h.dir, "secret"), []byte("hunter2hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mail := func(from, subject, fields string) {
		t.Helper()
		text := fmt.Sprintf("From: %s\r\nTo: b@example.net\r\nSubject: %s\r\n%s\r\nhello\r\n", from, subject, fields)
		if err := smtp.SendMail(listen, nil, from, []string{"b@example.net"}, []byte(text)); err != nil && fields == "" {
			t.Fatal(err)
		}
	}

	h.write(h.troubled(addrs, listen, manager.URL, true))
	s.make("certificate-ends", "a certificate of a listener that ends in 10 days")
	s.make("client-secret-ends", "`client_secret_ends` in 5 days")
	h.start()
	if os.Getenv("POSTERN_LONG") != "" { // the second attempt comes ten seconds after the first
		s.make("alert-failed", "a command that ends with 1")
	}
	s.make("route-silent", "a route with `expect = \"1s\"` and no mail")
	for _, c := range []struct{ kind, from, by string }{
		{"upstream-parked", "parked", "535 5.7.8 to AUTH"}, {"upstream-down", "down", "nobody listens"},
		{"upstream-slowed", "slow", "454 4.7.0 Throttling failure to MAIL"}, {"sender-refused", "sender", "550 5.7.60 to MAIL"},
		{"rate-used-up", "rated", "`rate = \"1/1h\"`, two messages, `health_max_age = \"1s\"`"}, {"bounce-kept", "refusing", "550 5.1.1 to the message and its bounce"},
	} {
		s.make(c.kind, c.by)
		mail(c.from+"@example.com", "first", "")
	}
	mail("rated@example.com", "second", "")
	s.make("mail-late", "mail for an upstream that is away, `health_max_age = \"1s\"`")
	mail("gone@example.com", "left behind", "")
	s.make("mail-loop", "a message with 51 Received fields")
	mail("good@example.com", "round", strings.Repeat("Received: from a by b; Mon, 01 Jan 2001 07:40:00 +0000\r\n", 51))
	for i := range 6 {
		mail("good@example.com", fmt.Sprintf("Job %d failed", i), "")
	}
	s.make("storm", "six messages that are alike, `messages = 3`")
	h.write(h.troubled(addrs, listen, manager.URL, false))
	h.must("reload")
	s.make("upstream-missing", "an upstream with mail that a reload removes")
	h.write(h.troubled(addrs, listen, manager.URL, false) + "[[nonsense]]\n")
	if r := h.do("reload"); r.code != exitConfig {
		t.Errorf("%+v", r)
	}
	s.make("reload-refused", "a reload with a table that is not known")

	h.log.mu.Lock() // nobody takes the log any more
	heard := sync.OnceFunc(h.log.mu.Unlock)
	t.Cleanup(heard)
	s.make("log-dropped", "nobody reads standard error")
	for i := range 60 {
		mail("good@example.com", strings.Repeat("x", 5)+" "+strings.Repeat("abcdefghij", i+1), "")
	}
	s.make("disk-space", "a file system that is filled up")
	fill, err := os.Create(filepath.Join(spool, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.CopyN(fill, zeros{}, 200<<20)
	fill.Close()
	if err == nil {
		t.Error("the disk takes everything")
	}
	s.make("spool-full", "a message for a full disk")
	n := 0
	eventually(t, "mail is refused", func() bool { // the disk is asked each second
		n++ // to the same one it would be a storm
		err := smtp.SendMail(listen, nil, "good@example.com", []string{fmt.Sprintf("b%d@example.net", n)}, message("too late"))
		return err != nil && strings.Contains(err.Error(), "452")
	})
	for end := time.Now().Add(waitLimit); len(s.untold()) > 0 && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond) // another process is waited for
	}
	h.write(h.troubled(addrs, listen, manager.URL, false)) // for the commands
	if os.Getenv("POSTERN_LONG") != "" {                   // to a person, after two minutes and in as few messages as can be
		for end := s.all[len(s.all)-1].made.Add(5 * time.Minute); time.Now().Before(end) && len(h.unheard(s)) > 0; {
			time.Sleep(time.Second)
		}
		t.Logf("a command was told of all after %v", time.Since(s.all[len(s.all)-1].made).Round(time.Second))
		for _, kind := range h.unheard(s) {
			t.Errorf("a command was not told of %s", kind)
		}
		for _, one := range s.all {
			if n := h.count(one.kind); n > 1 && one.kind != "upstream-down" { // which the slowed one is in the end
				t.Errorf("%s was told %d times to a command", one.kind, n)
			}
		}
	}
	h.judge(s)
	heard()
}

// unheard are the kinds of which a command was not told. An upstream that is
// slowed for less than its two minutes is none of them.
func (h *harness) unheard(s *stagedOnes) (kinds []string) {
	for _, one := range s.all {
		if one.kind != "upstream-slowed" && h.count(one.kind) == 0 {
			kinds = append(kinds, one.kind)
		}
	}
	return kinds
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// judge says what was told when, and that each command works.
func (h *harness) judge(s *stagedOnes) {
	t := h.t
	s.mu.Lock()
	all := slices.Clone(s.all)
	s.mu.Unlock()
	bin, _ := binary()
	folder := filepath.Join(h.dir, "bin")
	os.Mkdir(folder, 0o755)
	script := fmt.Sprintf("#!/bin/sh\nexec %s \"$@\" --config %s\n", bin, h.config)
	if err := os.WriteFile(filepath.Join(folder, "postern"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(all, func(a, b *staged) int { return strings.Compare(a.kind, b.kind) })
	for _, one := range all {
		if one.told.IsZero() {
			t.Errorf("nobody was told: %s", one.kind)
			continue
		}
		took := one.told.Sub(one.made).Round(100 * time.Millisecond)
		t.Logf("| `%s` | %s | %.1f s |", one.kind, one.by, took.Seconds())
		if one.times != 1 || took > 5*time.Minute {
			t.Errorf("%s was told %d times, after %v", one.kind, one.times, took)
		}
		n := one.notes
		t.Logf("%s %s\n  waiting  %s\n  it said  %s\n  meaning  %s\n  to do    %s\n  command  %s", one.labels["severity"], n["summary"], n["waiting"], n["words"], n["meaning"], n["remedy"], n["command"])
		if n["command"] == "" || n["remedy"] == "" {
			t.Errorf("%s says not what to do: %v", one.kind, n)
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
		cmd := exec.CommandContext(ctx, "sh", "-c", n["command"])
		cmd.Env = append(os.Environ(), "PATH="+folder+":"+os.Getenv("PATH"))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.Run()
		cancel()
		code := cmd.ProcessState.ExitCode()
		t.Logf("$ %s → %d\n%s", n["command"], code, clip(out.String()))
		if own := strings.HasPrefix(n["command"], "postern "); own && (code == exitUsage || code < 0) || code == 127 && own {
			t.Errorf("%s: the command %q does not work: %d\n%s", one.kind, n["command"], code, out.String())
		}
	}
}

func clip(s string) string { return s[:min(len(s), 1200)] }
