package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

// caller is a program that calls sendmail.
type caller struct {
	name   string
	needs  []string // files of its package
	script string   // makes it send one message, in sh; HOME and WORK are an empty folder
	// What arrives upstream: how its subject begins, the sender, the recipients
	// in order, starts of lines of the header, and the body or a part of it.
	// Empty: ops@example.com, ann@example.org and hidden@example.org, and the
	// text "one", ".", "two".
	subject string
	from    string
	to      []string
	head    []string
	body    string
}

const (
	atRoot    = "root@example.com" // whoever runs the tests
	plainBody = "\r\n\r\none\r\n.\r\ntwo\r\n"
	// unstopped is for those that end a message at a line with a dot themselves
	// (mailutils), or have sendmail do so (anacron, without -i).
	unstopped = "\r\n\r\none\r\ntwo\r\n"
	text      = `printf 'one\n.\ntwo\n' | `
)

var toRoot = []string{"ann@example.org"}

// callers are run as their users have them (Debian 12).
var callers = []caller{
	{name: "cron", needs: []string{"/usr/sbin/cron"}, script: `
mount -t tmpfs tmpfs /var/spool/cron
mkdir /var/spool/cron/crontabs
printf 'MAILTO=root\n@reboot echo one; echo .; echo two; touch %s/ran\n' "$WORK" >/var/spool/cron/crontabs/root
chmod 600 /var/spool/cron/crontabs/root
rm -f /etc/crontab /etc/cron.d/*
for way in auth account session; do echo "$way sufficient pam_permit.so"; done >/etc/pam.d/cron
cron -f &
# It mails when the job has ended and its output is read: whoever waits for a job of it has to wait for its children.
while [ ! -e "$WORK/ran" ] || [ -n "$(ps -o pid= --ppid $!)" ]; do sleep 0.05; done
kill $!`, from: atRoot, to: toRoot, subject: "Cron <root@", head: []string{"From: root@example.com (Cron Daemon)", "To: root@example.com", "X-Cron-Env: <MAILTO=root>"}},
	{name: "anacron", needs: []string{"/usr/sbin/anacron"}, script: `
printf 'SHELL=/bin/sh\nPATH=/usr/bin:/bin\nMAILTO=root\n1 0 job echo one; echo two\n' >tab
anacron -d -f -n -s -t tab -S spool`, body: unstopped, from: atRoot, to: toRoot, subject: "Anacron job 'job' on ", head: []string{"From: Anacron <root"}},
	{name: "php", needs: []string{"/usr/bin/php"}, script: `php mail.php`,
		subject: "=?utf-8?B?R3LDvMOfZSBvZiBwaHA=?=", head: []string{"From: ops@example.com"}, body: "\r\n\r\none\r\n.\r\ntwo\r\nthree\r\n"},
	{name: "git", needs: []string{"/usr/lib/git-core/git-send-email"}, script: `
export GIT_AUTHOR_NAME=Ops GIT_AUTHOR_EMAIL=ops@example.com GIT_COMMITTER_NAME=Ops GIT_COMMITTER_EMAIL=ops@example.com
git init -q repo && cd repo && git commit -q --allow-empty -m first
printf 'one\n.\ntwo\n' >file && git add file && git commit -q -m 'of git'
git -c sendemail.suppresscc=all send-email --quiet --confirm=never --envelope-sender=auto --from ops@example.com --to ann@example.org --bcc hidden@example.org -1`,
		subject: "[PATCH] of git", body: "\r\n+one\r\n+.\r\n+two\r\n-- \r\n"},
	{name: "mutt", needs: []string{"/usr/bin/mutt"}, script: text + `mutt -n -F /dev/null -e 'set from=ops@example.com use_envelope_from=yes dsn_notify=failure,delay dsn_return=hdrs copy=no' -s 'of mutt' -b hidden@example.org ann@example.org`,
		subject: "of mutt"},
	{name: "s-nail", needs: []string{"/usr/bin/s-nail"}, script: text + `s-nail -n -S mta=/usr/sbin/sendmail -s 'of s-nail' -r ops@example.com -b hidden@example.org ann@example.org`,
		subject: "of s-nail"},
	{name: "bsd-mailx", needs: []string{"/usr/bin/bsd-mailx"}, script: text + `bsd-mailx -n -s 'of mailx' -b hidden@example.org ann@example.org`,
		from: atRoot, subject: "of mailx", head: []string{"From: "}},
	{name: "mailutils", needs: []string{"/usr/bin/mail.mailutils"}, body: unstopped, script: `printf 'one\ntwo\n' | mail.mailutils -s 'of mailutils' -r ops@example.com -a 'Bcc: hidden@example.org' ann@example.org`,
		subject: "of mailutils"},
	{name: "MIME::Lite", needs: []string{"/usr/share/perl5/MIME/Lite.pm"}, script: `perl lite.pl`, subject: "of MIME::Lite"},
	{name: "nodemailer", needs: []string{"/usr/bin/node", "$POSTERN_MAIL_PARSERS/node_modules/nodemailer"}, script: `node nodemailer.js`,
		subject: "=?UTF-8?Q?Gr=C3=BC=C3=9Fe_of_nodemailer?="},
	{name: "Symfony -bs", needs: []string{"/usr/bin/php", "/usr/share/php/Symfony/Component/Mailer/autoload.php"}, script: `php symfony.php Symfony-bs`,
		subject: "=?utf-8?Q?Gr=C3=BC=C3=9Fe?= of Symfony-bs", body: "\r\n\r\none\r\n.\r\n..\r\ntwo\r\n"},
	{name: "Symfony -t", needs: []string{"/usr/bin/php", "/usr/share/php/Symfony/Component/Mailer/autoload.php"}, script: `php symfony.php Symfony-t '/usr/sbin/sendmail -t -i'`,
		subject: "=?utf-8?Q?Gr=C3=BC=C3=9Fe?= of Symfony-t", body: "\r\n\r\none\r\n.\r\n..\r\ntwo\r\n"},
	// As its Monitor.c has it: no machine of ours has an array that could fail.
	{name: "mdadm", script: `printf 'From: mdadm monitoring <root>\nTo: root\nSubject: Fail event on /dev/md0:host\n\none\n\ntwo\n' | /usr/sbin/sendmail -t`,
		from: atRoot, to: toRoot, subject: "Fail event on /dev/md0:host", head: []string{"From: mdadm monitoring <root@example.com>"}, body: "\r\n\r\none\r\n\r\ntwo\r\n"},
	{name: "smartd", needs: []string{"/usr/share/smartmontools/smartd_warning.sh", "/usr/bin/mail"}, script: `
export SMARTD_MAILER=/usr/share/smartmontools/smartd-runner SMARTD_ADDRESS=root SMARTD_MESSAGE=one SMARTD_FAILTYPE=EmailTest SMARTD_DEVICE=/dev/sda
export SMARTD_DEVICETYPE=sat SMARTD_DEVICESTRING=/dev/sda SMARTD_DEVICEINFO=disk SMARTD_TFIRST=now SMARTD_TFIRSTEPOCH=1 SMARTD_PREVCNT=0
sh /usr/share/smartmontools/smartd_warning.sh`, from: atRoot, to: toRoot, subject: "SMART error (EmailTest) detected on host: ", body: "\r\none\r\n"},
	{name: "logwatch", needs: []string{"/usr/sbin/logwatch"}, script: `logwatch --output mail --mailto root --service zz-disk_space --range all --detail high`,
		from: atRoot, to: toRoot, subject: "Logwatch for ", body: "Disk Space Begin"},
	{name: "unattended-upgrades", needs: []string{"/usr/bin/unattended-upgrade", "/usr/bin/python3"}, script: `/usr/bin/python3 upgrades.py`,
		from: atRoot, to: toRoot, subject: "unattended-upgrades result for ", body: "two\r\n"},
}

