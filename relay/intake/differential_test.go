package intake

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
)

// The same dialogues go to the engine and to go-smtp's stock server, both
// driving the same sessions. What comes out is compared: the reply codes, and
// what was accepted. Each difference is in the table, with what justifies it.
var dialogues = []struct {
	name  string
	steps []string // sent one after the other; after each its replies are read
	// why the two differ; empty: they must not. It names an RFC section, or a
	// trap that the stock server falls into.
	why string
}{
	{"one message", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "Subject: x\r\n\r\ntext\r\n.", "QUIT"}, ""},
	{"HELO", []string{"HELO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "\r\ntext\r\n.", "QUIT"}, ""},
	{"two recipients", []string{"EHLO a.example.com", "MAIL FROM:<>", "RCPT TO:<b@example.net>", "RCPT TO:<c@example.net>", "DATA", "x: y\r\n\r\n..dot\r\n.", "QUIT"}, ""},
	{"two messages", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "a: b\r\n.", "MAIL FROM:<a@example.com>", "RCPT TO:<c@example.net>", "DATA", "a: b\r\n."}, ""},
	{"refused sender", []string{"EHLO a.example.com", "MAIL FROM:<x@nowhere.example>"}, ""},
	{"refused recipient", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@nowhere.example>", "RCPT TO:<b@example.net>", "DATA", "a: b\r\n."}, ""},
	{"RSET", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "RSET", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.net>", "DATA", "a: b\r\n."}, ""},
	{"DSN", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com> RET=FULL ENVID=abc", "RCPT TO:<b@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@example.net", "DATA", "a: b\r\n."}, ""},
	{"BODY and SMTPUTF8", []string{"EHLO a.example.com", "MAIL FROM:<jürgen@bücher.example> BODY=8BITMIME SMTPUTF8 SIZE=10", "RCPT TO:<rené@bücher.example>", "DATA", "a: ü\r\n."}, ""},
	{"BDAT in one", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "BDAT 6 LAST\r\na: b"}, ""},
	{"BDAT in two", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "BDAT 6\r\na: b", "BDAT 6 LAST\r\nc: d"}, ""},
	{"too large by SIZE", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com> SIZE=2000000"}, ""},
	{"bad NOTIFY", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net> NOTIFY=NEVER,DELAY"}, ""},
	{"NOOP and VRFY", []string{"EHLO a.example.com", "NOOP", "VRFY a"}, ""},

	{"MAIL before EHLO", []string{"MAIL FROM:<a@example.com>"}, "RFC 5321 §4.1.4: a bad sequence is 503, not 502"},
	{"RCPT before MAIL", []string{"EHLO a.example.com", "RCPT TO:<b@example.net>"}, "RFC 5321 §4.1.4: 503, not 502"},
	{"DATA before RCPT", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "DATA"}, "RFC 5321 §3.3: 503, not 502"},
	{"second MAIL", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "MAIL FROM:<a@example.org>", "DATA", "a: b\r\n."}, "trap: the recipients of the first sender stay under the second"},
	{"quoted sender", []string{"EHLO a.example.com", `MAIL FROM:<"a> SIZE=1 <"@example.com>`}, "trap: the quotes are lost, so what arrives is no address"},
	{"no brackets", []string{"EHLO a.example.com", "MAIL FROM:a@example.com"}, "RFC 5321 §4.1.2: a path has angle brackets"},
	{"two @", []string{"EHLO a.example.com", "MAIL FROM:<a@b@example.com>"}, "RFC 5321 §4.1.2; same refusal: go-smtp takes anything as a domain, the adapter refuses it"},
	{"unknown parameter", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com> FOO=1"}, "RFC 5321 §4.1.1.11: 555, not 500"},
	{"EHLO without name", []string{"EHLO"}, "same code, and go-smtp's reply has another text"},
	{"header injection by EHLO", []string{"EHLO a(b)c", "MAIL FROM:<a@example.com>"}, "trap: the name isn't checked at EHLO; the adapter does it at MAIL"},
	{"EXPN", []string{"EHLO a.example.com", "EXPN a"}, ""},
	{"HELP", []string{"EHLO a.example.com", "HELP"}, "RFC 5321 §4.1.1.8: HELP should be there"},
	{"DATA with a parameter", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA x"}, "RFC 5321 §4.1.1: commands without parameters, 501; same code, other words"},
	{"STARTTLSjunk", []string{"EHLO a.example.com", "STARTTLSjunk"}, "trap: it is taken for STARTTLS"},
	{"bare LF", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "a: b\r\n\r\nc\nd\r\n."}, "trap: bare LF reaches the backend (RFC 5321 §2.3.8)"},
	{"bare CR", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "a: b\r\n\r\nc\rd\r\n."}, "trap: bare CR reaches the backend (RFC 5321 §2.3.8)"},
	{"dot CR X", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "a: b\r\n\r\n.\rX\r\n."}, "trap: the CR is lost"},
	{"CR CR LF", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "a: b\r\n\r\nx\r\r\n.", "."}, "trap: CR CR LF . CR LF is missed as the end"},
	{"exact size", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "a: b\r\n\r\n" + strings.Repeat("x", 1<<20-10) + "\r\n."}, "trap: a message of exactly SIZE is refused (RFC 1870 §6.1)"},
	{"malformed BDAT", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "BDAT x LAST\r\nRSET"}, "trap: the chunk runs as commands (go-smtp#315)"},
	{"HTTP", []string{"GET / HTTP/1.1", "EHLO a.example.com"}, "trap: a browser can deliver"},
	{"header as command", []string{"Host: localhost", "EHLO a.example.com"}, "trap: a browser can deliver"},
	{"BY on MAIL", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com> BY=60;N"}, "RFC 2852 §4: BY is a parameter of MAIL"},
	{"BY on RCPT", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net> BY=60;N"}, "RFC 2852 §4: BY is no parameter of RCPT; same refusal, the stock server hands it over and the adapter refuses"},
	{"parameter twice", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com> RET=FULL RET=HDRS"}, "RFC 5321 §4.1.1.11: which of the two would hold?"},
	{"EHLO twice", []string{"EHLO a.example.com", "EHLO b.example.com", "MAIL FROM:<a@example.com>"}, ""},
	{"MAIL between chunks", []string{"EHLO a.example.com", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "BDAT 6\r\na: b", "MAIL FROM:<a@example.com>"}, "RFC 3030 §2: 503, not 502"},
	{"chunk out of order", []string{"EHLO a.example.com", "BDAT 6\r\nNOOP", "NOOP"}, "RFC 3030 §2: 503, not 502"},
}

func TestDifferential(t *testing.T) {
	for _, d := range dialogues {
		t.Run(d.name, func(t *testing.T) {
			ours, oursKept := throughEngine(t, d.steps)
			theirs, theirsKept := throughStock(t, d.steps)
			same := ours == theirs && oursKept == theirsKept
			switch {
			case d.why == "" && !same:
				t.Errorf("an unexplained difference\nengine:\n%s%s\nstock:\n%s%s", ours, oursKept, theirs, theirsKept)
			case d.why != "" && same && !strings.Contains(d.why, "same "):
				t.Errorf("no difference any more, but the table says: %s", d.why)
			}
		})
	}
}

// throughEngine returns the reply codes to each step, and what was kept.
func throughEngine(t *testing.T, steps []string) (codes, kept string) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		codes, kept = exchange(r.dial(""), steps), keptBy(r.store)
		synctest.Wait()
	})
	return codes, kept
}

