package upstream_test

import (
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/relay/upstream/upstreamtest"
)

// The place of a session is free before the answer to QUIT comes, for which the
// session itself waits.
func TestFarewell(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, b, "192.0.2.1")
		h.scripts["192.0.2.1"] = upstreamtest.Script{"* hello PIPELINING", "* accept", "C: QUIT", "* sleep 3s", "S: 221 bye", "* eof"}
		feed := upstreamtest.NewFeed()
		feed.Add(envelopeTo("to@b.example"), []byte("Subject: test\r\n\r\nHello\r\n"))
		left := time.Duration(-1)
		began := time.Now()
		feed.OnLeave = func() { left = time.Since(began) }
		err := h.dialer.Deliver(t.Context(), &config.Upstream{Account: config.Account{Name: "test"}, Host: "mx.example", Port: 25, TLS: config.TLSOff}, feed)
		if took := time.Since(began); err != nil || left != 0 || took != 3*time.Second {
			t.Errorf("left after %s, ended after %s: %v", left, took, err)
		}
		for _, breach := range feed.Breaches() {
			t.Error(breach)
		}
		synctest.Wait()
	})
}
