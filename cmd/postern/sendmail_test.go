//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
)

// sendmail runs the command by its name, with a message.
func (h *harness) sendmail(stdin string, argv ...string) (code int, stdout, stderr string) {
	h.t.Helper()
	args := asProgram(argv)
	var out, errs bytes.Buffer
	code = run(context.Background(), append([]string{"--config", h.config}, args...), strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func TestSendmail(t *testing.T) {
	h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1))
	h.start()
	code, stdout, stderr := h.sendmail("To: ann@example.org\nBcc: hidden@example.org\nSubject: Grüße\n\none\n.\ntwo\n",
		"/usr/sbin/sendmail", "-t", "-oi", "-f", "ops@example.com", "-FNight Job", "-Nfailure", "-Rhdrs", "-V", "job 7", "-Zunknown", "extra@example.org")
	if code != 0 || stdout+stderr != "" {
		t.Fatalf("%d %q %q", code, stdout, stderr)
	}
	mail := h.captured(1)[0]
	for _, want := range []string{
		"Delivered-To: ann@example.org", "Delivered-To: hidden@example.org", "Delivered-To: extra@example.org",
		"Return-Path: <ops@example.com>", "From: \"Night Job\" <ops@example.com>\r\n", "\r\nSubject: =?utf-8?B?R3LDvMOfZQ==?=\r\n", "\r\nDate: ", "\r\nMessage-ID: ",
		"\r\n\r\none\r\n.\r\ntwo\r\n",
	} {
		if !strings.Contains(strings.ReplaceAll(mail, "\n", "\r\n"), want) && !strings.Contains(mail, want) {
			t.Errorf("no %q in\n%s", want, mail)
		}
	}
	if strings.Contains(mail, "Bcc") {
		t.Errorf("there is a Bcc in\n%s", mail)
	}
	eventually(t, "the log tells of the unknown option", func() bool {
		return strings.Contains(h.log.String(), `"remark":"sendmail ignored -Zunknown"`)
	})
}

// TestSendmailNames: names of programs go through aliases, the address books and
// the domain, in this order.
func TestSendmailNames(t *testing.T) {
	text := strings.Replace(capturing, "ADDR", freeAddr(t), 1)
	text = strings.Replace(text, "[[route]]", "[submission]\ndomain = \"example.com\"\nalias = { sales = [\"group:Sales\"] }\n[[route]]", 1)
	h := newHarness(t, text+"[book.team]\nprovider = \"vcards\"\ndir = \"DIR/book\"\n[book.gone]\nprovider = \"csv\"\nfile = \"DIR/gone.csv\"\n")
	gone := filepath.Join(h.dir, "gone.csv")
	if err := os.WriteFile(gone, []byte("name,email\nCarol White,carol@example.net\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.must("book", "add", "--name", "Alice Liddell", "--email", "alice@example.org", "--nickname", "Ali", "--group", "Sales")
	h.must("book", "add", "--name", "Bob Brown", "--email", "bob@example.org", "--group", "Sales")
	h.must("book", "add", "--name", "Bob Brown", "--email", "bob2@example.org")
	h.start()
	if code, _, stderr := h.sendmail("To: ali, carol white <\"carol white\">\n\nhi\n", "sendmail", "-f", "ops@example.com", "-t", "sales", "group:team/Sales", "who"); code != 0 {
		t.Fatalf("%d %q", code, stderr)
	}
	mail := h.captured(1)[0]
	for want, n := range map[string]int{"alice@example.org": 1, "bob@example.org": 1, "carol@example.net": 1, "who@example.com": 1, "": 4} {
		if strings.Count(mail, "Delivered-To: "+want) != n {
			t.Errorf("not %d of %q in\n%s", n, want, mail)
		}
	}
	fails := func(code int, text string, args ...string) {
		t.Helper()
		if got, stdout, stderr := h.sendmail("\nhi\n", append([]string{"sendmail", "-f", "ops@example.com"}, args...)...); got != code || !strings.Contains(stdout+stderr, text) {
			t.Errorf("%q: %d %q, want %d %q", args, got, stdout+stderr, code, text)
		}
	}
	fails(67, `553 5.1.4 "Bob Brown" may be Bob Brown <bob`, `"Bob Brown"`)
	fails(67, "<bob@example.org> (team)", `"Bob Brown"`)
	fails(67, "<bob2@example.org> (team)", `"Bob Brown"`)
	fails(67, `no such group in team, gone; did you mean "Sales"?`, "group:Sals")
	fails(0, "Ali is alice@example.org (Alice Liddell in the book team)", "-bv", "Ali")
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file is missed", func() bool {
		code, _, stderr := h.sendmail("\nhi\n", "sendmail", "-f", "ops@example.com", "group:Sals")
		return code == 75 && strings.Contains(stderr, "451 4.4.3 an address book cannot be asked now")
	})
	fails(75, "the file of gone cannot be read", "-bv", "somebody")
	h.sendmail("\nhi\n", "sendmail", "-f", "ops@example.com", "ali", "x@example.org")
	if mail := h.captured(2); !strings.Contains(strings.Join(mail, ""), "Delivered-To: x@example.org") {
		t.Errorf("a name of a book before the one that is away:\n%q", mail)
	}
}

