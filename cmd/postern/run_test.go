package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/cmd/control"
	"postern/config"
	"postern/queue"
	"postern/queue/budget"
	"postern/queue/verdict"
	"postern/relay/oauth"
	"postern/relay/passwd"
	"postern/spool"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares what a command printed with testdata/NAME.golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n got %s\nwant %s", path, got, want)
	}
}

// puppet is a daemon that says what it is told to. Its mail is hostile.
type puppet struct {
	now    time.Time
	detail *spool.Detail
	order  order
	reload error
	act    error
}

// order is what a puppet was asked to do.
type order struct {
	op     control.Op
	sel    queue.Select
	reason string
}

const evil = "\x1b[2J\u202e\u009b"

func newPuppet() *puppet {
	now := time.Now().Add(-time.Second / 2)
	outcome := spool.Outcome{Stage: spool.StageRcpt, Code: 451, Enhanced: "4.7.1", Text: "later" + evil, Remote: "mx.example.com:587"}
	known := spool.Outcome{Stage: spool.StageMail, Code: 450, Enhanced: "4.7.1", Text: "Error: too much mail from 192.0.2.1" + evil, Remote: "mx" + evil}
	env := &spool.Envelope{
		From: "a" + evil + "@example.com", Accepted: now.Add(-3*time.Hour - 5*time.Minute),
		MessageID: "<1@example.com>", Listener: "mail", Peer: "127.0.0.1:4711", Helo: "client" + evil,
		Recipients: []spool.Recipient{
			{Address: "b@example.com", Upstreams: []string{"office", "backup"}},
			{Address: "c@example.com", Upstreams: []string{"office", "backup"}, Notify: spool.NotifyNever, Copy: true},
			{Address: "d@example.com", Upstreams: []string{"backup"}, Redirected: true},
		},
	}
	return &puppet{now: now, detail: &spool.Detail{ID: 7, Size: 4096, Envelope: env, Recipients: []spool.RecipientState{
		{Upstream: "office", Attempts: 2, Due: now.Add(10*time.Minute + 30*time.Second), Last: &outcome, LastAt: now.Add(-time.Minute)},
		{Upstream: "office", Attempts: 2, Due: now.Add(10*time.Minute + 30*time.Second), Last: &known, LastAt: now.Add(-time.Minute)},
		{Upstream: "backup", Share: 1, Held: true},
	}}}
}

func (p *puppet) Status() *control.Status {
	due, probe := p.now.Add(-20*time.Minute), p.now.Add(90*time.Second)
	seen := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	problems, degraded := p.Health()
	return &control.Status{
		Version: "v1.2.3", PID: 42, Hostname: "relay.example.com", Config: "/etc/postern/postern.toml",
		Started: p.now.Add(-50 * time.Hour), Loaded: p.now.Add(-time.Hour), Problems: problems, Degraded: degraded,
		Listeners: []control.Listener{{Name: "mail", Address: "127.0.0.1:2525", TLS: "off", Connections: 3}},
		Spool:     control.Spool{Dir: "/var/spool/postern", Usage: spool.Usage{Messages: 1, Disk: 3 << 20, Live: 5000, Free: 7 << 30, Full: true}},
		Queue:     control.Queue{Deliveries: 2, Deferred: 1, Held: 1, Kept: 1, OldestDue: &due},
		Lanes: []control.Lane{
			{Upstream: "office", Address: "mx.example.com:587", State: queue.Parked, Reason: "535 5.7.8 no" + evil,
				Advice:   &verdict.Advice{Meaning: "The password is wrong" + evil + ".", Remedy: "Correct it."},
				Provider: "microsoft365", TLS: "opportunistic", Auth: "xoauth2", MaxRecipients: 50, MaxMessageSize: 40_000_000,
				NextProbe: &probe, Sessions: 0, MaxConnections: 3, Queued: 1, OldestDue: &due,
				Memory: &control.TLSMemory{Offered: &seen, Valid: &seen}},
			{Upstream: "backup", State: queue.Up, Queued: 1,
				Rates: []budget.Left{{Rate: "30/1m", Left: 12}, {Rate: "10000 recipients/1d", Next: probe}}, WaitsSince: &due,
				Token: &oauth.Status{NeedsLogin: true, Problem: "nobody has logged in yet; run `postern upstream login backup`" + evil},
				TLS:   "auto", Memory: &control.TLSMemory{Way: "mx.example.net:465", Implicit: true, Found: &seen}},
			{Upstream: "damaged", State: queue.Up, TLS: "opportunistic", Memory: &control.TLSMemory{Problem: "nobody can read it" + evil}},
			{Upstream: "here", State: queue.Up, RefusedSenders: []string{"a@app.example"},
				Refusals: []control.Refusal{{Sender: "a@app.example", Since: due, Waiting: 2, Reason: "550 5.7.60 not yours" + evil}}},
			{Upstream: "news", State: queue.Slowed, Reason: "451 4.7.1 slower, please", Sessions: 1, MaxConnections: 1, Pace: 12.345},
			{Upstream: "old", State: queue.Paused, PausedBy: "root" + evil, Since: &due},
		},
	}
}

