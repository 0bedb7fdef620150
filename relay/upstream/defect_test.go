package upstream_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
)

// severalAddresses finds two addresses of every host.
func severalAddresses(context.Context, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}, nil
}

// A panic while one of several addresses is dialled is what is told of that
// address, by a delivery and by an examination.
func TestPanicWhileDialling(t *testing.T) {
	up := &config.Upstream{Host: "mx.example", Port: 25, TLS: config.TLSOff, Account: config.Account{Name: "test", Auth: "none"}}
	d := &upstream.Dialer{LookUp: severalAddresses, Dial: func(context.Context, string, string) (net.Conn, error) {
		panic("index out of range")
	}}
	feed := upstreamtest.NewFeed()
	feed.Add(envelopeTo("to@b.example"), []byte("x\r\n"))
	if err := d.Deliver(t.Context(), up, feed); err == nil || len(feed.Settled()) != 0 {
		t.Errorf("%v, %v", err, feed.Settled())
	}
	r := d.Examine(t.Context(), up, nil)
	if r.Fault == nil || len(r.Addresses) != 2 {
		t.Fatalf("%+v", r)
	}
	for _, a := range r.Addresses {
		if !a.Tried || !strings.Contains(a.Err, "a defect of this program") {
			t.Errorf("%+v", a)
		}
	}
}

// fragile is a connection whose reads panic once it is broken, as those of TLS
// could that an upstream has found a defect of.
type fragile struct {
	net.Conn
	broken *atomic.Bool
}

func (f fragile) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if f.broken.Load() {
		panic("index out of range")
	}
	return n, err
}

// A panic while a session waits for work ends the session, and no message.
func TestPanicWhileWatching(t *testing.T) {
	sink := &upstreamtest.Sink{Extensions: []string{"PIPELINING"}}
	up := &config.Upstream{TLS: config.TLSOff, Account: config.Account{Name: "test", Auth: "none"}}
	up.Host, up.Port = sink.Start(t)
	feed := upstreamtest.NewFeed()
	feed.Keep = time.Minute
	feed.Add(envelopeTo("to@b.example"), []byte("x\r\n"))
	broken := new(atomic.Bool)
	d := &upstream.Dialer{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return fragile{conn, broken}, err
	}}
	ended := make(chan error, 1)
	go func() { ended <- d.Deliver(t.Context(), up, feed) }()
	for len(feed.Settled()) == 0 {
		time.Sleep(time.Millisecond) // until it waits for work
	}
	broken.Store(true)
	sink.CloseConnections()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	broken.Store(false)
	feed.Add(envelopeTo("to@b.example"), []byte("x\r\n"))
	feed.Keep = 0
	if err := d.Deliver(t.Context(), up, feed); err != nil || sink.Messages.Load() != 2 {
		t.Errorf("%v, %d messages", err, sink.Messages.Load())
	}
}
