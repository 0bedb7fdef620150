package intake

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/config/wire"
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
		if n := r.listener.count(); n != 0 {
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

// headerLine is the first line of a field (RFC 5322 §2.2, §4.5.8), or one that
// goes on with it.
var headerLine = regexp.MustCompile(`^([!-9;-~]+[ \t]*:|[ \t])`)

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
			if !headerLine.MatchString(line) {
				t.Errorf("%q is no header line", line)
			}
		}
		for _, a := range append([]string{m.env.From}, addresses(m.env)...) {
			if a != "" && wire.CheckMailbox(a, m.env.SMTPUTF8) != wire.NoFault && !strings.EqualFold(a, "postmaster") {
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
	ends := map[string]string{"LF": "\n", "CR": "\r", "CRLF": "\r\n", "CRCRLF": "\r\r\n", "LFCR": "\n\r", "CRNULLF": "\r\x00\n",
		"CRLFNUL": "\r\n\x00", "LFNUL": "\n\x00", "NONE": ""}
	for n1, e1 := range ends {
		for n2, e2 := range ends {
			evil := "MAIL FROM:<evil@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nSubject: smuggled\r\n"
			body := "Subject: x\r\n\r\ntext" + e1 + "." + e2 + evil
			data := greetAndMail + "DATA\r\n" + body + "\r\n.\r\nQUIT\r\n"
			// CR CR LF ends in a CRLF: the end is found, and the message is
			// refused for the CR before.
			ended := strings.HasSuffix(e1, "\r\n") && strings.HasPrefix(e2, "\r\n")
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

// TestHostile is what else a client may try.
func TestHostile(t *testing.T) {
	for _, c := range hostileCases() {
		for _, dribble := range []bool{false, true} {
			if dribble && len(c.input) > 5000 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%t", c.name, dribble), func(t *testing.T) {
				replies, kept := attack(t, nil, c.input, dribble)
				rest := replies
				for _, w := range c.want {
					w, last := strings.CutSuffix(w, "$")
					i := strings.Index(rest, w)
					if i < 0 || last && rest[i:] != w {
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
		r.server.admit(r.listener, server)
		client.Write(bytes.Repeat([]byte("EHLO a.example.com\r\n"), 90))
		time.Sleep(writeTimeout + time.Second)
		synctest.Wait()
		if n := r.listener.count(); n != 0 {
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
		if n := r.listener.count(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

// TestEmptyChunksEnd: a client that goes on with chunks of nothing always makes
// progress, and the message never does.
func TestEmptyChunksEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		nc := r.dial("")
		go io.Copy(io.Discard, nc)
		io.WriteString(nc, greetAndMail+strings.Repeat("BDAT 0\r\n", maxChunks+1)+"BDAT 6 LAST\r\na: b\r\n")
		time.Sleep(2 * lingerTimeout)
		synctest.Wait()
		if r.listener.count() != 0 || !slices.Contains(r.events.abused, "too many chunks") {
			t.Errorf("%d connections are left; abused: %v", r.listener.count(), r.events.abused)
		}
		if kept := r.store.all(); len(kept) != 0 {
			t.Errorf("%d messages were kept", len(kept))
		}
	})
}
