package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// dialogue is one that has everything a drop can fall into: two recipients of
// which one is refused, and a second message.
type dialogue struct {
	body   spool.BodyType // of the messages
	auth   config.Mechanism
	script upstreamtest.Script
}

var dialogues = map[string]dialogue{
	"DATA": {auth: "cram-md5", script: twoChained},
	"BDAT": {auth: "none", body: spool.BodyBinaryMIME, script: twoChunked},
}

// twoChained has a sign-in, and the second message chained to the first.
var twoChained = upstreamtest.Script{
	"* hello PIPELINING|SIZE 100000|AUTH CRAM-MD5",
	"C: AUTH CRAM-MD5", "S: 334 PDFAbXguZXhhbXBsZT4=", "C? ", "S: 235 2.7.0 welcome",
	"C: MAIL FROM:<from@a.example> SIZE=24", "C: RCPT TO:<b@b.example>", "C: RCPT TO:<c@b.example>", "C: DATA",
	"S: 250 2.1.0 ok", "S: 250 2.1.5 ok", "S: 550 5.1.1 no", "S: 354 go",
	"C: Subject: test", "C: ", "C: Hello", "C: .",
	"C: MAIL FROM:<from@a.example> SIZE=24", "C: RCPT TO:<d@b.example>", "C: DATA",
	"S: 250-2.6.0 kept", "S: 250 2.6.0 the first", "S: 250 2.1.0 ok", "S: 250 2.1.5 ok", "S: 354 go",
	"C: Subject: test", "C: ", "C: Hello", "C: .",
	"S: 250 2.6.0 the second", "* quit",
}

// twoChunked needs BDAT, behind which nothing is chained.
var twoChunked = upstreamtest.Script{
	"* hello PIPELINING|8BITMIME|BINARYMIME|CHUNKING",
	"C: MAIL FROM:<from@a.example> BODY=BINARYMIME", "C: RCPT TO:<b@b.example>", "C: RCPT TO:<c@b.example>",
	"S: 250 2.1.0 ok", "S: 250 2.1.5 ok", "S: 550 5.1.1 no",
	"C: BDAT 24", "C: Subject: test", "C: ", "C: Hello", "S: 250 2.0.0 24 octets", "C: BDAT 0 LAST", "S: 250-2.6.0 kept", "S: 250 2.6.0 the first",
	"C: MAIL FROM:<from@a.example> BODY=BINARYMIME", "C: RCPT TO:<d@b.example>", "S: 250 2.1.0 ok", "S: 250 2.1.5 ok",
	"C: BDAT 24", "C: Subject: test", "C: ", "C: Hello", "S: 250 2.0.0 24 octets", "C: BDAT 0 LAST", "S: 250 2.6.0 the second", "* quit",
}

// cutRun is a dialogue whose connection dropped after so many bytes sent
// or received (negative: never), and what came of it.
type cutRun struct {
	feed           *upstreamtest.Feed
	err            error
	sent, received int
}

func (d dialogue) play(t *testing.T, afterSent, afterReceived int) (r cutRun) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r.feed = upstreamtest.NewFeed()
		for _, to := range [][]string{{"b@b.example", "c@b.example"}, {"d@b.example"}} {
			env := envelopeTo(to...)
			env.Body = d.body
			r.feed.Add(env, []byte("Subject: test\r\n\r\nHello\r\n"))
		}
		client, server := upstreamtest.Pipe()
		if afterReceived > 0 {
			server.CloseAfter(afterReceived)
		}
		done := make(chan struct{})
		var problems []string
		go func() {
			defer close(done)
			problems, r.sent = d.script.PlayCut(server, nil, afterSent)
			r.received = server.Received()
		}()
		dialer := &upstream.Dialer{
			Hostname: func() string { return "relay.example" },
			Dial:     func(context.Context, string, string) (net.Conn, error) { return client, nil },
		}
		up := &config.Upstream{Host: "mx.example", Port: 25, TLS: config.TLSOff,
			Account: config.Account{Name: "test", Auth: d.auth, Username: "user", Password: config.NewSecret("pencil")}}
		r.err = dialer.Deliver(t.Context(), up, r.feed)
		<-done
		if afterSent < 0 && afterReceived < 0 {
			for _, p := range problems {
				t.Fatal(p)
			}
		}
	})
	return r
}

// check compares what was told with what the upstream had said by then.
func (r cutRun) check(t *testing.T, cut string) {
	t.Helper()
	for _, breach := range r.feed.Breaches() {
		t.Errorf("%s: %s", cut, breach)
	}
	var fault *spool.Fault
	if r.err != nil && !errors.As(r.err, &fault) {
		t.Errorf("%s: %v is no fault", cut, r.err)
	}
	for _, s := range r.feed.Settled() {
		for i, o := range s.Outcomes {
			name := fmt.Sprintf("%s: message %d recipient %d: %s", cut, s.Delivery.ID, i, describeOutcome(&o))
			switch {
			case o.Code == 0 && o.Cause == "":
				t.Errorf("%s: neither a code nor a cause", name)
			case o.Stage == spool.StageDot && s.DotSent == 0:
				t.Errorf("%s: the dot was never announced", name)
			case o.Code/100 == 5 && (s.Delivery.ID != 1 || i != 1):
				t.Errorf("%s: nobody refused that", name)
			case o.Stage < spool.StageMail:
				t.Errorf("%s: settled by trouble of the session", name)
			}
		}
	}
}

