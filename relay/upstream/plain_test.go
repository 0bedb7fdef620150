package upstream_test

import (
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/relay/upstream/upstreamtest"
)

// For an hour an upstream that refuses commands sent ahead, or stalls on them,
// gets one after the other. Nothing of it is charged to the message.
func TestNextSessionIsPlain(t *testing.T) {
	b := newBench(t)
	ahead := upstreamtest.Script{"* hello PIPELINING", "C: MAIL FROM:<from@a.example>", "C: RCPT TO:<to@b.example>", "C: DATA"}
	plain := upstreamtest.Script{"* hello PIPELINING", "C: MAIL FROM:<from@a.example>", "S: 250 ok", "C: RCPT TO:<to@b.example>", "S: 250 ok",
		"C: DATA", "S: 354 go", "C: Subject: test", "C:", "C: Hello", "C: .", "S: 250 kept", "* quit"}
	for name, replies := range map[string][]string{
		"refuses": {"S: 250 ok", "S: 250 ok", "S: 503 5.5.1 improper command pipelining", "* eof"},
		"stalls":  {"* ignore"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, b, "192.0.2.1")
				up := &config.Upstream{Account: config.Account{Name: "test"}, Host: "mx.example", Port: 25, TLS: config.TLSOff}
				for n, script := range []upstreamtest.Script{append(ahead[:4:4], replies...), plain, append(ahead[:4:4], replies...)} {
					h.scripts["192.0.2.1"] = script
					feed := upstreamtest.NewFeed()
					feed.Add(envelopeTo("to@b.example"), []byte("Subject: test\r\n\r\nHello\r\n"))
					err := h.dialer.Deliver(t.Context(), up, feed)
					settled := feed.Settled()
					if err != nil || len(settled) != 1 || settled[0].Released == (n == 1) {
						t.Errorf("session %d: %v, %+v", n, err, settled)
					}
					if n == 1 {
						time.Sleep(time.Hour)
					}
				}
				if h.rec.stalled != 2 {
					t.Errorf("told %d times", h.rec.stalled)
				}
				synctest.Wait()
			})
		})
	}
}
