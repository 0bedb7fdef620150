//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// capturing is a configuration whose mail ends in the capture Maildir.
const capturing = `hostname = "relay.example.com"
state_dir = "DIR"
[spool]
dir = "DIR/spool"
min_free = "1MiB"
[control]
socket = "DIR/control.sock"
[[listener]]
address = "ADDR"
[upstream.capture]
provider = "capture"
[[route]]
from = ["*@example.com"]
upstream = ["capture"]
[retry]
backoff = ["1s"]
`

// stepFiles writes files beside the harness and returns their folder.
func stepFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// captured waits until n messages lie in the Maildir, and returns them.
func (h *harness) captured(n int) []string {
	h.t.Helper()
	var all []string
	eventually(h.t, "the mail lies in the Maildir", func() bool {
		files, _ := filepath.Glob(filepath.Join(h.dir, "capture", "new", "*"))
		all = nil
		for _, f := range files {
			b, _ := os.ReadFile(f)
			all = append(all, string(b))
		}
		return len(all) >= n
	})
	if len(all) > n {
		h.t.Fatalf("%d messages arrived, %d were sent", len(all), n)
	}
	return all
}

var messageID = regexp.MustCompile(`(?m)^Message-ID: .*\n`)

const reminderStep = `from = 'Accounts <billing@example.com>'
to = ['{{.name}} <{{.email}}>']
subject = 'Your {{len .rows}} invoices'
html = '<style>td{padding:4px}</style><p>Dear {{.name}},</p>{{table .rows "invoice" "total"}}'
save = 'sent/{{.email}}.eml'
key = 'reminder/{{.email}}'
[rows]
file = 'due.csv'
per = 'email'
[[attach]]
rows = 'csv'
name = 'open.csv'
`

const dueRows = "email,name,invoice,total\nbob@example.org,\"Brown, Bob\",1,10\ncarol@example.org,Carol,2,20\nbob@example.org,\"Brown, Bob\",3,30\n"

// TestSendStep: a message file and rows, through a real relay, by its socket and
// by SMTP; a second run sends nothing twice.
func TestSendStep(t *testing.T) {
	addr := freeAddr(t)
	h := newHarness(t, strings.Replace(capturing, "ADDR", addr, 1))
	h.start()
	dir := stepFiles(t, map[string]string{"step.toml": reminderStep, "due.csv": dueRows})
	step := filepath.Join(dir, "step.toml")
	out := h.must("send", step, "--smtp", addr)
	if !strings.Contains(out, "2 messages queued\n") || !strings.Contains(out, "bob@example.org") {
		t.Errorf("printed\n%s", out)
	}
	again := h.must("send", step, "--smtp", addr)
	if !strings.Contains(again, "queued before (key reminder/carol@example.org), not sent again") || !strings.Contains(again, "0 messages queued, 2 queued before\n") {
		t.Errorf("a second run printed\n%s", again)
	}
	all := strings.Join(h.captured(2), "")
	for _, want := range []string{"Subject: Your 2 invoices", "To: \"Brown, Bob\" <bob@example.org>", "filename=\"open.csv\"", "To: Carol <carol@example.org>"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if strings.Contains(all, "Idempotency") {
		t.Error("the key went on with the message")
	}
	for _, to := range []string{"bob", "carol"} {
		b, err := os.ReadFile(filepath.Join(dir, "sent", to+"@example.org.eml"))
		id := messageID.FindString(string(b))
		if err != nil || !strings.HasSuffix(id, "@relay.example.com>\r\n") || !strings.Contains(all, strings.TrimSpace(id)) {
			t.Errorf("the copy has %q, %v; it is that of what arrived, and of the relay", id, err)
		}
	}
	h.stop()
}

// TestSendBySocket: one message from a job, the JSON of which is the rows of
// the next; twice the same key sends once.
func TestSendBySocket(t *testing.T) {
	h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1))
	h.start()
	dir := stepFiles(t, map[string]string{"log.txt": "a log"})
	args := []string{"send", "--from", "ops@example.com", "--to", `"Ops, A" <ops@example.org>; b@example.org`, "--subject", "Nightly", "--body", "ok",
		"--attach", filepath.Join(dir, "log.txt") + ":nightly.log", "--key", "nightly", "--json"}
	first, second := h.must(args...), h.must(args...)
	var one, two struct {
		ID, Status string
		To         []string
	}
	if err := errors.Join(json.Unmarshal([]byte(first), &one), json.Unmarshal([]byte(second), &two)); err != nil {
		t.Fatal(err)
	}
	if one.Status != "queued" || two.Status != "repeated" || one.ID != two.ID || one.ID == "" || len(one.To) != 2 {
		t.Errorf("first %s, second %s", first, second)
	}
	all := h.captured(1)
	if ids := messageID.FindAllString(all[0], -1); len(ids) != 1 || !strings.Contains(ids[0], "@relay.example.com>") {
		t.Errorf("%q: the relay gives one Message-ID", ids)
	}
	if !strings.Contains(all[0], "filename=\"nightly.log\"") || !strings.Contains(all[0], `To: "Ops, A" <ops@example.org>, b@example.org`) {
		t.Errorf("arrived:\n%s", all[0])
	}
	rows := filepath.Join(dir, "result.ndjson")
	if err := os.WriteFile(rows, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	h.must("send", "--from", "ops@example.com", "--to", "{{addresses .to}}", "--subject", "After {{.id}}", "--body", "x", "--rows", rows)
	if all := strings.Join(h.captured(2), ""); !strings.Contains(all, "Subject: After "+one.ID) {
		t.Errorf("arrived:\n%s", all)
	}
	h.stop()
}

