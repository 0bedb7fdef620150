package intake

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/spool"
)

const greetAndMail = "EHLO a.example.com\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\n"

// attack sends input to a server in one write, or byte by byte, lets much
// time pass, and returns what was answered and kept. What holds for every
// attack is checked here.
func attack(t *testing.T, change func(*config.Listener), input string, dribble bool) (replies string, kept []message) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, change)
		nc := r.dial("")
		synctest.Wait()
		if dribble {
			for i := range len(input) {
				nc.Write([]byte{input[i]})
				synctest.Wait()
			}
		} else {
			nc.Write([]byte(input))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		h := nc.(*pipe).in
		h.mu.Lock()
		replies = string(h.buf)
		open := !h.closed
		h.mu.Unlock()
		if open {
			t.Error("still open after an hour")
		}
		kept = r.store.all()
		checkKept(t, kept, false)
		if r.store.open != 0 {
			t.Errorf("%d drafts were left open", r.store.open)
		}
		if len(r.events.panics) > 0 {
			t.Errorf("panic: %v", r.events.panics)
		}
		if n := r.door.count(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
	for line := range strings.SplitSeq(strings.TrimSuffix(replies, "\r\n"), "\r\n") {
		if len(line) > 510 || len(line) < 4 || strings.ContainsAny(line, "\r\n\x00\x1b") {
			t.Errorf("a reply that is none: %q", line)
		}
	}
	return replies, kept
}

// checkKept: what may never be in a message that was accepted.
func checkKept(t testing.TB, kept []message, binary bool) {
	t.Helper()
	for _, m := range kept {
		if !binary {
			if rest := strings.ReplaceAll(m.content, "\r\n", ""); strings.ContainsAny(rest, "\r\n\x00") {
				t.Errorf("bare CR, LF or NUL was accepted: %q", m.content)
			}
			if !strings.HasSuffix(m.content, "\r\n") {
				t.Errorf("no CRLF at the end: %q", m.content)
			}
		}
		head, _, ok := strings.Cut(m.content, "\r\n\r\n")
		if !ok || !strings.HasPrefix(head, "Received: from ") {
			t.Errorf("not a header with a trace: %q", m.content)
		}
		for line := range strings.SplitSeq(head, "\r\n") {
			if !isContinuation([]byte(line+"\r\n")) && fieldName([]byte(line+"\r\n")) == 0 {
				t.Errorf("%q is no header line", line)
			}
		}
		for _, a := range append([]string{m.env.From}, addresses(m.env)...) {
			if a != "" && checkMailbox(a, m.env.SMTPUTF8) != pathOK && !strings.EqualFold(a, "postmaster") {
				t.Errorf("address %q", a)
			}
		}
	}
}

func addresses(e *spool.Envelope) (list []string) {
	for _, r := range e.Recipients {
		list = append(list, r.Address)
	}
	return list
}

// TestSmuggling tries every pair of would-be line ends around a dot, in DATA
// and BDAT. Only CRLF . CRLF ends DATA, and nothing ends a chunk.
func TestSmuggling(t *testing.T) {
	ends := map[string]string{"LF": "\n", "CR": "\r", "CRLF": "\r\n", "CRCRLF": "\r\r\n", "LFCR": "\n\r", "CRNULLF": "\r\x00\n", "NONE": ""}
	for n1, e1 := range ends {
		for n2, e2 := range ends {
			evil := "MAIL FROM:<evil@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nSubject: smuggled\r\n"
			body := "Subject: x\r\n\r\ntext" + e1 + "." + e2 + evil
			data := greetAndMail + "DATA\r\n" + body + "\r\n.\r\nQUIT\r\n"
			// CR CR LF ends in a CRLF: the end is found, and the message is
			// refused for the CR before.
			ended := strings.HasSuffix(e1, "\r\n") && e2 == "\r\n"
			for _, dribble := range []bool{false, true} {
				t.Run(fmt.Sprintf("DATA/%s.%s/%t", n1, n2, dribble), func(t *testing.T) {
					replies, kept := attack(t, nil, data, dribble)
					if evils := from(kept, "evil@example.com"); evils > 0 && !ended {
						t.Errorf("smuggled: %q", replies)
					}
					clean := !strings.ContainsAny(strings.ReplaceAll(body, "\r\n", ""), "\r\n\x00")
					if !ended && len(kept) == 1 != clean {
						t.Errorf("kept %d, clean %t: %q", len(kept), clean, replies)
					}
				})
			}
			t.Run("normalised/"+n1+"."+n2, func(t *testing.T) {
				_, kept := attack(t, func(l *config.Listener) { l.Newlines = "normalise" }, data, false)
				if evils := from(kept, "evil@example.com"); evils > 0 && !ended {
					t.Error("smuggled")
				}
			})
			t.Run("BDAT/"+n1+"."+n2, func(t *testing.T) {
				for cut := range body {
					if body[cut] != '.' && cut%9 != 0 {
						continue
					}
					input := greetAndMail + fmt.Sprintf("BDAT %d\r\n%sBDAT %d LAST\r\n%sQUIT\r\n", cut, body[:cut], len(body)-cut, body[cut:])
					if _, kept := attack(t, nil, input, false); from(kept, "evil@example.com") > 0 {
						t.Errorf("smuggled at %d", cut)
					}
				}
			})
		}
	}
}

func from(kept []message, addr string) (n int) {
	for _, m := range kept {
		if m.env.From == addr {
			n++
		}
	}
	return n
}

// TestHostile is what else a client may try. want is what the replies must
// hold, in this order; kept is how many messages come of it.
func TestHostile(t *testing.T) {
	long := strings.Repeat("x", 2000)
	data := greetAndMail + "DATA\r\n"
	for _, c := range []struct {
		name, input string
		kept        int
		want        []string
	}{
		{"nothing", "", 0, []string{"220 ", "421 4.4.2"}},
		{"random bytes", "\x8f\x02\xfe\r\n\x00\x01\r\n", 0, []string{"500 ", "421 "}},
		{"TLS hello", "\x16\x03\x01\x00\xf4\x01\x00", 0, []string{"554 5.7.0"}},
		{"TLS after EHLO", "EHLO a.example.com\r\n\x16\x03\x01\x00\xf4", 0, []string{"250 ", "554 5.7.0"}},
		{"HTTP GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n" + data, 0, []string{"554 5.7.0"}},
		{"HTTP PUT", "PUT /x HTTP/1.1\r\n\r\n" + data, 0, []string{"554 5.7.0"}},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, []string{"554 5.7.0"}},
		{"header first", "X-Evil: 1\r\n" + data, 0, []string{"554 5.7.0"}},
		{"form post in the middle", greetAndMail + "POST / HTTP/1.1\r\n", 0, []string{"354"[:0], "554 5.7.0"}},
		{"EHLO with CR", "EHLO a\rReceived: x\r\n", 0, []string{"500 5.5.2"}},
		{"EHLO with NUL", "EHLO a\x00b\r\n" + greetAndMail, 0, []string{"500 5.5.2", "250 "}},
		{"EHLO of 300 octets", "EHLO " + long[:300] + "\r\n", 0, []string{"501 5.5.4"}},
		{"EHLO of a label of 64", "EHLO " + long[:64] + ".example\r\n", 0, []string{"501 5.5.4"}},
		{"EHLO comment", "EHLO a(\r\n", 0, []string{"501 5.5.4"}},
		{"EHLO with semicolon", "EHLO a;b\r\n", 0, []string{"501 5.5.4"}},
		{"EHLO 8-bit", "EHLO \xe9\r\n", 0, []string{"501 5.5.4"}},
		{"sender with CR", "EHLO a\r\nMAIL FROM:<a\r@example.com>\r\n", 0, []string{"500 5.5.2"}},
		{"sender with NUL", "EHLO a\r\nMAIL FROM:<a\x00@example.com>\r\n", 0, []string{"500 5.5.2"}},
		{"sender with tab", "EHLO a\r\nMAIL FROM:<a\t@example.com>\r\n", 0, []string{"500 5.5.2"}},
		{"sender in Latin-1", "EHLO a\r\nMAIL FROM:<\xe9@example.com> SMTPUTF8\r\n", 0, []string{"501 5.1.7"}},
		{"sender of 1,500 octets", "EHLO a\r\nMAIL FROM:<" + long[:1500] + "@example.com>\r\n", 0, []string{"501 5.1.7 address too long"}},
		{"domain of 1,500 octets", "EHLO a\r\nMAIL FROM:<a@" + strings.Repeat("x.", 750) + "com>\r\n", 0, []string{"501 5.1.7"}},
		{"label of 64 octets", "EHLO a\r\nMAIL FROM:<a@" + long[:64] + ".com>\r\n", 0, []string{"501 5.1.7"}},
		{"sender of 254 octets", "EHLO a\r\nMAIL FROM:<" + long[:242] + "@example.com>\r\n", 0, []string{"250 2.1.0"}},
		{"sender of 255 octets", "EHLO a\r\nMAIL FROM:<" + long[:243] + "@example.com>\r\n", 0, []string{"501 5.1.7 address too long"}},
		{"two senders", "EHLO a\r\nMAIL FROM:<a@example.com><b@example.com>\r\n", 0, []string{"501 5.1.7"}},
		{"unclosed quote", "EHLO a\r\nMAIL FROM:<\"a@example.com>\r\n", 0, []string{"501 5.1.7"}},
		{"quote with control", "EHLO a\r\nMAIL FROM:<\"a\x07\"@example.com>\r\n", 0, []string{"500 5.5.2"}},
		{"escape of 8-bit", "EHLO a\r\nMAIL FROM:<\"\\\xe9\"@example.com> SMTPUTF8\r\n", 0, []string{"501 5.1.7"}},
		{"quoted command", "EHLO a\r\nMAIL FROM:<\"> RCPT TO:<x\"@example.com>\r\n", 0, []string{"250 2.1.0"}},
		{"C1 control in UTF-8", "EHLO a\r\nMAIL FROM:<a\u0085b@example.com> SMTPUTF8\r\n", 0, []string{"501 5.1.7"}},
		{"overlong UTF-8", "EHLO a\r\nMAIL FROM:<a\xc0\xafb@example.com> SMTPUTF8\r\n", 0, []string{"501 5.1.7"}},
		{"surrogate in UTF-8", "EHLO a\r\nMAIL FROM:<a\xed\xa0\x80b@example.com> SMTPUTF8\r\n", 0, []string{"501 5.1.7"}},
		{"look-alike of a mapped sender", "EHLO a\r\nMAIL FROM:<a@еxample.com> SMTPUTF8\r\n", 0, []string{"550 5.7.1"}},
		{"full-width at sign", "EHLO a\r\nMAIL FROM:<a＠example.com> SMTPUTF8\r\n", 0, []string{"553 5.1.7"}},
		{"percent hack", "EHLO a\r\nMAIL FROM:<a%b@example.com>\r\nRCPT TO:<b%nowhere.example@example.net>\r\n", 0, []string{"250 2.1.0", "250 2.1.5"}},
		{"bang path", "EHLO a\r\nMAIL FROM:<a!b@example.com>\r\n", 0, []string{"250 2.1.0"}},
		{"source route to elsewhere", "EHLO a\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<@example.net:b@nowhere.example>\r\n", 0, []string{"250 2.1.0", "550 5.7.1"}},
		{"source route malformed", "EHLO a\r\nMAIL FROM:<@a,b:c@example.com>\r\n", 0, []string{"501 5.1.7"}},
		{"source route alone", "EHLO a\r\nMAIL FROM:<@a:>\r\n", 0, []string{"501 5.1.7"}},
		{"literal with zone", "EHLO a\r\nMAIL FROM:<a@[IPv6:fe80::1%eth0]>\r\n", 0, []string{"501 5.1.7"}},
		{"literal of another kind", "EHLO a\r\nMAIL FROM:<a@[X400:c=de]>\r\n", 0, []string{"501 5.1.7"}},
		{"literal unmapped", "EHLO a\r\nMAIL FROM:<a@[127.0.0.1]>\r\n", 0, []string{"550 5.7.1"}},
		{"AUTH decodes to CRLF", "EHLO a\r\nMAIL FROM:<a@example.com> AUTH=a+0D+0A@b\r\n", 0, []string{"555 5.5.4"}},
		{"ENVID decodes to CRLF", "EHLO a\r\nMAIL FROM:<a@example.com> ENVID=a+0D+0Ab\r\n", 0, []string{"501 5.5.4"}},
		{"ENVID of 101 octets", "EHLO a\r\nMAIL FROM:<a@example.com> ENVID=" + long[:101] + "\r\n", 0, []string{"501 5.5.4"}},
		{"ENVID lower-case hex", "EHLO a\r\nMAIL FROM:<a@example.com> ENVID=a+2b\r\n", 0, []string{"501 5.5.4"}},
		{"ENVID cut off", "EHLO a\r\nMAIL FROM:<a@example.com> ENVID=a+2\r\n", 0, []string{"501 5.5.4"}},
		{"ORCPT decodes to a control", "EHLO a\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net> ORCPT=rfc822;a+1B\r\n", 0, []string{"250 2.1.0", "501 5.5.4"}},
		{"ORCPT of 600 octets", "EHLO a\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net> ORCPT=rfc822;" + long[:600] + "\r\n", 0, []string{"250 2.1.0", "501 5.5.4"}},
		{"ORCPT UTF-8 control", "EHLO a\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net> ORCPT=utf-8;a\\x{0D}\r\n", 0, []string{"250 2.1.0", "501 5.5.4"}},
		{"ORCPT type with blank", "EHLO a\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net> ORCPT=rf c;a\r\n", 0, []string{"250 2.1.0", "501 5.5.4"}},
		{"parameter value with =", "EHLO a\r\nMAIL FROM:<a@example.com> BODY=8BIT=MIME\r\n", 0, []string{"501 5.5.4"}},
		{"a hundred parameters", "EHLO a\r\nMAIL FROM:<a@example.com>" + strings.Repeat(" SIZE=1", 100) + "\r\n", 0, []string{"501 5.5.4 parameter given twice"}},
		{"SIZE overflow", "EHLO a\r\nMAIL FROM:<a@example.com> SIZE=18446744073709551617\r\n", 0, []string{"552 5.3.4"}},
		{"SIZE of 21 digits", "EHLO a\r\nMAIL FROM:<a@example.com> SIZE=111111111111111111111\r\n", 0, []string{"501 5.5.4"}},
		{"SIZE negative", "EHLO a\r\nMAIL FROM:<a@example.com> SIZE=-5\r\n", 0, []string{"501 5.5.4"}},
		{"SIZE lies", "EHLO a\r\nMAIL FROM:<a@example.com> SIZE=1\r\nRCPT TO:<b@example.net>\r\nDATA\r\na: b\r\n\r\nmuch more\r\n.\r\n", 1, []string{"354 ", "250 2.0.0 queued"}},
		{"MT-PRIORITY overflow", "EHLO a\r\nMAIL FROM:<a@example.com> MT-PRIORITY=99999999999\r\n", 0, []string{"501 5.5.4"}},
		{"BY overflow", "EHLO a\r\nMAIL FROM:<a@example.com> BY=9999999999;N\r\n", 0, []string{"501 5.5.4"}},
		{"REQUIRETLS in clear", "EHLO a\r\nMAIL FROM:<a@example.com> REQUIRETLS\r\n", 0, []string{"555 5.5.4"}},
		{"message too large", data + "a: b\r\n\r\n" + strings.Repeat(long[:998]+"\r\n", 1100) + ".\r\nNOOP\r\n", 0, []string{"354 ", "552 5.3.4", "250 2.0.0 ok"}},
		{"endless message", data + "a: b\r\n\r\n" + strings.Repeat(long[:998]+"\r\n", 3500), 0, []string{"354 ", "421 4.7.0 endless"}},
		{"endless line in the body", data + "a: b\r\n\r\n" + strings.Repeat(long, 400) + "\r\n.\r\n", 1, []string{"354 ", "250 2.0.0 queued"}},
		{"header of 300 KB", data + strings.Repeat("X-A: "+long[:100]+"\r\n", 2900) + "\r\n.\r\n", 0, []string{"552 5.3.4 message header"}},
		{"header line of 300 KB", data + "Subject: " + strings.Repeat(long, 150) + "\r\n\r\n.\r\n", 0, []string{"552 5.3.4 message header"}},
		{"header without end", data + "Subject: x\r\n.\r\n", 1, []string{"250 2.0.0 queued"}},
		{"50 hops", data + strings.Repeat("Received: from a by b; x\r\n", 50) + "\r\n.\r\n", 0, []string{"554 5.4.6"}},
		{"49 hops", data + strings.Repeat("received : from a by b; x\r\n", 49) + "\r\n.\r\n", 1, []string{"250 2.0.0 queued"}},
		{"field name alone", data + ": x\r\n\r\n.\r\n", 1, []string{"250 2.0.0 queued"}},
		{"8-bit field name", data + "S\xfcbject: x\r\n\r\n.\r\n", 1, []string{"250 2.0.0 queued"}},
		{"NUL in header", data + "Subject: a\x00\r\n\r\n.\r\n", 0, []string{"554 5.6.0"}},
		{"NUL at the very end", data + "a: b\r\n\r\ntext\r\n\x00\r\n.\r\n", 0, []string{"554 5.6.0"}},
		{"data without end", data + "a: b\r\n", 0, []string{"354 ", "421 4.4.2"}},
		{"dot without CRLF", data + "a: b\r\n.", 0, []string{"354 ", "421 4.4.2"}},
		{"BDAT without size", greetAndMail + "BDAT\r\n", 0, []string{"501 5.5.4 syntax: BDAT"}},
		{"BDAT negative", greetAndMail + "BDAT -1\r\nQUIT\r\n", 0, []string{"501 5.5.4 syntax: BDAT"}},
		{"BDAT plus", greetAndMail + "BDAT +1\r\nQUIT\r\n", 0, []string{"501 5.5.4 syntax: BDAT"}},
		{"BDAT overflow", greetAndMail + "BDAT 99999999999999999999 LAST\r\n", 0, []string{"501 5.5.4 syntax: BDAT"}},
		{"BDAT 2^63-1", greetAndMail + "BDAT 9223372036854775807 LAST\r\nxx", 0, []string{"421 4.4.2"}},
		{"BDAT huge out of order", "EHLO a\r\nBDAT 9223372036854775807 LAST\r\nxx", 0, []string{"552 5.3.4"}},
		{"BDAT with junk", greetAndMail + "BDAT 1 LAST x\r\nQUIT\r\n", 0, []string{"501 5.5.4 syntax: BDAT"}},
		{"BDAT LASTING", greetAndMail + "BDAT 1 LASTING\r\nQUIT\r\n", 0, []string{"501 5.5.4 syntax: BDAT"}},
		{"BDAT then DATA", greetAndMail + "BDAT 6\r\na: b\r\nDATA\r\nNOOP\r\nRSET\r\n", 0, []string{"250 2.0.0 chunk", "503 5.5.1", "250 2.0.0 ok"}},
		{"BDAT cut in the command", greetAndMail + "BDAT 6\r\na: b\r\nBDA", 0, []string{"250 2.0.0 chunk", "421 4.4.2"}},
		{"BDAT malformed second", greetAndMail + "BDAT 6\r\na: b\r\nBDAT x\r\nMAIL FROM:<evil@example.com>\r\n", 0, []string{"250 2.0.0 chunk", "501 5.5.4 syntax: BDAT"}},
		{"BDAT QUIT", greetAndMail + "BDAT 6\r\na: b\r\nQUIT\r\nNOOP\r\n", 0, []string{"250 2.0.0 chunk", "221 "}},
		{"BDAT EHLO", greetAndMail + "BDAT 6\r\na: b\r\nEHLO b\r\nBDAT 0 LAST\r\n", 0, []string{"250 2.0.0 chunk", "250-", "503 5.5.1"}},
		{"BDAT HTTP", greetAndMail + "BDAT 6\r\na: b\r\nGET / HTTP/1.0\r\n", 0, []string{"250 2.0.0 chunk", "554 5.7.0"}},
		{"BDAT out of order many times", "EHLO a\r\n" + strings.Repeat("BDAT 6\r\nNOOP\r\n", 30), 0, []string{"503 5.5.1", "421 4.7.0 too many errors"}},
		{"BDAT of commands", greetAndMail + "BDAT 40 LAST\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<x@", 1, []string{"250 2.0.0 queued"}},
		{"BINARYMIME by DATA", "EHLO a\r\nMAIL FROM:<a@example.com> BODY=BINARYMIME\r\nRCPT TO:<b@example.net>\r\nDATA\r\n", 0, []string{"503 5.5.1 BINARYMIME"}},
		{"BINARYMIME header with bare LF", "EHLO a\r\nMAIL FROM:<a@example.com> BODY=BINARYMIME\r\nRCPT TO:<b@example.net>\r\nBDAT 13 LAST\r\na: b\nc: d\r\n\r\n", 0, []string{"554 5.6.0"}},
		{"STARTTLS not offered", "EHLO a\r\nSTARTTLS\r\n\x16\x03\x01", 0, []string{"502 5.5.1", "554 5.7.0"}},
		{"AUTH not offered", "EHLO a\r\nAUTH PLAIN AGEAYg==\r\n", 0, []string{"503 5.5.1"}},
		{"QUIT and on", "EHLO a\r\nQUIT\r\n" + data + "a: b\r\n.\r\n", 0, []string{"221 "}},
		{"errors and on", "EHLO a\r\n" + strings.Repeat("BAD\r\n", 20) + data + "a: b\r\n.\r\n", 0, []string{"421 4.7.0 too many errors"}},
		{"NOOP flood", strings.Repeat("NOOP\r\n", 500), 0, []string{"250 2.0.0", "421 4.7.0 too many commands"}},
		{"RSET flood", "EHLO a\r\n" + strings.Repeat("RSET\r\n", 500), 0, []string{"421 4.7.0 too many commands"}},
		{"EHLO flood", strings.Repeat("EHLO a\r\n", 500), 0, []string{"421 4.7.0 too many commands"}},
		{"VRFY flood", "EHLO a\r\n" + strings.Repeat("VRFY a\r\n", 500), 0, []string{"421 4.7.0 too many commands"}},
		{"RCPT flood", greetAndMail + strings.Repeat("RCPT TO:<b@nowhere.example>\r\n", 2000), 0, []string{"550 5.7.1", "421 4.7.0 too many refusals"}},
		{"MAIL flood", "EHLO a\r\n" + strings.Repeat("MAIL FROM:<b@nowhere.example>\r\n", 2000), 0, []string{"550 5.7.1", "421 4.7.0 too many refusals"}},
		{"RCPT beyond the limit", greetAndMail + rcpts(150) + "DATA\r\na: b\r\n.\r\n", 1, []string{"452 4.5.3", "354 ", "250 2.0.0 queued"}},
		{"line of 1 MB", "EHLO " + strings.Repeat("a", 1<<20) + "\r\n", 0, []string{"500 5.5.6"}},
		{"line without end", strings.Repeat("a", 5000), 0, []string{"500 5.5.6"}},
		{"empty lines", strings.Repeat("\r\n", 50), 0, []string{"500 5.5.1", "421 4.7.0"}},
		{"bare LF lines", "EHLO a\nMAIL FROM:<a@example.com>\n", 0, []string{"500 5.5.2"}},
		{"bare CR lines", "EHLO a\rMAIL FROM:<a@example.com>\r\r\n", 0, []string{"500 5.5.2"}},
		{"verb in eight bits", "\xc5HLO a\r\n", 0, []string{"500 5.5.1"}},
		{"verb with a dotless i", "MAıL FROM:<a@example.com>\r\n", 0, []string{"500 5.5.1"}},
		{"blank before the verb", " EHLO a\r\n", 0, []string{"500 5.5.1"}},
		{"tab after the verb", "EHLO\ta\r\n", 0, []string{"500 5.5.2"}},
		{"telnet negotiation", "\xff\xfd\x03\xff\xfb\x18\r\n", 0, []string{"500 5.5"}},
		{"SSH banner", "SSH-2.0-OpenSSH_9.2\r\n", 0, []string{"500 5.5.1"}},
		{"XCLIENT", "EHLO a\r\nXCLIENT ADDR=1.2.3.4\r\n", 0, []string{"500 5.5.1"}},
		{"ETRN", "EHLO a\r\nETRN example.com\r\n", 0, []string{"500 5.5.1"}},
		{"bounce text as a command", "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<>\r\n", 0, []string{"501 5.1.3"}},
	} {
		for _, dribble := range []bool{false, true} {
			if dribble && len(c.input) > 5000 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%t", c.name, dribble), func(t *testing.T) {
				replies, kept := attack(t, nil, c.input, dribble)
				rest := replies
				for _, w := range c.want {
					i := strings.Index(rest, w)
					if i < 0 {
						t.Fatalf("%q is missing in %q", w, tail(replies))
					}
					rest = rest[i+len(w):]
				}
				if len(kept) != c.kept {
					t.Errorf("%d messages, want %d: %q", len(kept), c.kept, tail(replies))
				}
			})
		}
	}
}

