package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// twoMessages is a dialogue that has everything a drop can fall into: a
// sign-in, two recipients of which one is refused, a chained message.
var twoMessages = upstreamtest.Script{
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

// cutRun plays twoMessages, dropping the connection after so many bytes sent
// or received (negative: never).
type cutRun struct {
	feed           *upstreamtest.Feed
	err            error
	sent, received int
}

func runCut(t *testing.T, afterSent, afterReceived int) (r cutRun) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r.feed = upstreamtest.NewFeed()
		for _, to := range [][]string{{"b@b.example", "c@b.example"}, {"d@b.example"}} {
			env := &spool.Envelope{From: "from@a.example"}
			for _, rcpt := range to {
				env.Recipients = append(env.Recipients, spool.Recipient{Address: rcpt})
			}
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
			problems, r.sent = twoMessages.PlayCut(server, nil, afterSent)
			r.received = server.Received()
		}()
		dialer := &upstream.Dialer{
			Hostname: func() string { return "relay.example" },
			Dial:     func(context.Context, string, string) (net.Conn, error) { return client, nil },
		}
		up := &config.Upstream{Name: "test", Host: "mx.example", Port: 25, TLS: config.TLSOff,
			Auth: "cram-md5", Username: "user", Password: config.NewSecret("pencil")}
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
	whole := runCut(t, -1, -1)
	if whole.delivered() != 2 || whole.err != nil {
		t.Fatalf("uncut: %d delivered, %v", whole.delivered(), whole.err)
	}
	// How many bytes the upstream has sent when an answer is complete.
	var complete []int
	n := 0
	for _, line := range twoMessages.Expand() {
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
		r := runCut(t, cut, -1)
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
	whole := runCut(t, -1, -1)
	for cut := 1; cut < whole.received; cut++ {
		r := runCut(t, -1, cut)
		r.check(t, fmt.Sprintf("cut after %d bytes received", cut))
		if r.delivered() == 2 && cut < whole.received-len("QUIT\r\n") {
			t.Errorf("cut after %d bytes received: everything delivered", cut)
		}
	}
}