func (p *puppet) Health() (problems, degraded []string) {
	return []string{"the upstream \"office\" is parked" + evil}, []string{"the upstream \"news\" has been down for 3m0s; its mail goes by backup" + evil}
}

func (p *puppet) Find(_ context.Context, _ spool.Query, visit func(spool.Summary) bool) error {
	s := spool.Summary{ID: 7, Accepted: p.detail.Envelope.Accepted, Size: 4096, Upstreams: []string{"office", "backup"},
		Attempts: 2, Due: p.detail.Recipients[0].Due}
	held := spool.Summary{ID: 7, Share: 1, Accepted: p.detail.Envelope.Accepted, Size: 4096, Upstreams: []string{"backup"}, Held: true}
	_ = visit(s) && visit(held)
	return nil
}

func (p *puppet) Detail(_ context.Context, id spool.ID) (*spool.Detail, error) {
	if id != 7 {
		return nil, spool.ErrNotFound
	}
	return p.detail, nil
}

func (p *puppet) Usage(context.Context) (spool.Usage, error) { return spool.Usage{Messages: 1}, nil }

func (p *puppet) Shares(context.Context, spool.ID) ([]spool.Summary, error) {
	return nil, spool.ErrNotFound
}

type body struct{ *strings.Reader }

func (body) Close() error { return nil }

func (p *puppet) Content(_ context.Context, id spool.ID) (spool.Content, error) {
	if id != 7 {
		return nil, spool.ErrNotFound
	}
	return body{strings.NewReader("Subject: x" + evil + "\r\n\r\nbody\r\n")}, nil
}

func (p *puppet) Lanes(context.Context) ([]queue.LaneStatus, error) {
	return []queue.LaneStatus{{Upstream: "office", State: queue.Parked, Cause: spool.Outcome{Text: "535 no" + evil}}}, nil
}

func (p *puppet) operate(op control.Op, sel queue.Select, reason string, done queue.Result) (queue.Result, error) {
	p.order = order{op, sel, reason}
	return done, p.act
}

func (p *puppet) Retry(_ context.Context, sel queue.Select, _ string) (queue.Result, error) {
	return p.operate(control.OpRetry, sel, "", queue.Result{Done: 2})
}

func (p *puppet) Hold(_ context.Context, sel queue.Select, _ string) (queue.Result, error) {
	return p.operate(control.OpHold, sel, "", queue.Result{Done: 2})
}

func (p *puppet) Release(_ context.Context, sel queue.Select, _ string) (queue.Result, error) {
	return p.operate(control.OpRelease, sel, "", queue.Result{Done: 2})
}

func (p *puppet) Remove(_ context.Context, sel queue.Select, _ string) (queue.Result, error) {
	return p.operate(control.OpRemove, sel, "", queue.Result{Done: 1, Recipients: 3, Missing: []spool.ID{8}})
}