func rcpts(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "RCPT TO:<b%d@example.net>\r\n", i)
	}
	return b.String()
}

func tail(s string) string { return s[max(0, len(s)-600):] }

// TestAnyByteAnywhere puts NUL, controls and 8-bit bytes into every position
// of an ordinary dialogue. Whatever comes of it, checkKept holds.
func TestAnyByteAnywhere(t *testing.T) {
	ordinary := greetAndMail + "DATA\r\nSubject: x\r\n\r\n..text\r\n.\r\nQUIT\r\n"
	for _, b := range []byte{0, '\r', '\n', '\t', 0x1b, ' ', '<', '>', '"', '\\', 0x7f, 0x80, 0xff} {
		for i := range ordinary {
			if raceEnabled && i%3 != 0 {
				continue
			}
			attack(t, nil, ordinary[:i]+string([]byte{b})+ordinary[i+1:], false)
			attack(t, nil, ordinary[:i]+string([]byte{b})+ordinary[i:], false)
		}
	}
}

// TestStorageFaults: what the spool says becomes a reply, without its words.
func TestStorageFaults(t *testing.T) {
	secret := errors.New("/var/spool/postern/0001.seg: input/output error")
	for name, c := range map[string]struct {
		fault func(*store)
		want  string
	}{
		"full at MAIL":          {func(s *store) { s.create = spool.ErrFull }, "452 4.3.1"},
		"broken at MAIL":        {func(s *store) { s.create = secret }, "451 4.3.0"},
		"full while writing":    {func(s *store) { s.write = spool.ErrFull }, "452 4.3.1"},
		"broken while writing":  {func(s *store) { s.write = secret }, "451 4.3.0"},
		"full inside the body":  {func(s *store) { s.write, s.writeAfter = spool.ErrFull, 500 }, "452 4.3.1"},
		"full at the commit":    {func(s *store) { s.commit = fmt.Errorf("put: %w", spool.ErrFull) }, "452 4.3.1"},
		"broken at the commit":  {func(s *store) { s.commit = secret }, "451 4.3.0"},
		"broken inside a large": {func(s *store) { s.write, s.writeAfter = secret, 40000 }, "451 4.3.0"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				c.fault(r.store)
				nc := r.dial("")
				io.WriteString(nc, greetAndMail+"DATA\r\nSubject: x\r\n\r\n"+strings.Repeat("text text text\r\n", 5000)+".\r\nRSET\r\n")
				synctest.Wait()
				var b strings.Builder
				collect(&b, nc)
				got := b.String()
				if !strings.Contains(got, "S: "+c.want) || strings.Contains(got, "/var/spool") || strings.Contains(got, "queued") {
					t.Errorf("%s", got)
				}
				if strings.Contains(name, "MAIL") == strings.Contains(got, "S: 354") {
					t.Errorf("354: %s", got)
				}
				if r.store.open != 0 || len(r.store.messages) != 0 {
					t.Errorf("%d drafts, %d messages", r.store.open, len(r.store.messages))
				}
				if n := len(r.events.refusals); n < 1 || r.events.refusals[0].Cause == nil {
					t.Errorf("the cause was not told: %+v", r.events.refusals)
				}
				nc.Close()
			})
		})
	}
}

// TestClientNeverReads: a client that doesn't take its replies is lost, and
// holds neither memory nor a place for ever.
func TestClientNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		client, server := newPipe("127.0.0.1:1")
		server.(*pipe).out.max = 100
		r.server.admit(r.door, server)
		client.Write(bytes.Repeat([]byte("EHLO a.example.com\r\n"), 90))
		time.Sleep(writePatience + time.Second)
		synctest.Wait()
		if n := r.door.count(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		if len(r.events.closed) != 1 || r.events.closed[0] != "client does not read" {
			t.Errorf("closed: %v", r.events.closed)
		}
	})
}

// TestSlowloris: thousands who say a byte a minute hold little, and end.
func TestSlowloris(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(l *config.Listener) { l.MaxConnections = 2000 })
		conns := make([]net.Conn, 1000)
		for i := range conns {
			conns[i] = r.dial(fmt.Sprintf("192.0.2.%d:%d", i%200+1, i+1))
		}
		for range 7 {
			for _, c := range conns {
				c.Write([]byte("N"))
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		if n := r.door.count(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}