// TestSendRaw: a finished message with LF and a Bcc.
func TestSendRaw(t *testing.T) {
	h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1))
	h.start()
	cmd := h.command(t.Context(), "send", "--raw", "-t", "d@example.org")
	cmd.Stdin = strings.NewReader("From: a@example.com\nTo: b@example.org\nBcc: c@example.org\nSubject: finished\n\n.\nfrom\rold mac")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all := h.captured(1)[0]
	if !strings.Contains(all, "\n.\nfrom\nold mac\n") && !strings.Contains(all, "\r\n.\r\nfrom\r\nold mac\r\n") || strings.Contains(all, "Bcc:") {
		t.Errorf("arrived:\n%s", all)
	}
	for _, to := range []string{"b@example.org", "c@example.org", "d@example.org"} {
		if !strings.Contains(all, to) {
			t.Errorf("not for %s:\n%s", to, all)
		}
	}
	h.stop()
}

// TestSendRefused: what a relay does not take, and a relay that is not there.
func TestSendRefused(t *testing.T) {
	h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1))
	dir := stepFiles(t, map[string]string{"due.csv": "from,email\na@example.com,b@example.org\nx@other.example,c@example.org\n"})
	failed := filepath.Join(dir, "failed.csv")
	args := []string{"send", "--from", "{{.from}}", "--to", "{{.email}}", "--body", "x", "--rows", filepath.Join(dir, "due.csv"), "--failed", failed}
	if r := h.do(args...); r.code != exitTempFail || !strings.Contains(r.stderr, "no relay answers at ") {
		t.Errorf("without a relay: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	h.start()
	r := h.do(args...)
	if r.code != exitUnavailable || !strings.Contains(r.stdout, "refused: 550 5.7.1") || !strings.HasSuffix(r.stdout, "1 message queued, 1 refused; "+failed+" has 1 row\n") {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	b, err := os.ReadFile(failed)
	if err != nil || !strings.HasPrefix(string(b), "from,email,error\nx@other.example,c@example.org,") || strings.Count(string(b), "\n") != 2 {
		t.Errorf("%v\n%s", err, b)
	}
	// Fed in again, with the column that says why.
	r = h.do("send", "--from", "a@example.com", "--to", "{{.email}}", "--body", "x", "--rows", failed, "--failed", failed)
	if b, err := os.ReadFile(failed); r.code != exitOK || err != nil || string(b) != "from,email,error\n" {
		t.Errorf("exit %d, %v\n%s%s%s", r.code, err, r.stdout, r.stderr, b)
	}
	h.captured(2)
	h.stop()
}

// TestSendResumes: a relay that goes away in the middle, and a sender that is
// killed; the same command again sends only what is missing.
func TestSendResumes(t *testing.T) {
	addr := freeAddr(t)
	h := newHarness(t, strings.Replace(capturing, "ADDR", addr, 1))
	h.start()
	const n = 400
	var rows strings.Builder
	rows.WriteString("email\n")
	for i := range n {
		rows.WriteString("u" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + "." + time.Duration(i).String() + "@example.org\n")
	}
	dir := stepFiles(t, map[string]string{"due.csv": rows.String()})
	args := []string{"send", "--from", "a@example.com", "--to", "{{.email}}", "--body", "x", "--key", "{{.email}}", "--rows", filepath.Join(dir, "due.csv"), "--smtp", addr}
	for round := range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := h.command(ctx, args...)
		var out lockedBuffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		before := h.spooled()
		eventually(t, "some of it is there", func() bool { return h.spooled() > before || strings.Contains(out.String(), "queued") })
		if round == 1 {
			h.kill()
		} else {
			cancel() // kills the sender
		}
		err := cmd.Wait()
		cancel()
		if round == 1 {
			if err == nil && !strings.Contains(out.String(), "queued") {
				t.Errorf("the relay was gone, and nobody was told:\n%s", out.String())
			}
			h.start()
		}
	}
	out := h.must(args...)
	if !strings.Contains(out, "queued before") {
		t.Errorf("nothing was there before:\n%s", out)
	}
	// Each run makes a Message-ID of its own: two for one recipient were sent
	// twice. The relay that was killed may deliver one message again.
	field := func(m, name string) string {
		_, value, _ := strings.Cut(m, "\n"+name+": ")
		value, _, _ = strings.Cut(value, "\n")
		return value
	}
	ids := map[string]string{}
	eventually(t, "everybody has it", func() bool {
		files, _ := filepath.Glob(filepath.Join(h.dir, "capture", "new", "*"))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			to, id := field(string(b), "Delivered-To"), field(string(b), "Message-ID")
			if had := ids[to]; had != "" && had != id {
				t.Fatalf("%s has it twice: %s and %s", to, had, id)
			}
			ids[to] = id
		}
		return len(ids) == n
	})
	h.stop()
}

