package intake

import (
	"strings"
	"testing"

	smtp "github.com/emersion/go-smtp"
)

// What a line is, before anything is known of the session.
func TestParseCommand(t *testing.T) {
	for _, c := range []struct {
		line      string
		lenient   bool
		verb, arg string
		code      int // of the reply to what is none
	}{
		{"mail FROM:<a@b>", false, "MAIL", "FROM:<a@b>", 0},
		{"RCPT  TO:<a@b>  ", false, "RCPT", " TO:<a@b>", 0},
		{"RCPT  TO:<a@b>", true, "RCPT", "TO:<a@b>", 0},
		{"DATA", false, "DATA", "", 0},
		{"DATA ", false, "DATA", "", 0},
		{"DATA x", false, "", "", 501},
		{"QUIT x", false, "", "", 501},
		{"QUIT x", true, "QUIT", "x", 0},
		{"", false, "", "", 500},
		{"MAI L", false, "", "", 500},
		{"NOOP \x00", false, "", "", 500},
		{"NOOP\tx", true, "", "", 500},
		{"RSET\x7f", true, "", "", 500},
	} {
		cmd, arg, r := parse(c.line, c.lenient)
		verb, code := "", 0
		if cmd != nil {
			verb = cmd.verb
		}
		if r != nil {
			code = r.Code
		}
		if verb != c.verb || arg != c.arg || code != c.code {
			t.Errorf("%q: %s %q %d", c.line, verb, arg, code)
		}
	}
	for in, want := range map[string]string{"MAIL\tFROM:<a@b>\t": "MAIL FROM:<a@b>", "MAIL\tFROM:<\"\t\"@b>": "MAIL\tFROM:<\"\t\"@b>", "NOOP": "NOOP"} {
		if got := withoutTabs(in); got != want {
			t.Errorf("%q becomes %q", in, got)
		}
	}
}

// Each count has its bound, and a message that is accepted begins them anew,
// but not that of passwords.
func TestTally(t *testing.T) {
	until := func(f func() bool) (n int) {
		for n = 1; !f(); n++ {
		}
		return n
	}
	var c tally
	for range 2 {
		if e, i, r := until(c.protest), until(c.idle), until(c.refuse); e != maxErrors || i != maxIdleCommands+1 || r != maxRefusals {
			t.Errorf("%d errors, %d idle commands, %d refusals", e, i, r)
		}
		c.accept()
	}
	c.failSignIn()
	c.accept()
	if n := 1 + until(c.failSignIn); n != maxAuthFailures || c.accepted != 3 {
		t.Errorf("%d sign-ins, %d messages", n, c.accepted)
	}
}

// Replies are held in place, and a long answer leaves no long buffer behind.
func TestOutput(t *testing.T) {
	var o output
	if n := testing.AllocsPerRun(100, func() { o.add(replyOK); o.add(replyHelp); o.sent() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	o.add(replyHelp)
	o.add(&smtp.SMTPError{Code: 334, Message: "a\r"})
	if want := "214-2.0.0 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY STARTTLS AUTH\r\n214 2.0.0 See RFC 5321\r\n334 a?\r\n"; string(o.held) != want {
		t.Errorf("%q", o.held)
	}
	o.add(say(550, 5, 7, 1, strings.Repeat("x\n", 4*heldReplies)))
	if o.sent(); cap(o.held) != 0 || !o.spoke {
		t.Errorf("%d bytes stay", cap(o.held))
	}
}