func throughStock(t *testing.T, steps []string) (codes, kept string) {
	synctest.Test(t, func(t *testing.T) {
		srv, st, stop := newStock(t)
		defer stop()
		ln := newOneListener("127.0.0.1:40000")
		done := make(chan struct{})
		go func() { srv.Serve(ln); close(done) }()
		codes = exchange(ln.client, steps)
		srv.Close()
		<-done
		kept = keptBy(st)
	})
	return codes, kept
}

// exchange sends each step and takes the codes of its replies, once nobody
// has anything more to do.
func exchange(nc net.Conn, steps []string) string {
	defer nc.Close()
	var b strings.Builder
	read := func() (open bool) {
		synctest.Wait()
		h := nc.(*pipe).in
		h.mu.Lock()
		defer h.mu.Unlock()
		b.WriteString(codesOf(string(h.buf)) + "\n")
		h.buf = h.buf[:0]
		if h.closed {
			b.WriteString("closed\n")
		}
		return !h.closed
	}
	for _, s := range append([]string{""}, steps...) {
		if s != "" {
			io.WriteString(nc, s+"\r\n")
		}
		if !read() {
			break
		}
	}
	return b.String()
}

// keptBy describes what was accepted, without what changes from run to run.
func keptBy(s *store) string { return describeKept(s.all()) }

func describeKept(kept []message) string {
	var b strings.Builder
	for _, m := range kept {
		_, body, _ := strings.Cut(m.content, "\r\n\r\n")
		fmt.Fprintf(&b, "%s %v %q %q %v %q\n", m.env.From, m.env.Recipients, m.env.Body, m.env.Return, m.env.EnvelopeID, body)
	}
	return b.String()
}