// Real programs reach the relay through sendmail, while it is there and while
// it is away, and what they send arrives as they sent it.
func TestCallers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the programs run in a mount namespace, which takes root")
	}
	if os.Getenv("POSTERN_LONG") == "" {
		t.Skip("32 programs take seconds: POSTERN_LONG=1")
	}
	upstream := startMailbox(t)
	h := newHarness(t, strings.Replace(strings.Replace(capturing, "ADDR", freeAddr(t), 1), `provider = "capture"`, upstream.settings(), 1)+
		"[submission]\ndomain = \"example.com\"\nalias = { root = [\"ann@example.org\"] }\n[pickup]\ndir = \"DIR/pickup\"\n")
	if err := os.Mkdir(h.dir+"/pickup", 0o700); err != nil {
		t.Fatal(err)
	}
	var there []caller
	for _, c := range callers {
		if missing := c.missing(); missing == "" {
			there = append(there, c)
		} else if os.Getenv("POSTERN_REQUIRE_INTEROP") != "" {
			t.Errorf("%s: there is no %s", c.name, missing)
		} else {
			t.Logf("%s is left out: there is no %s", c.name, missing)
		}
	}
	for _, away := range []bool{true, false} {
		if !away {
			h.start()
			upstream.got(t, len(there)) // those of the pickup folder
		}
		var busy sync.WaitGroup
		room := make(chan struct{}, 4)
		for _, c := range there {
			room <- struct{}{}
			busy.Go(func() {
				c.run(h)
				<-room
			})
		}
		busy.Wait()
	}
	all := upstream.got(t, 2*len(there))
	for _, c := range there {
		n := 0
		for _, m := range all {
			if strings.Contains(m.header(), "\r\nSubject: "+c.subject) {
				n++
				c.check(t, m)
			}
		}
		if n != 2 {
			t.Errorf("%s: %d messages have its subject", c.name, n)
		}
	}
	log := h.log.String()
	if strings.Contains(log, "sendmail ignored") {
		t.Error("an option of theirs is not known")
	}
	if n := strings.Count(log, `"lay":`); n != len(there) {
		t.Errorf("%d messages were taken from the folder", n)
	}
}