func TestSendmailFails(t *testing.T) {
	h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1))
	h.start()
	for name, c := range map[string]struct {
		stdin, argv string
		code        int
		stderr      string
	}{
		"nobody":          {"hi\n", "sendmail", 64, "no recipient"},
		"nobody in it":    {"Subject: x\n\nhi\n", "sendmail -t", 64, "the header names nobody"},
		"a daemon":        {"", "sendmail -bd", 64, "postern serve"},
		"bad address":     {"To: Ann Example\n\n", "sendmail -t", 65, `"Ann Example" is not an address`},
		"bad sender":      {"hi\n", "sendmail -f <a b> ann@example.org", 65, "is not an address"},
		"sender no route": {"hi\n", "sendmail -f a@elsewhere.example ann@example.org", 69, "550 5.7.1"},
		"aliases":         {"", "newaliases", 0, ""},
		"aliases by -bi":  {"", "sendmail -bi", 0, ""},
	} {
		code, _, stderr := h.sendmail(c.stdin, strings.Split(c.argv, " ")...)
		if name == "bad sender" {
			code, _, stderr = h.sendmail(c.stdin, "sendmail", "-f", "<a b>", "ann@example.org")
		}
		if code != c.code || !strings.Contains(stderr, c.stderr) || c.stderr == "" && stderr != "" {
			t.Errorf("%s: %d %q, want %d %q", name, code, stderr, c.code, c.stderr)
		}
	}
}

// By -bs a client reads what becomes of its mail in the replies. Who hands a bare
// message to it reads none, and learns from the exit code that nothing was sent.
func TestSendmailSessionOfNone(t *testing.T) {
	h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1))
	h.start()
	for stdin, want := range map[string]int{
		"From: ops@example.com\nTo: ann@example.org\nSubject: x\n\nhi\n": 65,
		"Help wanted\n":                  65,
		"no end of line":                 65,
		"HELP\r\nNOOP\r\nhi\r\nQUIT\r\n": 65,
		"MAIL FROM:<ops@example.com>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n": 65,
		"":                          0,
		"NOOP\r\nQUIT\r\n":          0,
		"EHLO x\r\nhi\r\nQUIT\r\n":  0, // a client that speaks SMTP, and reads
		"HELO x\nMAIL FROM:<a b>\n": 0,
	} {
		code, stdout, stderr := h.sendmail(stdin, "sendmail", "-bs")
		if code != want || !strings.HasPrefix(stdout, "220 ") || (code != 0) != strings.Contains(stderr, "nothing was sent: ") {
			t.Errorf("%q: %d, want %d: %q %q", stdin, code, want, stdout, stderr)
		}
	}
}

// What comes after the name of the command never names a configuration, and no
// file that an option names is opened or made.
func TestSendmailOpensNoFile(t *testing.T) {
	h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1))
	h.start()
	log := h.dir + "/shell.php"
	code, _, stderr := h.sendmail("To: ann@example.org\n\nhi\n", "sendmail", "-t", "-fops@example.com", "-X"+log, "-C/nowhere.cf", "-oQ/nowhere", "--config", "/nowhere.toml", "--config=/nowhere.toml", "--", "b@example.org")
	// --config is not known, and what follows it is an operand like any other.
	if code != 0 && !strings.Contains(stderr, "/nowhere.toml") {
		t.Errorf("%d %q", code, stderr)
	}
	if _, err := os.Stat(log); err == nil {
		t.Errorf("%s was made", log)
	}
}

