package rewrite

import (
	"net/mail"
	"strings"
	"testing"
)

// What stands around the address stays, byte by byte.
func TestAnotherAddress(t *testing.T) {
	for _, c := range []struct {
		value, want string
		only, reply bool
	}{
		{" root@host", " a@b", true, true},
		{" root", " a@b", true, false},
		{" <root@host>", " <a@b>", true, true},
		{" Root <root@host>", " Root <a@b>", true, true},
		{` "J. Doe, CEO" <root@host>`, ` "J. Doe, CEO" <a@b>`, true, true},
		{" J. Doe <root@host>", " J. Doe <a@b>", true, true},
		{" =?utf-8?q?J=C3=B6rg?= <root@host>", " =?utf-8?q?J=C3=B6rg?= <a@b>", true, true},
		{" J\xf6rg <root@host>", " J\xf6rg <a@b>", true, true},
		{" Jörg <root@host>", " Jörg <a@b>", true, true},
		{" root (Cron Daemon)", " a@b (Cron Daemon)", true, false},
		{" root@host (Cron \\) (x) Daemon)", " a@b (Cron \\) (x) Daemon)", true, true},
		{" (x) root@host (y)", " (x) a@b (y)", true, true},
		{"\r\n Root\r\n\t<root@host>", "\r\n Root\r\n\t<a@b>", true, true},
		{" Root <root@host> (x)", " Root <a@b> (x)", true, true},
		{" Root <root@host> junk", " Root <a@b>", false, true},
		{" A <a@x>, B <b@y>", " A <a@b>", false, true},
		{" a@x, b@y", " a@b", false, true},
		{" , , A <a@x>", " , , A <a@b>", false, true},
		{` "a, b" <"x, y"@z>`, ` "a, b" <a@b>`, true, true},
		{` "x, y"@z`, ` a@b`, true, true},
		{` "a<b" <x@z>`, ` "a<b" <a@b>`, true, true},
		{" Team: a@x, b@y;", " Team <a@b>", false, true},
		{` "The Team": A <a@x>;`, ` "The Team" <a@b>`, false, true},
		{" undisclosed-recipients:;", " undisclosed-recipients <a@b>", false, false},
		{" Cron Daemon", " Cron Daemon <a@b>", false, false},
		{" root @ host . example", " a@b", true, true},
		{" root (x) @host", " a@b", true, true},
		{" a@[192.0.2.1]", " a@b", true, true},
		{" <@relay,@other:root@host>", " <a@b>", true, true},
		{" <>", " <a@b>", true, false},
		{"", " a@b", false, false},
		{"   ", " a@b", false, false},
		// What can't be read keeps nothing.
		{` "open <root@host>`, " a@b", false, false},
		{" (open <root@host>", " a@b", false, false},
		{" Root <root@host", " a@b", false, false},
		{" Root > <root@host>", " a@b", false, false},
		{" a <b@c> <d@e>", " a@b", false, false},
		{" a: b: c@d;", " a@b", false, false},
		{" a@b:25", " a@b", false, false},
		{" a;", " a@b", false, false},
		{" \"\\", " a@b", false, false},
	} {
		m := mailbox([]byte(c.value))
		if got := string(m.with("a@b")); got != c.want || m.only != c.only || m.repliable != c.reply {
			t.Errorf("%q: %q, only %v, repliable %v, want %q, %v, %v", c.value, got, m.only, m.repliable, c.want, c.only, c.reply)
		}
	}
}

// Whatever stands in From: what goes out has one address, which is ours, as
// far as Go's own reader can tell.
func FuzzAnotherAddress(f *testing.F) {
	for _, s := range []string{" Root <a@x>", " a@x (b)", " T: a@x, b@y;", ` "a" <b@c>, d@e`, " a b c", "<", `"`, "(((", " a\r\n <b@c>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\r\n\x00") {
			return // the header was taken in: it has line ends as folds alone
		}
		m := mailbox([]byte(s))
		got := string(m.with("us@example.com"))
		if !strings.Contains(got, "us@example.com") || len(got) > len(s)+40 {
			t.Fatalf("%q became %q", s, got)
		}
		list, err := mail.ParseAddressList(strings.TrimSpace(got))
		if err == nil && (len(list) != 1 || list[0].Address != "us@example.com") {
			t.Fatalf("%q became %q, which is read as %v", s, got, list)
		}
	})
}
