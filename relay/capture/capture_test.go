package capture_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/relay/capture"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// start runs a capture server for the length of a test.
func start(t *testing.T, o capture.Options) (*capture.Server, string) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "capture")
	}
	server, err := capture.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := server.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return server, o.Dir
}

func envelope(from string, to ...string) *spool.Envelope {
	env := &spool.Envelope{From: from}
	for _, rcpt := range to {
		env.Recipients = append(env.Recipients, spool.Recipient{Address: rcpt})
	}
	return env
}

// deliver sends through an ordinary session and returns what came of it.
func deliver(t *testing.T, up *config.Upstream, feed *upstreamtest.Feed) []upstreamtest.Settled {
	t.Helper()
	dialer := &upstream.Dialer{Hostname: func() string { return "relay.example" }}
	if err := dialer.Deliver(t.Context(), up, feed); err != nil {
		t.Fatal(err)
	}
	for _, breach := range feed.Breaches() {
		t.Error(breach)
	}
	return feed.Settled()
}

func kept(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	messages := map[string][]byte{}
	for _, sub := range []string{"tmp", "new", "cur"} {
		names, err := filepath.Glob(filepath.Join(dir, sub, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			body, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			messages[sub+"/"+filepath.Base(name)] = body
		}
	}
	return messages
}

// The session that captures is the session that relays: STARTTLS with a
// checked certificate, a sign-in, a pipelined transaction.
func TestCapture(t *testing.T) {
	server, dir := start(t, capture.Options{})
	up := server.Upstream(&config.Upstream{Name: "staging", Provider: "capture"})
	feed := upstreamtest.NewFeed()
	body := "Subject: captured\r\n\r\n.leading dot\r\nlast line\r\n"
	feed.Add(envelope("from@a.example", "to@b.example", "too@b.example"), []byte(body))
	for _, s := range deliver(t, up, feed) {
		for _, o := range s.Outcomes {
			if o.Stage != spool.StageDot || o.Code != 250 {
				t.Errorf("outcome %+v", o)
			}
		}
	}
	messages := kept(t, dir)
	if len(messages) != 1 {
		t.Fatalf("%d messages, not 1", len(messages))
	}
	want := "Return-Path: <from@a.example>\r\nDelivered-To: to@b.example\r\nDelivered-To: too@b.example\r\n" +
		"X-Postern-Upstream: staging\r\n" + body
	for name, got := range messages {
		if !strings.HasPrefix(name, "new/") {
			t.Errorf("in %s", name)
		}
		if string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if info, err := fs.Stat(os.DirFS(dir), name); err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("mode %v: others can read it", info.Mode())
		}
	}
}

// Two upstreams share one server, and each message names its own.
func TestCaptureNamesTheUpstream(t *testing.T) {
	server, dir := start(t, capture.Options{})
	for _, name := range []string{"one", "two"} {
		feed := upstreamtest.NewFeed()
		feed.Add(envelope("from@a.example", "to@b.example"), []byte("Subject: x\r\n\r\n"+name+"\r\n"))
		deliver(t, server.Upstream(&config.Upstream{Name: name}), feed)
	}
	for _, body := range kept(t, dir) {
		_, text, _ := bytes.Cut(body, []byte("\r\n\r\n"))
		if field := "X-Postern-Upstream: " + string(bytes.TrimSpace(text)) + "\r\n"; !bytes.Contains(body, []byte(field)) {
			t.Errorf("%q lacks %q", body, field)
		}
	}
}