func (c *caller) missing() string {
	for _, path := range append(c.needs, "/usr/bin/unshare") {
		path = os.ExpandEnv(path)
		if _, err := os.Stat(path); err != nil {
			return path
		}
	}
	return ""
}

// run has the program send its message.
func (c *caller) run(h *harness) {
	work, script := h.t.TempDir(), filepath.Join(h.t.TempDir(), "script")
	program, err := binary()
	if err := errors.Join(err, os.CopyFS(work, os.DirFS("testdata/callers")), os.WriteFile(script, []byte(c.script+"\n"), 0o600)); err != nil {
		h.t.Errorf("%s: %v", c.name, err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	// With the namespace of its processes all of them end.
	cmd := exec.CommandContext(ctx, "unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", "sh", filepath.Join(work, "enter"), program, h.config, work, script)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		h.t.Errorf("%s: %v\n%s", c.name, err, out.String())
	}
}

// check compares what has arrived with what was sent.
func (c *caller) check(t *testing.T, m received) {
	t.Helper()
	from, to, body := c.from, c.to, c.body
	if from == "" {
		from = "ops@example.com"
	}
	if to == nil {
		to = []string{"ann@example.org", "hidden@example.org"}
	}
	if body == "" {
		body = plainBody
	}
	if m.from != from || !slices.Equal(m.to, to) {
		t.Errorf("%s: from %s to %v", c.name, m.from, m.to)
	}
	head := m.header()
	_, rest, _ := strings.Cut(m.text, "\r\n\r\n")
	for _, want := range append(c.head, "Date: ", "Message-ID: ", "From: ") {
		if !strings.Contains(strings.ToLower(head), strings.ToLower("\r\n"+want)) {
			t.Errorf("%s: no %q in\n%s", c.name, want, head)
		}
	}
	if strings.Contains(head, "\r\nBcc:") || strings.Contains(head, "hidden@") || strings.Contains(head, "X-Receiver") {
		t.Errorf("%s: the header tells too much\n%s", c.name, head)
	}
	if full := "\r\n\r\n" + rest; !strings.Contains(full, body) || strings.HasPrefix(body, "\r\n\r\n") && full != body {
		t.Errorf("%s: the body is %q", c.name, rest)
	}
	if left := strings.ReplaceAll(m.text, "\r\n", ""); strings.ContainsAny(left, "\r\n") {
		t.Errorf("%s: lines end otherwise than in CRLF: %q", c.name, m.text)
	}
}

// mailbox is an upstream that keeps all that it takes.
type mailbox struct {
	mu   sync.Mutex
	all  []received
	port int
}

type received struct {
	from string
	to   []string
	text string
}

// header is the header without folding, behind an end of line.
func (r received) header() string {
	head, _, _ := strings.Cut(r.text, "\r\n\r\n")
	return "\r\n" + strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(head)
}

func startMailbox(t *testing.T) *mailbox {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mailbox{port: l.Addr().(*net.TCPAddr).Port}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailboxSession{mailbox: m}, nil }))
	server.Domain, server.EnableSMTPUTF8, server.EnableDSN = "mailbox.test", true, true
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	return m
}

func (m *mailbox) settings() string {
	return fmt.Sprintf("host = \"127.0.0.1\"\nport = %d\ntls = \"off\"", m.port)
}

// got waits until n messages have arrived.
func (m *mailbox) got(t *testing.T, n int) (all []received) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d messages have arrived", n), func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		all = slices.Clone(m.all)
		return len(all) >= n
	})
	return all
}

type mailboxSession struct {
	mailbox *mailbox
	now     received
}

func (s *mailboxSession) Reset()        { s.now = received{} }
func (s *mailboxSession) Logout() error { return nil }
func (s *mailboxSession) Mail(from string, _ *smtp.MailOptions) error {
	s.now = received{from: from}
	return nil
}
func (s *mailboxSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.now.to = append(s.now.to, to)
	return nil
}

func (s *mailboxSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.now.text = string(b)
	slices.Sort(s.now.to)
	s.mailbox.mu.Lock()
	defer s.mailbox.mu.Unlock()
	s.mailbox.all = append(s.mailbox.all, s.now)
	return nil
}
