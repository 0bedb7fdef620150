package upstream_test

import (
	"bytes"
	"context"
	"net"
	"testing"
	"testing/synctest"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// FuzzSession lets an upstream say anything. Each piece between two NULs is
// said in answer to whatever came last. The session ends, keeps the contract
// of the feed, and calls nothing delivered without a 2xx having been said
// after the content.
func FuzzSession(f *testing.F) {
	f.Add([]byte("220 mx\r\n\x00250-mx\r\n250 PIPELINING\r\n\x00250 ok\r\n250 ok\r\n354 go\r\n\x00250 kept\r\n250 ok\r\n250 ok\r\n354 go\r\n\x00250 kept\r\n"))
	f.Add([]byte("220 mx\r\n\x00250 mx\r\n\x00250 ok\r\n\x00250 ok\r\n\x00354 go\r\n\x00250 kept\r\n\x00250 ok\r\n\x00550 no\r\n\x00250 reset\r\n"))
	f.Add([]byte("220 mx\r\n\x00250-mx\r\n250-SIZE 1\r\n250-CHUNKING\r\n250 LIMITS RCPTMAX=1 MAILMAX=1\r\n\x00"))
	f.Add([]byte("220 mx\r\n\x00250-mx\r\n250 PIPELINING\r\n\x00550 no\r\n503 no\r\n354 go\r\n\x00250 what\r\n"))
	f.Add([]byte("220 mx\r\n\x00250-mx\r\n250 PIPELINING\r\n\x00250 ok\r\n250 ok\r\n354 go\r\n250 early\r\n\x00"))
	f.Add([]byte("220 mx\r\n\x00502 no\r\n\x00250 mx\r\n\x00421 bye\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) { sessionWith(t, bytes.Split(data, []byte{0})) })
	})
}

func sessionWith(t *testing.T, pieces [][]byte) {
	client, server := upstreamtest.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		buf := make([]byte, 64<<10)
		for i, piece := range pieces {
			if i > 0 {
				if _, err := server.Read(buf); err != nil {
					return
				}
			}
			if len(piece) > 0 {
				if _, err := server.Write(piece); err != nil {
					return
				}
			}
		}
	}()
	feed := upstreamtest.NewFeed()
	for range 3 {
		feed.Add(envelopeTo("b@b.example", "c@b.example"), []byte("Subject: x\r\n\r\n.\r\nx\r\n"))
	}
	d := &upstream.Dialer{
		Hostname: func() string { return "relay.example" },
		Dial:     func(context.Context, string, string) (net.Conn, error) { return client, nil },
	}
	up := &config.Upstream{Host: "mx.example", Port: 25, TLS: config.TLSOff, Account: config.Account{Name: "fuzz", Auth: "none"}}
	_ = d.Deliver(context.Background(), up, feed) // whatever it says; what it did counts
	<-done
	for _, breach := range feed.Breaches() {
		t.Error(breach)
	}
	for _, s := range feed.Settled() {
		for _, o := range s.Outcomes {
			if o.Stage == spool.StageDot && o.Code/100 == 2 && s.DotSent == 0 {
				t.Errorf("delivered without a dot: %+v", o)
			}
			if o.Code == 0 && o.Cause == "" {
				t.Errorf("neither a code nor a cause: %+v", o)
			}
		}
	}
}
