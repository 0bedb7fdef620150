package intake

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"postern/config"
	"postern/config/wire"
	"postern/relay/submission"
	"postern/spool"
)

// FuzzParams: parsing never panics, and what is accepted is clean.
func FuzzParams(f *testing.F) {
	for _, s := range []string{" SIZE=1 BODY=8BITMIME", " RET=HDRS ENVID=a+2Bb", " NOTIFY=NEVER ORCPT=rfc822;a@b", " BY=-1;NT MT-PRIORITY=-9", " HOLDFOR=60", " HOLDUNTIL=2000-01-02T03:04:05.5+01:00", " SMTPUTF8 REQUIRETLS AUTH=<>", ` ORCPT=utf-8;\x{E9}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var e submission.Envelope
		if mailParams(s, offers{true, true, true, true, 1 << 30}, &e) == nil {
			if strings.ContainsAny(e.EnvelopeID, " \r\n\x00") || e.Priority < -9 || e.Priority > 9 {
				t.Fatalf("%q: %+v", s, e)
			}
			if e.EnvelopeID != "" {
				if back, ok := wire.DecodeXtext(e.EnvelopeID, false); !ok || wire.EncodeXtext(back) != e.EnvelopeID {
					t.Fatalf("%q: ENVID %q", s, e.EnvelopeID)
				}
			}
		}
		var to submission.Recipient
		if rcptParams(s, true, true, &to) == nil && to.ORcpt != "" {
			w := to.ORcpt
			if !wire.IsASCII(w) || strings.ContainsAny(w, " \r\n\x00") {
				t.Fatalf("%q: ORCPT %q", s, w)
			}
			var back submission.Recipient
			if err := rcptParams(" ORCPT="+w, false, false, &back); err != nil && len(w) <= 500 {
				t.Fatalf("%q: ORCPT %q is not understood: %v", s, w, err)
			} else if err == nil && back.ORcpt != w {
				t.Fatalf("%q: ORCPT %q reads as %q", s, w, back.ORcpt)
			}
		}
	})
}

// FuzzDialogue: any bytes at all.
func FuzzDialogue(f *testing.F) {
	f.Add(greetAndMail+"DATA\r\nSubject: x\r\n\r\ntext\r\n.\r\nQUIT\r\n", false)
	f.Add(greetAndMail+"BDAT 6\r\na: b\r\nBDAT 4 LAST\r\n\r\nx\nQUIT\r\n", true)
	f.Add("EHLO a\r\nAUTH PLAIN =\r\nRSET\r\nVRFY x\r\nSTARTTLS\r\nHELP\r\n", false)
	f.Fuzz(func(t *testing.T, input string, dribble bool) {
		if len(input) < 4<<10 && !strings.Contains(input, "BODY=BINARYMIME") {
			attack(t, nil, input, dribble && len(input) < 500)
		}
	})
}

// FuzzSignIn: whatever is said to AUTH, nobody is let in without the password.
func FuzzSignIn(f *testing.F) {
	f.Add("PLAIN", "AGFwcDIAZ2VoZWlt", "")
	f.Add("PLAIN", "", "AGFwcDIAZmFsc2No\r\n")
	f.Add("LOGIN", "", "YXBwMg==\r\nZ2VoZWlt\r\n")
	f.Add("LOGIN", "=", "*\r\n")
	f.Add("SCRAM-SHA-256", "biwsbj1hcHAzLHI9YWJj", "Yz1iaXdzLHI9YWJjLHA9AAAA\r\n=\r\n")
	f.Add("SCRAM-SHA-256", "eSwsbj0sLHI9", "\r\n")
	f.Add("XOAUTH2", "AAAA", "")
	f.Fuzz(func(t *testing.T, mech, initial, responses string) {
		if len(mech)+len(initial)+len(responses) > 4<<10 {
			return
		}
		input := "EHLO a\r\nAUTH " + mech + " " + initial + "\r\n" + responses
		replies, _ := attack(t, func(l *config.Listener) {
			l.Users = map[string]string{"app2": testBcrypt, "app3": testSCRAM}
		}, input, false)
		if !strings.Contains(replies, "\r\n235 ") {
			return
		}
		for _, word := range strings.Fields(input) {
			if b, err := base64.StdEncoding.DecodeString(word); err == nil && bytes.Contains(b, []byte("geheim")) {
				return
			}
		}
		t.Fatalf("%q was let in: %q", input, replies)
	})
}

// TestSplitsDontMatter sends a message cut at random places; what is kept is
// the same as in one piece.
func TestSplitsDontMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		body := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{".", "..", "\r\n", "a: b", "\r\n.x", "text", " ", "\xff", "\r\n\r\n"}), 0, 40).Draw(rt, "body"), "")
		input := greetAndMail + "DATA\r\n" + body + "\r\n.\r\n"
		cuts := rapid.SliceOfN(rapid.IntRange(1, 30), 0, 20).Draw(rt, "cuts")
		whole, pieces := keep(t, input, nil), keep(t, input, cuts)
		if whole != pieces {
			rt.Fatalf("%q cut at %v:\n%q\nwhole:\n%q", input, cuts, pieces, whole)
		}
	})
}

// keep returns what is kept of input, sent in pieces.
func keep(t *testing.T, input string, cuts []int) (kept string) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		nc := r.dial("")
		for _, n := range cuts {
			n = min(n, len(input))
			nc.Write([]byte(input[:n]))
			input = input[n:]
			synctest.Wait()
		}
		nc.Write([]byte(input))
		synctest.Wait()
		nc.Close()
		synctest.Wait()
		checkKept(t, r.store.all(), false)
		for _, m := range r.store.all() {
			kept += unstable.ReplaceAllString(m.content, "<UNIQUE@")
		}
	})
	return kept
}

// TestContentIsHandedOn: stuffed dots are gone, and what is counted is what
// was handed on.
func TestContentIsHandedOn(t *testing.T) {
	body := "a: b\r\n\r\n" + strings.Repeat("..x\r\nline\r\n", 5000)
	client, server := newPipe("127.0.0.1:1")
	l := testListener()
	s := newServer(sink{}, nil, nil)
	set, err := newSettings(&l, s.shared)
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{srv: s, set: set, raw: server, nc: server}
	c.body.start(c, false, false)
	client.Write([]byte(body + ".\r\n"))
	var got strings.Builder
	if err := c.body.copyTo(&got); err != nil || !c.body.ended {
		t.Fatal(err, c.body.ended)
	}
	if got.String() != strings.ReplaceAll(body, "\r\n..", "\r\n.") {
		t.Error("the content changed")
	}
	if c.body.size != int64(got.Len()) {
		t.Errorf("size %d of %d", c.body.size, got.Len())
	}
}

// TestDefect: what panics costs its own connection and nothing else, and
// nothing is accepted, also where it panics again when it is dropped.
func TestDefect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.server.submission = submission.New(submission.Options{Accept: defective{}})
		use(t, r.server, testRoutes(t))
		nc := r.dial("")
		io.WriteString(nc, greetAndMail+"DATA\r\na: b\r\n.\r\n")
		time.Sleep(time.Second)
		synctest.Wait()
		var b strings.Builder
		collect(&b, nc)
		if !strings.Contains(b.String(), "S: 421 4.3.0") || strings.Contains(b.String(), "250 2.0.0 queued") {
			t.Errorf("%s", b.String())
		}
		nc.Close()
		time.Sleep(time.Second)
		if len(r.events.panics) != 1 {
			t.Errorf("panics: %v", r.events.panics)
		}
	})
}

// TestDefectOfConnection: one that panics whatever is done with it is closed all
// the same, and its place is free again.
func TestDefectOfConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		client, server := newPipe("192.0.2.2:1")
		broken := &brokenConn{Conn: server}
		r.server.admit(r.listener, broken)
		said(client)
		time.Sleep(time.Second)
		synctest.Wait()
		if len(r.events.panics) != 1 || len(r.events.closed) != 1 || len(r.listener.conns) != 0 {
			t.Errorf("panics %v, closed %v, %d connections are left", r.events.panics, r.events.closed, len(r.listener.conns))
		}
		if !broken.closed.Load() {
			t.Error("it is still open")
		}
	})
}

// brokenConn panics at all but Close.
type brokenConn struct {
	net.Conn
	closed atomic.Bool
}

func (*brokenConn) Read([]byte) (int, error)         { panic("read") }
func (*brokenConn) Write([]byte) (int, error)        { panic("write") }
func (*brokenConn) SetDeadline(time.Time) error      { panic("deadline") }
func (*brokenConn) SetReadDeadline(time.Time) error  { panic("read deadline") }
func (*brokenConn) SetWriteDeadline(time.Time) error { panic("write deadline") }
func (b *brokenConn) CloseWrite() error              { panic("half close") }
func (b *brokenConn) Close() error                   { b.closed.Store(true); return b.Conn.Close() }

// defective is an Acceptor with a defect.
type defective struct{ sinkDraft }

func (d defective) Create(context.Context) (spool.Draft, error) { return d, nil }
func (defective) Known(context.Context, *spool.Key) error       { return nil }
func (defective) Write([]byte) (int, error)                     { panic("write") }
func (defective) Discard()                                      { panic("discard") }
