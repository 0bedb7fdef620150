package upstream_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// purse gives its tokens in turn: the next one for each that is refused.
type purse []string

func (p purse) Token(_ context.Context, _ *config.Account, refused string) (string, error) {
	at := 0
	if refused != "" {
		at = slices.Index(p, refused) + 1
	}
	if at >= len(p) {
		return "", errors.New("somebody has to log in")
	}
	return p[at], nil
}

// Without a token there is no connection, and no message is taken.
func TestNoToken(t *testing.T) {
	up := &config.Upstream{Host: "mx.example", Port: 25, Account: config.Account{Name: "test", Auth: "xoauth2", Username: "user", OAuth: &config.OAuth{}}}
	feed := upstreamtest.NewFeed()
	feed.Add(envelopeTo("to@b.example"), []byte("x\r\n"))
	d := &upstream.Dialer{Tokens: purse{}, Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("connected for nothing")
		return nil, errors.New("no")
	}}
	for range 2 {
		err := d.Deliver(t.Context(), up, feed)
		var fault *spool.Fault
		if !errors.As(err, &fault) || fault.Outcome.Stage != spool.StageSignIn || fault.Outcome.Code != 0 || len(feed.Settled()) != 0 {
			t.Error(err)
		}
		d.Tokens = nil
	}
}
