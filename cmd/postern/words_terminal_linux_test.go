package main

import (
	"bufio"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"postern/config/wire"
)

// hostileWords are what a terminal would obey, or show as something else.
var hostileWords = strings.Join([]string{
	"\x1b]52;c;cm0gLXJmIH4=\x07", "\x1b]8;;https://evil.example\x1b\\here\x1b]8;;\x1b\\", "\x1b[2J\x1b[1;1Hroot#", "\x1bP$q\x1b\\", "\x1b[6n",
	"\u009b31m", "\u009d0;t\u009c", "\x9b32m", "\u202edrowssap\u202c", "\u2066x\u2069", "a\u200bb\u00adc\ufeffd", "\U000e0041\U000e0042",
	"\x7f\b\b\b", "\x00", "\u2028\u2029", "\u2800\u3164", "\xff\xfe", "\xc0\x9b", "表示の幅", "e" + strings.Repeat("\u0301", 60),
}, "_")

// spoken is such words in a line of SMTP or of a header.
func spoken(s string) string { return strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(s) }

// speakHostile is an upstream that answers a command with such words, and ends with
// the connection; "": the greeting.
func speakHostile(t *testing.T, refuses string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	serve := func(c net.Conn) {
		defer c.Close()
		if refuses == "" {
			fmt.Fprintf(c, "421-4.3.2 %s\r\n421 4.3.2 %s\r\n", strings.Repeat("表", 150), spoken(hostileWords))
			return
		}
		fmt.Fprint(c, "220 up.example ESMTP\r\n")
		for in := bufio.NewScanner(c); in.Scan(); {
			switch verb, _, _ := strings.Cut(strings.ToUpper(in.Text()), " "); verb {
			case "EHLO":
				fmt.Fprint(c, "250-up.example\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n")
			case refuses:
				fmt.Fprintf(c, "451-4.7.1 %s\r\n451 4.7.1 %s\r\n", spoken(hostileWords), strings.Repeat("x", 400))
			default:
				fmt.Fprint(c, "250 2.0.0 done\r\n")
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

// handedIn hands in a message whose words are hostile, as far as the listener lets
// them pass.
func handedIn(t *testing.T, listen, to string) {
	t.Helper()
	c, err := smtp.Dial(listen)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	text := "From: app@example.com\r\nTo: b@example.net\r\nSubject: " + spoken(hostileWords) + "\r\nMessage-ID: <" + spoken(hostileWords) +
		"@example.com>\r\nX-" + strings.Repeat("表", 100) + ": x\r\n\r\nx\r\n"
	if err := c.Mail("app@example.com"); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt(to); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// shown runs a command on a terminal and returns every byte that came there.
func (v *terminal) shown(cmd *exec.Cmd) string {
	v.t.Helper()
	v.mu.Lock()
	v.raw = nil
	v.mu.Unlock()
	v.run(cmd)()
	return v.printed()
}

// printed is every byte that has come, once what was printed has.
func (v *terminal) printed() string {
	v.t.Helper()
	const end = "\x1b[99z"
	if _, err := v.slave.WriteString(end); err != nil {
		v.t.Fatal(err)
	}
	var said string
	eventually(v.t, "the terminal has all", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		said = string(v.raw)
		return strings.HasSuffix(said, end)
	})
	return strings.TrimSuffix(said, end)
}

// ours are the sequences that the live screen is made of.
var ours = regexp.MustCompile(`\x1b\[(H|K|J|7m|0m|\?7[lh]|\?25[lh]|\?1049[lh])`)

// obeyed is the first thing in what was shown that a terminal would obey or hide.
func obeyed(said string) string {
	said = ours.ReplaceAllString(strings.NewReplacer("\r\n", "\n", "\t", " ").Replace(said), "")
	for i, r := range said {
		if r != '\n' && !wire.Visible(r) || r == utf8.RuneError {
			return fmt.Sprintf("%q", said[max(0, i-60):min(len(said), i+20)])
		}
	}
	return ""
}

// TestHostileWordsOnTerminals: whatever upstreams, senders, address books, files and
// arguments say, no command prints anything that a terminal obeys.
func TestHostileWordsOnTerminals(t *testing.T) {
	listen := freeAddr(t)
	text := ordinary(listen, speakHostile(t, "RCPT"))
	host, port, _ := net.SplitHostPort(speakHostile(t, ""))
	text = strings.Replace(text, "[[route]]", fmt.Sprintf("[upstream.closed]\nhost = %q\nport = %s\ntls = \"off\"\n[[route]]\nto = [\"*@closed.example\"]\nfrom = [\"*\"]\nupstream = [\"closed\"]\n[[route]]", host, port), 1)
	text = strings.Replace(text, `"1s"`, `"1h"`, 1) + "[book.team]\nprovider = \"vcards\"\ndir = \"DIR/book\"\n"
	h := newHarness(t, text)
	name := strings.NewReplacer("/", "", "\x00", "").Replace(hostileWords)[:200]
	card := "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:%s\r\nFN:oddly %s\r\nNICKNAME:%s\r\nORG:%s\r\nEMAIL:%s@example.com\r\nNOTE:%s\r\nEND:VCARD\r\n"
	for _, one := range []struct{ file, words string }{{"a.vcf", strings.ToValidUTF8(hostileWords, "")}, {name + ".vcf", strings.ToValidUTF8(spoken(hostileWords), "")}, {"wrong.vcf", hostileWords}, {"long.vcf", strings.Repeat("表", 30_000)}} {
		if err := os.MkdirAll(filepath.Join(h.dir, "book"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(h.dir, "book", one.file), fmt.Appendf(nil, card, one.words, one.words, one.words, one.words, one.file[:1], one.words), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bad := filepath.Join(h.dir, name+".toml")
	if err := os.WriteFile(bad, []byte("\"a\\u001b]52;c\\u0007\\u009b31m\" = 1\n[upstream.\"\\u202eb\\u001b[2J\"]\nhost = \"\\u001b]0;x\"\n[[route]]\nfrom = [\"\\u0007@x\"]\nupstream = [\"\\u009b\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start()
	handedIn(t, listen, "b@example.net")
	handedIn(t, listen, "c@closed.example")
	eventually(t, "both upstreams have answered", func() bool { return strings.Count(h.must("queue", "list"), "4.") >= 2 })
	v := newTerminal(t, 100, 40)
	id := strings.Fields(strings.Split(h.must("queue", "list"), "\n")[1])[0]
	on := func(args ...string) *exec.Cmd {
		cmd := h.command(t.Context(), args...)
		cmd.Env = append(cmd.Env, "TERM=xterm")
		return cmd
	}
	arg := strings.ReplaceAll(hostileWords, "\x00", "")
	for _, args := range [][]string{
		{"queue", "list"}, {"queue", "show", id}, {"queue", "list", "--json"}, {"queue", "show", id, "--json"}, {"trace", id}, {"trace", "app@example.com"},
		{"trace", id, "--json"}, {"status"}, {"status", "--json"}, {"upstream", "list"}, {"upstream", "list", "--json"}, {"upstream", "test", "closed"},
		{"doctor"}, {"doctor", "--json"}, {"check"}, {"book", "find", "oddly"}, {"book", "find", "oddly", "--json"}, {"book", "show", "a@example.com"},
		{"book", "show", "l@example.com"}, {"book", "find", "oddly", "--format", "mutt"}, {"book", "expand", "a@example.com"}, {"top", "--once", "--interval", "200ms"}, {"top", "--json", "--interval", "200ms"},
		{"explain", "--from", arg + "@example.com", "--to", arg + "@example.net"}, {"explain", "--from", "a@example.com", "--header", "Subject: " + arg},
		{"explain", "--from", "a@example.com", "--header", arg}, {"explain", "--from", "a@example.com", "--listener", arg}, {"explain", "--from", "a@example.com", "--user", arg, "--json"},
		{arg}, {"--" + arg}, {"queue", "show", arg}, {"queue", "remove", arg}, {"trace", arg}, {"trace", "--since", arg}, {"upstream", "test", arg}, {"upstream", "pause", arg},
		{"book", "find", arg}, {"book", "show", arg}, {"queue", arg}, {"queue", "list", "--limit", arg}, {"queue", "list", "--upstream", arg}, {"send", arg},
		{"send", "--to", arg, "--from", arg, "--body", "x", "--dry-run"}, {"completion", arg}, {"alert", "test", arg}, {"dkim", "check", arg}, {"import", arg}, {"route", "remove", arg},
		{"book", "add", "--name", arg, "--email", "z@example.com"}, {"__complete", "book", "show", "o"}, {"__complete", "queue", "show", ""},
	} {
		said := v.shown(on(args...))
		if what := obeyed(said); what != "" {
			t.Errorf("%.80q prints %s", args, what)
		}
		if len(said) > 200_000 {
			t.Errorf("%.80q prints %d bytes", args, len(said))
		}
	}
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check"}, {"doctor"}, {"serve"}, {"status"}, {"explain", "--from", "a@example.com"}, {"queue", "list"}} {
		if what := obeyed(v.shown(exec.Command(program, append(args, "--config", bad)...))); what != "" {
			t.Errorf("%q of a hostile file prints %s", args, what)
		}
	}
	// The live screen: what is twice as wide neither wraps nor scrolls.
	v.mu.Lock()
	v.raw, v.scrolled = nil, 0
	v.mu.Unlock()
	wait := v.run(on("top", "--interval", "200ms"))
	eventually(t, "the reason is seen", func() bool { return strings.Contains(v.text(), "4.3.2") })
	v.typeIn("j")
	v.typeIn("k")
	eventually(t, "the reason of the chosen one is seen", func() bool { return strings.Contains(v.text(), "closed: ") })
	lines, scrolled := v.look()
	for i, l := range lines {
		if strings.HasPrefix(strings.TrimSpace(l), "表") {
			t.Errorf("line %d is made of another one: %s", i, l)
		}
	}
	if scrolled > 0 || !strings.HasPrefix(lines[0], "postern  ") {
		t.Errorf("%d lines have scrolled away:\n%s", scrolled, v.text())
	}
	v.typeIn("q")
	wait()
	if what := obeyed(v.printed()); what != "" {
		t.Errorf("top prints %s", what)
	}
}