func (p *puppet) Bounce(_ context.Context, sel queue.Select, _, reason string) (queue.Result, error) {
	return p.operate(control.OpBounce, sel, reason, queue.Result{Busy: []spool.ID{7}})
}

func (p *puppet) Hostname() string { return "relay.example.com" }

func (p *puppet) Upstreams() []string { return []string{"backup", "news", "office", "old"} }

func (p *puppet) Pause(upstream, _ string) error {
	if upstream != "office" {
		return queue.ErrNoUpstream
	}
	return nil
}

func (p *puppet) Adopt(context.Context, *spool.Detail, io.Reader, string) (spool.ID, error) {
	return 0, spool.ErrFull
}

func (p *puppet) ForgetTLS(_ context.Context, upstream, _ string) (bool, error) {
	return upstream == "office", p.Pause(upstream, "")
}

func (p *puppet) Resume(upstream, operator string) error { return p.Pause(upstream, operator) }

func (p *puppet) Reload(context.Context, string) (*control.Reloaded, error) {
	if p.reload != nil {
		return nil, p.reload
	}
	return &control.Reloaded{Config: "x", Kept: []string{"spool.dir changes at a restart"},
		Warnings: []config.Problem{{File: "postern.toml", Line: 3, Key: "route", Text: "can never match"}}}, nil
}