// spooled counts what has arrived so far.
func (h *harness) spooled() int {
	files, _ := filepath.Glob(filepath.Join(h.dir, "capture", "new", "*"))
	return len(files)
}

// TestSendEmbeddedDefault: after the README's first command, a message goes to
// the capture Maildir.
func TestSendEmbeddedDefault(t *testing.T) {
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
	h.must("send", "--from", "a@example.com", "--to", "b@example.org", "--subject", "kept", "--body", "x")
	eventually(t, "the mail lies in the Maildir", func() bool {
		files, _ := filepath.Glob(filepath.Join(h.dir, "postern", "capture", "new", "*"))
		return len(files) == 1
	})
	h.stop()
}

// TestSendCodes: exit codes and what is printed, without a relay.
func TestSendCodes(t *testing.T) {
	dir := stepFiles(t, map[string]string{
		"good.toml": "from = 'a@example.com'\nto = 'b@example.org'\nsubject = 's'\ntext = 'Dear {{.var.who}}'\n",
		"bad.toml":  "from = 'a@example.com'\nto = 'b@'\nsubjet = 's'\n",
		"due.csv":   "email,x\nb@example.org,1\nbob@,2\n",
		"none.csv":  "email\n", "empty.toml": "from = 'a@example.com'\nto = 'b@example.org'\nsubject = 's'\n",
		"esc\x1b[31m.csv": "email\nbob\x1b]0;x\a@\n",
	})
	t.Chdir(dir)
	flags := []string{"--from", "a@example.com", "--body", "x"}
	for name, c := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		"dry run":        {[]string{"good.toml", "--set", "who=B", "--dry-run"}, exitOK, "Dear B", ""},
		"no variable":    {[]string{"good.toml", "--dry-run"}, exitData, "", "good.toml:4: text: no variable \"who\"\n1 problem; nothing was sent\n"},
		"unknown key":    {[]string{"bad.toml", "--dry-run"}, exitData, "", "bad.toml:3: subjet: unknown key (did you mean subject?)\n1 problem; nothing was sent\n"},
		"no file":        {[]string{"gone.toml", "--dry-run"}, exitNoInput, "", "gone.toml: cannot be read: no such file\n1 problem; nothing was sent\n"},
		"a group":        {append([]string{"--to", "group:Ops", "--dry-run"}, flags...), exitNoUser, "", "--to: group:Ops: no address book is configured (write the addresses themselves)\n1 problem; nothing was sent\n"},
		"a name":         {append([]string{"--to", "root", "--dry-run"}, flags...), exitNoUser, "", "--to: root: no address book is configured"},
		"a bad row":      {append([]string{"--to", "{{.email}}", "--rows", "due.csv", "--dry-run"}, flags...), exitData, "", "due.csv: row 2: --to: \"bob@\" is not an address\n1 problem; nothing was sent\n"},
		"no rows":        {append([]string{"--to", "{{.email}}", "--rows", "none.csv", "--dry-run"}, flags...), exitOK, "There are no rows in none.csv; nothing was sent.\n", ""},
		"two ways":       {[]string{"good.toml", "--dry-run", "--out", "x"}, exitUsage, "", "exclude each other"},
		"two files":      {[]string{"good.toml", "bad.toml"}, exitUsage, "", "takes one message file"},
		"all":            {[]string{"good.toml", "--all"}, exitUsage, "", "--all is for --dry-run"},
		"bad set":        {[]string{"good.toml", "--set", "x", "--dry-run"}, exitUsage, "", "is not NAME=VALUE"},
		"standard input": {append([]string{"--to", "b@example.org", "--text", "-", "--rows", "-", "--dry-run"}, flags[:2]...), exitUsage, "", "both read standard input"},
		"raw and rows":   {[]string{"--raw", "--rows", "due.csv"}, exitUsage, "", "is not for --raw"},
		"no relay":       {append([]string{"--to", "b@example.org", "--smtp", "127.0.0.1:1"}, flags...), exitTempFail, "", "no relay answers at 127.0.0.1:1"},
		"no port":        {append([]string{"--to", "b@example.org", "--smtp", "relay"}, flags...), exitUsage, "", "--smtp \"relay\" is not HOST:PORT"},
		"raw to no port": {[]string{"--raw", "b@example.org", "--smtp", "relay"}, exitUsage, "", "--smtp \"relay\" is not HOST:PORT"},
		"priority":       {append([]string{"--to", "b@example.org", "--priority", "hgih"}, flags...), exitUsage, "", "--priority \"hgih\" is none of high, normal, low\n  Did you mean high?\n"},
		"redirect":       {append([]string{"--to", "b@example.org", "--redirect", "nope"}, flags...), exitUsage, "", "--redirect \"nope\" is not an address"},
		"raw redirect":   {[]string{"--raw", "b@example.org", "--redirect", "nope"}, exitUsage, "", "--redirect \"nope\" is not an address"},
		"no body":        {[]string{"--from", "a@example.com", "--to", "b@example.org", "--dry-run"}, exitData, "", "--body: is missing, and there is neither html, markdown, calendar nor an attachment (--body '' sends a subject alone)\n1 problem; nothing was sent\n"},
		"no body in it":  {[]string{"empty.toml", "--dry-run"}, exitData, "", "empty.toml: text: is missing, and there is neither html, markdown, calendar nor an attachment (text = '' sends a subject alone)\n1 problem"},
		"subject alone":  {[]string{"--from", "a@example.com", "--to", "b@example.org", "--subject", "Backup OK", "--body", "", "--dry-run"}, exitOK, "Subject: Backup OK", "warning: the message has neither text nor attachment\n"},
		"no subject":     {append([]string{"--to", "b@example.org", "--dry-run"}, flags...), exitOK, "To: b@example.org", "warning: the message has no subject\n"},
		"flag in a file": {[]string{"good.toml", "--set", "who=B", "--attach", "gone.pdf", "--dry-run"}, exitData, "", "gone.pdf: no such file\n1 problem"},
		"no sender":      {[]string{"--to", "b@example.org", "--body", "x", "--dry-run"}, exitData, "", "--from: is missing\n"},
		"escapes":        {append([]string{"--to", "{{.email}}", "--rows", "esc\x1b[31m.csv", "--dry-run"}, flags...), exitData, "", "esc?[31m.csv: row 1: --to: \"bob\\x1b]0;x\\a@\" is not an address"},
		"raw escapes":    {[]string{"--raw", "b@example.org", "--from", "a@example.com", "--dry-run"}, exitOK, "Subject: ?[31m\n\nGrüße ?]0;x?\n", ""},
		"no such format": {append([]string{"--to", "{{.email}}", "--rows", "due.csv", "--rows-format", "xml"}, flags...), exitUsage, "", "--rows-format \"xml\" is none of auto, csv"},
		"per nothing":    {[]string{"good.toml", "--per", "email", "--dry-run"}, exitUsage, "", "--per is for rows, and there are none"},
		"failed nothing": {[]string{"good.toml", "--failed", "f.csv"}, exitUsage, "", "--failed is for rows, and there are none"},
		"keep going":     {append([]string{"--to", "{{.email}}", "--rows", "due.csv", "--keep-going", "--dry-run", "--all"}, flags...), exitOK, "--- message 1 of 2, row 1", "warning: due.csv: row 2: --to:"},
	} {
		t.Run(name, func(t *testing.T) {
			r := perform(t, "Subject: \x1b[31m\n\nGrüße \x1b]0;x\a\n", append([]string{"send"}, c.args...)...)
			if r.code != c.code || !strings.Contains(r.stdout, c.stdout) || !strings.Contains(r.stderr, c.stderr) || strings.ContainsAny(r.stdout+r.stderr, "\x1b\a") {
				t.Errorf("exit %d, want %d\n%s%s", r.code, c.code, r.stdout, r.stderr)
			}
		})
	}
}