// delivered counts the recipients that count as delivered.
func (r cutRun) delivered() (n int) {
	for _, s := range r.feed.Settled() {
		for _, o := range s.Outcomes {
			if o.Stage == spool.StageDot && o.Code/100 == 2 {
				n++
			}
		}
	}
	return n
}

// A connection that drops after any byte of the upstream: a message counts
// as delivered from the last byte of its answer on, and not before.
func TestCutAfterEveryByteSent(t *testing.T) {
	for name, d := range dialogues {
		t.Run(name, func(t *testing.T) { d.cutSent(t) })
	}
}

func (d dialogue) cutSent(t *testing.T) {
	whole := d.play(t, -1, -1)
	if whole.delivered() != 2 || whole.err != nil {
		t.Fatalf("uncut: %d delivered, %v", whole.delivered(), whole.err)
	}
	// How many bytes the upstream has sent when an answer is complete.
	var complete []int
	n := 0
	for _, line := range d.script.Expand() {
		if len(line) > 3 && line[:3] == "S: " {
			n += len(line) - 3 + 2
			if line == "S: 250 2.6.0 the first" || line == "S: 250 2.6.0 the second" {
				complete = append(complete, n)
			}
		}
	}
	if n != whole.sent || len(complete) != 2 {
		t.Fatalf("counted %d bytes, %d were sent", n, whole.sent)
	}
	for cut := range whole.sent {
		r := d.play(t, cut, -1)
		r.check(t, fmt.Sprintf("cut after %d bytes sent", cut))
		want := 0
		for _, c := range complete {
			if cut >= c {
				want++
			}
		}
		if got := r.delivered(); got != want {
			t.Errorf("cut after %d bytes sent: %d delivered, not %d", cut, got, want)
		}
	}
}

// The same, by what the upstream has received.
func TestCutAfterEveryByteReceived(t *testing.T) {
	for name, d := range dialogues {
		t.Run(name, func(t *testing.T) {
			whole := d.play(t, -1, -1)
			for cut := 1; cut < whole.received; cut++ {
				r := d.play(t, -1, cut)
				r.check(t, fmt.Sprintf("cut after %d bytes received", cut))
				if r.delivered() == 2 && cut < whole.received-len("QUIT\r\n") {
					t.Errorf("cut after %d bytes received: everything delivered", cut)
				}
			}
		})
	}
}

// Replies that come a byte at a time, each in a packet of its own, are the
// same replies.
func TestEveryByteInAPacketOfItsOwn(t *testing.T) {
	for name, d := range dialogues {
		t.Run(name, func(t *testing.T) {
			var slow upstreamtest.Script
			for _, line := range d.script.Expand() {
				if text, ok := strings.CutPrefix(line, "S: "); ok {
					line = "* drip 1ms " + text
				}
				slow = append(slow, line)
			}
			d.script = slow
			r := d.play(t, -1, -1)
			r.check(t, "dripping")
			if r.delivered() != 2 || r.err != nil {
				t.Errorf("%d delivered, %v", r.delivered(), r.err)
			}
		})
	}
}

// wedged is a connection whose other side reads so many bytes and no more: the
// write that goes beyond runs into its deadline.
type wedged struct {
	net.Conn
	left int
}

func (c *wedged) Write(b []byte) (int, error) {
	if len(b) <= c.left {
		c.left -= len(b)
		return c.Conn.Write(b)
	}
	return 0, os.ErrDeadlineExceeded
}

// An upstream that stops reading inside the content may have said why: a
// refusal counts. 250 does not: the final dot never left.
func TestLastWords(t *testing.T) {
	for answer, want := range map[string]string{
		"552 5.3.4 too much": `body 552 5.3.4 "too much"`,
		"451 4.3.0 later":    `body 451 4.3.0 "later"`,
		"250 2.0.0 kept":     `body 0 "the connection broke inside the message" because "no answer in time"`,
	} {
		t.Run(answer, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				feed := upstreamtest.NewFeed()
				feed.Add(envelopeTo("to@b.example"), bytes.Repeat([]byte("a line of the text\r\n"), 15_000))
				client, server := upstreamtest.Pipe()
				script := upstreamtest.Script{
					"* hello PIPELINING", "C: MAIL FROM:<from@a.example>", "C: RCPT TO:<to@b.example>", "C: DATA",
					"S: 250 ok", "S: 250 ok", "S: 354 go", "* flush", "S: " + answer, "* ignore",
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					script.Play(server, nil)
				}()
				d := &upstream.Dialer{
					Hostname: func() string { return "relay.example" },
					Dial: func(context.Context, string, string) (net.Conn, error) {
						return &wedged{client, 100_000}, nil
					},
				}
				err := d.Deliver(t.Context(), &config.Upstream{Host: "mx.example", Port: 25, TLS: config.TLSOff, Account: config.Account{Name: "test", Auth: "none"}}, feed)
				<-done
				settled := feed.Settled()
				if len(settled) != 1 || len(feed.Breaches()) > 0 {
					t.Fatalf("settled %+v, %v, %v", settled, feed.Breaches(), err)
				}
				if got := describeOutcome(&settled[0].Outcomes[0]); got != want || settled[0].DotSent != 0 {
					t.Errorf("%s, the dot announced %d times; want %s", got, settled[0].DotSent, want)
				}
			})
		})
	}
}