// stage runs a puppet behind a control socket and writes a configuration that
// leads to it.
func stage(t *testing.T, p *puppet) (config string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "c.sock")
	if p != nil {
		l, err := control.Listen(socket, 0o600, "")
		if err != nil {
			t.Fatal(err)
		}
		s := control.NewServer(control.Options{Store: p, Queue: p, Relay: p, Scrapes: http.NotFoundHandler(), Events: func(control.Event) {}})
		done := make(chan error)
		go func() { done <- s.ServeControl(l, control.Places) }()
		t.Cleanup(func() {
			s.Shutdown(context.Background())
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	config = filepath.Join(dir, "postern.toml")
	text := strings.ReplaceAll(`hostname = "relay.example.com"
state_dir = 'DIR/state'
[spool]
dir = 'DIR/spool'
[control]
socket = 'DIR/c.sock'
[[listener]]
name = "mail"
address = "127.0.0.1:2525"
[upstream.office]
host = "mx.example.com"
auth = "plain"
username = "billing"
password = "hunter2"
[[route]]
from = ["a@example.com"]
header = { X-Tenant = ["blue"] }
upstream = ["office"]
[[route]]
from = ["*@example.com"]
upstream = ["office"]
`, "DIR", dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

// result is how a command ended.
type result struct {
	code           int
	stdout, stderr string
}

// perform runs the program in this process.
func perform(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(stdin), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

func TestCommands(t *testing.T) {
	id := spool.ID(7).String()
	for _, c := range []struct {
		name  string
		args  []string
		code  int
		stdin string
	}{
		{name: "status", args: []string{"status"}},
		{name: "status-json", args: []string{"status", "--json"}},
		{name: "status-health", args: []string{"status", "--health"}, code: exitUnavailable},
		{name: "upstream-list", args: []string{"upstream", "list"}},
		{name: "upstream-list-json", args: []string{"upstream", "list", "--json"}},
		{name: "upstream-pause", args: []string{"upstream", "pause", "office"}},
		{name: "upstream-pause-unknown", args: []string{"upstream", "pause", "nobody"}, code: exitData},
		{name: "upstream-forget", args: []string{"upstream", "forget-tls", "office"}},
		{name: "upstream-forget-unknown", args: []string{"upstream", "forget-tls", "nobody"}, code: exitData},
		{name: "queue-list", args: []string{"queue", "list"}},
		{name: "queue-list-json", args: []string{"queue", "list", "--json"}},
		{name: "queue-list-none", args: []string{"queue", "list", "--from", "nobody"}},
		{name: "queue-list-none-json", args: []string{"queue", "list", "--from", "nobody", "--json"}},
		{name: "queue-show", args: []string{"queue", "show", id}},
		{name: "queue-show-json", args: []string{"queue", "show", id, "--json"}},
		{name: "queue-show-unknown", args: []string{"queue", "show", spool.ID(8).String()}, code: exitData},
		{name: "queue-show-not-an-id", args: []string{"queue", "show", "../etc"}, code: exitUsage},
		{name: "queue-retry", args: []string{"queue", "retry", "--all"}},
		{name: "queue-retry-json", args: []string{"queue", "retry", "--all", "--json"}},
		{name: "queue-remove", args: []string{"queue", "remove", id, spool.ID(8).String()}, code: exitData},
		{name: "queue-bounce", args: []string{"queue", "bounce", id, "--reason", "no such project"}, code: exitTempFail},
		{name: "queue-remove-nothing", args: []string{"queue", "remove"}, code: exitUsage},
		{name: "queue-remove-both", args: []string{"queue", "remove", id, "--all"}, code: exitUsage},
		{name: "reload", args: []string{"reload"}},
		{name: "reload-json", args: []string{"reload", "--json"}},
		{name: "check", args: []string{"check"}},
		{name: "explain", args: []string{"explain", "--from", "a@example.com", "--to", "<x@example.net>", "--header", "X-Tenant: blue"}},
		{name: "explain-without-header", args: []string{"explain", "--from", "a@example.com", "--to", "x@example.net"}},
		{name: "explain-json", args: []string{"explain", "--from", "b@example.com", "--to", "x@example.net", "--json"}},
		{name: "explain-refused", args: []string{"explain", "--from", "a" + evil + "@example.org", "--to", "x@example.net"}, code: exitData},
		{name: "explain-no-sender", args: []string{"explain"}, code: exitUsage},
		{name: "explain-unknown-listener", args: []string{"explain", "--from", "<>", "--listener", "mial"}, code: exitUsage},
		{name: "explain-bad-header", args: []string{"explain", "--from", "<>", "--header", "x"}, code: exitUsage},
		{name: "unknown-command", args: []string{"quue"}, code: exitUsage},
		{name: "unknown-flag", args: []string{"status", "--jsno"}, code: exitUsage},
		{name: "unknown-subcommand", args: []string{"queue", "shwo"}, code: exitUsage},
		{name: "flag-not-a-number", args: []string{"queue", "list", "--limit", "x"}, code: exitUsage},
		{name: "argument-too-many", args: []string{"serve", "now"}, code: exitUsage},
		{name: "argument-missing", args: []string{"queue", "show"}, code: exitUsage},
		{name: "argument-second", args: []string{"queue", "cat", id, "b"}, code: exitUsage},
		{name: "upstream-test-unknown", args: []string{"upstream", "test", "ofice"}, code: exitData},
		{name: "passwd-scheme", args: []string{"passwd", "--scheme", "md5"}, code: exitUsage},
		{name: "passwd-empty", args: []string{"passwd"}, stdin: "\n", code: exitData},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := stage(t, newPuppet())
			r := perform(t, c.stdin, append(c.args, "--config", config)...)
			if r.code != c.code {
				t.Errorf("exit code %d, want %d", r.code, c.code)
			}
			text := "$ postern " + safe(strings.Join(c.args, " ")) + "\n" + r.stdout
			if r.stderr != "" {
				text += "--- stderr\n" + r.stderr
			}
			text = mask(text, filepath.Dir(config))
			for _, bad := range []string{"\x1b", "\u202e", "\u009b", "hunter2"} {
				if strings.Contains(text, bad) {
					t.Errorf("it printed %q", bad)
				}
			}
			golden(t, c.name, text)
		})
	}
}

// What a daemon says that an answer means is text, whoever wrote it.
func TestAdviceIsShownAsText(t *testing.T) {
	var out bytes.Buffer
	a := &app{stdout: &out}
	err := a.printMessage(&control.Message{Recipients: []control.Recipient{
		{Advice: &verdict.Advice{Meaning: "The password is wrong" + evil, Remedy: "Correct\nid  0000000000008" + evil}}}})
	if want := "meaning   The password is wrong?[2J??\n  remedy    Correct id  0000000000008?[2J??\n"; err != nil || !strings.Contains(out.String(), want) {
		t.Errorf("%v %q", err, out.String())
	}
}

// moments are times of day in JSON and in tables.
var moments = regexp.MustCompile(`20\d\d-\d\d-\d\d[T ][0-9:.]+(Z|[+-]\d\d:\d\d)?`)

// mask replaces what differs from run to run: folders and moments.
func mask(text, dir string) string {
	return moments.ReplaceAllString(strings.ReplaceAll(text, dir, "DIR"), "MOMENT")
}

func TestFilesOfContentStayExact(t *testing.T) {
	config := stage(t, newPuppet())
	r := perform(t, "", "queue", "cat", spool.ID(7).String(), "--config", config)
	if r.code != 0 || r.stdout != "Subject: x"+evil+"\r\n\r\nbody\r\n" {
		t.Errorf("%+v", r)
	}
	var shown bytes.Buffer
	w := &terminalWriter{w: bufio.NewWriter(&shown)}
	if _, err := io.WriteString(w, "Subject: x"+evil+"\r\n\r\n\tbody\r\n"); err != nil {
		t.Fatal(err)
	}
	w.w.Flush()
	if got := shown.String(); got != "Subject: x?[2J?????\n\n\tbody\n" {
		t.Errorf("on a terminal: %q", got)
	}
}

func TestReloadRefused(t *testing.T) {
	p := newPuppet()
	p.reload = &control.Rejected{Problems: []config.Problem{{File: "f.toml", Line: 2, Key: "retry.lifetime", Text: "is a number" + evil, Hint: `write "5d"`}}}
	config := stage(t, p)
	r := perform(t, "", "reload", "--config", config)
	want := "f.toml:2: retry.lifetime: is a number?[2J?? (write \"5d\")\npostern: the configuration was not replaced: the file has errors; the old one is kept\n"
	if r.code != exitConfig || r.stderr != want {
		t.Errorf("%d %q", r.code, r.stderr)
	}
	r = perform(t, "", "reload", "--json", "--config", config)
	if r.code != exitConfig || !strings.Contains(r.stdout, `"key": "retry.lifetime"`) {
		t.Errorf("%+v", r)
	}
}

// An order that is not on disk yet is to be looked after later.
func TestUnrecordedOrder(t *testing.T) {
	p := newPuppet()
	p.act = queue.ErrNotRecorded
	r := perform(t, "", "queue", "hold", "--all", "--config", stage(t, p))
	if r.code != exitTempFail || r.stderr != "postern: done, but not yet on disk\n" {
		t.Errorf("%+v", r)
	}
}

func TestWithoutADaemon(t *testing.T) {
	config := stage(t, nil)
	for _, args := range [][]string{
		{"status"}, {"status", "--health"}, {"reload"}, {"upstream", "list"}, {"queue", "retry", "--all"}, {"queue", "list"},
		{"queue", "cat", spool.ID(7).String()}, {"queue", "show", spool.ID(7).String()},
	} {
		r := perform(t, "", append(args, "--config", config)...)
		if r.code != exitUnavailable || !strings.Contains(r.stderr, "no daemon answers at ") {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

func TestOrdersAreThoseThatWereGiven(t *testing.T) {
	p := newPuppet()
	config := stage(t, p)
	id := spool.ID(7)
	for _, c := range []struct {
		args []string
		want order
	}{
		{[]string{"hold", id.String()}, order{op: control.OpHold, sel: queue.Select{IDs: []spool.ID{7}}}},
		{[]string{"release", "--held"}, order{op: control.OpRelease, sel: queue.Select{Shares: []queue.Share{{ID: 7, Share: 1}}}}},
		{[]string{"retry", "--upstream", "office"}, order{op: control.OpRetry, sel: queue.Select{Upstream: "office"}}},
		{[]string{"retry", "--all", "--upstream", "office"}, order{op: control.OpRetry, sel: queue.Select{Upstream: "office"}}},
		{[]string{"bounce", "--all", "--reason", "why"}, order{op: control.OpBounce, sel: queue.Select{All: true}, reason: "why"}},
		{[]string{"remove", "--to", "D@"}, order{op: control.OpRemove, sel: queue.Select{Shares: []queue.Share{{ID: 7, Share: 1}}, Only: map[queue.Share][]int{{ID: 7, Share: 1}: {2}}}}},
	} {
		p.order = order{}
		perform(t, "", append(append([]string{"queue"}, c.args...), "--config", config)...)
		if got := p.order; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %+v, want %+v", c.args, got, c.want)
		}
	}
}

func TestOnlyYesAgrees(t *testing.T) {
	for line, want := range map[string]bool{"y\n": true, "Yes\n": true, " y": true, "": false, "\n": false, "n\n": false, "all\n": false} {
		a := &app{stdin: strings.NewReader(line), stderr: io.Discard}
		if got := a.agreed(); got != want {
			t.Errorf("%q: %t", line, got)
		}
	}
}

func TestPasswdPrintsWhatAListenerTakes(t *testing.T) {
	for scheme, want := range map[string]string{"argon2id": "$argon2id$", "bcrypt": "$2", "scram-sha-256": "SCRAM-SHA-256$"} {
		r := perform(t, "correct horse\n", "passwd", "--scheme", scheme)
		if r.code != 0 || !strings.HasPrefix(r.stdout, want) || strings.Contains(r.stdout, "horse") || strings.Count(r.stdout, "\n") != 1 {
			t.Errorf("%s: %+v", scheme, r)
		}
	}
	if r := perform(t, strings.Repeat("x", 5000), "passwd"); r.code != exitData {
		t.Errorf("a long one: %+v", r)
	}
}

// What passwd --token stores, the configuration takes; what is cut off, it does not.
func TestMadeTokensAreTaken(t *testing.T) {
	_, hash := passwd.MakeToken()
	for stored, good := range map[string]bool{hash: true, hash[:len(hash)-1]: false} {
		path := filepath.Join(t.TempDir(), "postern.toml")
		text := fmt.Sprintf("state_dir = \"state\"\nspool.dir = \"spool\"\n[http]\naddress = \"127.0.0.1:0\"\ntoken.shop.hash = %q\n"+
			"[upstream.office]\nhost = \"smtp.office.example\"\n[[route]]\nfrom = [\"*\"]\nupstream = [\"office\"]\n", stored)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := findConfig(path); (err == nil) != good {
			t.Errorf("%.20s…: %v", stored, err)
		}
	}
}

// A token is printed once, beside the hash that a configuration takes for it.
func TestPasswdMakesTokens(t *testing.T) {
	r := perform(t, "", "passwd", "--token")
	f := strings.Fields(r.stdout)
	if r.code != 0 || len(f) != 4 || f[0] != "token" || f[2] != "hash" || len(f[1]) < 32 {
		t.Fatalf("%+v", r)
	}
	stored, ok := passwd.ParseToken(f[3])
	if d, known := passwd.DigestOf(f[1]); !ok || !known || d != stored {
		t.Errorf("the hash is not that of the token: %+v", r)
	}
	if again := perform(t, "", "passwd", "--token"); again.stdout == r.stdout {
		t.Error("the same token comes twice")
	}
	if r := perform(t, "", "passwd", "--token", "--scheme", "bcrypt"); r.code != exitUsage {
		t.Errorf("with a scheme: %+v", r)
	}
}

func TestVersion(t *testing.T) {
	if line, flag := perform(t, "", "version"), perform(t, "", "--version"); flag != line {
		t.Errorf("--version: %+v, version: %+v", flag, line)
	}
	if r := perform(t, "", "version"); r.code != 0 || !strings.HasPrefix(r.stdout, "postern ") {
		t.Errorf("%+v", r)
	}
	if r := perform(t, "", "version", "--json"); r.code != 0 || !strings.Contains(r.stdout, `"version": "`) {
		t.Errorf("%+v", r)
	}
}