// While the daemon is away, messages wait in the pickup folder.
func TestSendmailWhileAway(t *testing.T) {
	h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1)+"[pickup]\ndir = \"DIR/pickup\"\nsettle = \"1s\"\n")
	if code, _, stderr := h.sendmail("hi\n", "sendmail", "-f", "ops@example.com", "ann@example.org"); code != 75 || !strings.Contains(stderr, "cannot be left in") {
		t.Errorf("without a folder: %d %q", code, stderr)
	}
	if err := os.Mkdir(h.dir+"/pickup", 0o700); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := h.sendmail("Subject: away\n\nhi\n", "sendmail", "-f", "ops@example.com", "-FNight Job", "-N", "never", "-Zx", "ann@example.org")
	if code != 0 || stderr != "" {
		t.Fatalf("%d %q", code, stderr)
	}
	session := "EHLO x\r\nMAIL FROM:<ops@example.com>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: by -bs\r\n\r\n..dot\r\n.\r\nQUIT\r\n"
	if code, stdout, stderr := h.sendmail(session, "sendmail", "-bs", "-i"); code != 0 || !strings.Contains(stdout, "\n354 ") || !strings.HasPrefix(stdout[strings.Index(stdout, "\n354 ")+1:][strings.IndexByte(stdout[strings.Index(stdout, "\n354 ")+1:], '\n')+1:], "250 ") {
		t.Errorf("-bs: %d %q %q", code, stdout, stderr)
	}
	h.start()
	all := strings.ReplaceAll(strings.Join(h.captured(2), "\n\n"), "\r", "")
	for _, want := range []string{"From: \"Night Job\" <ops@example.com>", "\n\n.dot\n", "Subject: away"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	eventually(t, "the log tells how long it lay there", func() bool {
		return strings.Contains(h.log.String(), `"lay":`) && strings.Contains(h.log.String(), `"remark":"sendmail ignored -Zx"`)
	})
}

// Who may use which sender, by the kernel; and what the other modes say.
func TestSendmailOfUsers(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1)+"[submission]\nfrom_of = { \""+me.Username+"\" = [\"*@example.com\"] }\n")
	h.start()
	session := "EHLO x\r\nMAIL FROM:<boss@elsewhere.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n\r\nhi\r\n.\r\nQUIT\r\n"
	if code, stdout, _ := h.sendmail(session, "sendmail", "-bs"); code != 0 || !strings.Contains(stdout, "\n550 5.7.1 ") || !strings.Contains(stdout, "may send as") {
		t.Errorf("-bs: %d %q", code, stdout)
	}
	for _, from := range []string{"boss@elsewhere.example", ""} {
		if code, _, stderr := h.sendmail("hi\n", "sendmail", "-f", from, "bob@example.org"); code != 69 || !strings.Contains(stderr, "may send as") {
			t.Errorf("-f %q: %d %q", from, code, stderr)
		}
	}
	if code, stdout, _ := h.sendmail("", "sendmail", "-bv", "-f", "boss@elsewhere.example", "bob@example.org"); code != 65 || !strings.Contains(stdout, "submission.from_of."+me.Username) {
		t.Errorf("-bv: %d %q", code, stdout)
	}
	if code, stdout, _ := h.sendmail("", "sendmail", "-bv", "-f", "ops@example.com", "bob@example.org"); code != 0 || !strings.Contains(stdout, "capture") {
		t.Errorf("-bv: %d %q", code, stdout)
	}
	if code, stdout, stderr := h.sendmail("", "mailq"); code != 0 || stdout != "Mail queue is empty\n" {
		t.Errorf("mailq: %d %q %q", code, stdout, stderr)
	}
	if code, _, stderr := h.sendmail("", "sendmail", "-q30m"); code != 0 || stderr != "" {
		t.Errorf("-q: %d %q", code, stderr)
	}
	// A user without a domain: the name of the relay completes it, and the
	// routes say what they think of that.
	if code, _, stderr := h.sendmail("hi\n", "sendmail", "bob@example.org"); code != 69 || !strings.Contains(stderr, me.Username+"@relay.example.com") {
		t.Errorf("without -f: %d %q", code, stderr)
	}
}
