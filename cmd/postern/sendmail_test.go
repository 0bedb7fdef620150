//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
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