// TestSendFiles: --out and --preview write what would be sent, and nothing
// comes from elsewhere.
func TestSendFiles(t *testing.T) {
	dir := stepFiles(t, map[string]string{
		"step.toml": reminderStep + "[[embed]]\nfile = 'logo.png'\n", "due.csv": dueRows + "bad@,Bad,4,4\nshort@example.org,Short\n", "logo.png": "\x89PNG",
	})
	t.Chdir(dir)
	step := strings.Replace(reminderStep, "{{table", `<img src="cid:logo.png"><img src="https://tracker.example/x.png">{{table`, 1) + "[[embed]]\nfile = 'logo.png'\n"
	if err := os.WriteFile("step.toml", []byte(step), 0o600); err != nil {
		t.Fatal(err)
	}
	r := perform(t, "", "send", "step.toml", "--preview", "p.html")
	page, err := os.ReadFile("p.html")
	if r.code != exitData || err != nil {
		t.Fatalf("exit %d, %v\n%s", r.code, err, r.stderr)
	}
	for _, want := range []string{`<iframe sandbox loading="lazy"`, "data:image/png;base64,iVBORw==", "https://tracker.example/x.png", "default-src &#39;none&#39;", "is not an address", "2 fields, the header has 4", "open.csv"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %q in the page", want)
		}
	}
	if err := os.WriteFile("due.csv", []byte(dueRows), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := perform(t, "", "send", "step.toml", "--preview", "p.html"); r.code != exitOK || r.stdout != "2 messages shown in p.html; nothing was sent\n" {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := perform(t, "", "send", "step.toml", "--out", "out"); r.code != exitOK || r.stdout != "2 messages written to out; nothing was sent\n" {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	b, err := os.ReadFile(filepath.Join("out", "000002-carol@example.org.eml"))
	if err != nil || !strings.Contains(string(b), "To: Carol <carol@example.org>\r\n") {
		t.Errorf("%v\n%s", err, b)
	}
}

// foreign is a relay that is not Postern; it returns what it was given.
func foreign(t *testing.T) (address string, given func() string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var all lockedBuffer
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.Write([]byte("220 mx.example.net ESMTP\r\n"))
				in, data := bufio.NewReader(c), false
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					all.Write([]byte(line))
					switch {
					case line == "DATA\r\n":
						data = true
						c.Write([]byte("354 go on\r\n"))
					case !data || line == ".\r\n":
						data = false
						c.Write([]byte("250 2.0.0 Ok: queued as 4X\x1b[31m\r\n"))
					}
				}
			}()
		}
	}()
	return l.Addr().String(), all.String
}

// TestSendElsewhere: a relay that is not Postern gets no key, which is told,
// and a Message-ID of the sender's domain; its replies do nothing to a terminal.
func TestSendElsewhere(t *testing.T) {
	const warning = "keeps no keys: a second run sends again\n"
	addr, given := foreign(t)
	for _, args := range [][]string{
		{"--to", "b@example.org", "--subject", "s", "--body", "x"}, {"--raw", "b@example.org"},
	} {
		args = append([]string{"send", "--from", "a@example.com", "--key", "k1", "--smtp", addr}, args...)
		r := perform(t, "Subject: s\n\nx\n", args...)
		if r.code != exitOK || !strings.HasSuffix(r.stdout, "1 message queued\n") || strings.Contains(r.stdout, "\x1b") || !strings.Contains(r.stderr, warning) {
			t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	}
	if all := given(); strings.Contains(all, "Idempotency") || !strings.Contains(messageID.FindString(all), "@example.com>") {
		t.Errorf("it was given\n%s", all)
	}
}
