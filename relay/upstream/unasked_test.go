package upstream_test

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// An upstream that says 250 inside the content and 554 to the final dot has
// not taken the message; nor is it told of a refusal inside the content that
// it is the answer to anything.
func TestAnswersInsideTheContent(t *testing.T) {
	for early, want := range map[string]int{"250 2.0.0 taken": 0, "554 5.7.1 not this": 554} {
		t.Run(early[:3], func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			dotted := make(chan bool, 1)
			go func() {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(20 * time.Second))
				in, dot := bufio.NewReader(conn), false
				defer func() { dotted <- dot }()
				say := func(line string) { conn.Write([]byte(line + "\r\n")) }
				say("220 mx.example")
				for said := false; ; {
					line, err := in.ReadString('\n')
					switch {
					case err != nil:
						return
					case strings.HasPrefix(line, "DATA"):
						say("354 go")
					case line == ".\r\n":
						dot = true
						say("554 5.6.0 no")
					case strings.HasPrefix(line, "xxx") && !said:
						said = true
						say(early)
					case len(line) < 60:
						say("250 ok")
					}
				}
			}()
			host, port, _ := net.SplitHostPort(listener.Addr().String())
			up := &config.Upstream{Account: config.Account{Name: "test"}, Host: host, TLS: config.TLSOff, DataTimeout: 10 * time.Second}
			up.Port, _ = net.LookupPort("tcp", port)
			feed := upstreamtest.NewFeed()
			body := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 400_000) // more than the buffers between us hold
			feed.Add(&spool.Envelope{From: "from@a.example", Recipients: []spool.Recipient{{Address: "to@b.example"}}}, []byte(body))
			_ = (&upstream.Dialer{}).Deliver(t.Context(), up, feed)
			o := feed.Settled()[0].Outcomes[0]
			if o.Stage != spool.StageBody || o.Code != want {
				t.Errorf("%+v", o)
			}
			if <-dotted {
				t.Error("the final dot was sent")
			}
		})
	}
}
