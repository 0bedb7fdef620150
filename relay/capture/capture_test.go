package capture_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/queue/verdict"
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
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
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
func deliver(t *testing.T, server *capture.Server, up *config.Upstream, feed *upstreamtest.Feed) []upstreamtest.Settled {
	t.Helper()
	dialer := &upstream.Dialer{Hostname: func() string { return "relay.example" }, Capture: server.Connect}
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
	up := server.Upstream(&config.Upstream{Account: config.Account{Name: "staging"}, Provider: "capture"})
	feed := upstreamtest.NewFeed()
	body := "Subject: captured\r\n\r\n.leading dot\r\nlast line\r\n"
	feed.Add(envelope("from@a.example", "to@b.example", "too@b.example"), []byte(body))
	for _, s := range deliver(t, server, up, feed) {
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

// Addresses are kept as they stood in the envelope.
func TestCaptureKeepsQuotes(t *testing.T) {
	server, dir := start(t, capture.Options{})
	up := server.Upstream(&config.Upstream{Account: config.Account{Name: "staging"}, Provider: "capture"})
	all := []string{`"john doe"@b.example`, `a*b+c@b.example`, `"a..b"@b.example`, `"q\"u\\o"@b.example`, `"a@b"@b.example`}
	feed := upstreamtest.NewFeed()
	feed.Add(envelope(`"from me"@a.example`, all...), []byte("Subject: x\r\n\r\nx\r\n"))
	deliver(t, server, up, feed)
	want := "Return-Path: <\"from me\"@a.example>\r\n"
	for _, a := range all {
		want += "Delivered-To: " + a + "\r\n"
	}
	got := kept(t, dir)
	for _, text := range got {
		if !strings.HasPrefix(string(text), want) {
			t.Errorf("got %s, want %s", text, want)
		}
	}
	if len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
}

// A server that is closed as soon as it is there has ended, too.
func TestCloseAtOnce(t *testing.T) {
	dir := t.TempDir()
	for range 50 {
		server, err := capture.Start(capture.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan error, 1)
		go func() { closed <- server.Close(t.Context()) }()
		select {
		case err := <-closed:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("it never ends")
		}
	}
}

// Two upstreams share one server, and each message names its own.
func TestCaptureNamesTheUpstream(t *testing.T) {
	server, dir := start(t, capture.Options{})
	for _, name := range []string{"one", "two"} {
		feed := upstreamtest.NewFeed()
		feed.Add(envelope("from@a.example", "to@b.example"), []byte("Subject: x\r\n\r\n"+name+"\r\n"))
		deliver(t, server, server.Upstream(&config.Upstream{Account: config.Account{Name: name}}), feed)
	}
	for _, body := range kept(t, dir) {
		_, text, _ := bytes.Cut(body, []byte("\r\n\r\n"))
		if field := "X-Postern-Upstream: " + string(bytes.TrimSpace(text)) + "\r\n"; !bytes.Contains(body, []byte(field)) {
			t.Errorf("%q lacks %q", body, field)
		}
	}
}

// Whatever a message needs of an upstream is to be had here.
func TestCaptureTakesEverything(t *testing.T) {
	long := "Subject: x\r\n\r\n" + strings.Repeat("<p>", 100_000) + "\r\n"
	for name, c := range map[string]struct {
		change func(*spool.Envelope)
		body   string
	}{
		"8BITMIME":   {func(e *spool.Envelope) { e.Body, e.Has8Bit = spool.Body8BitMIME, true }, "Subject: x\r\n\r\n\xc3\xa9\r\n"},
		"BINARYMIME": {func(e *spool.Envelope) { e.Body, e.Has8Bit = spool.BodyBinaryMIME, true }, "Subject: x\r\n\r\n.\r\n\x00\n\r\xff"},
		"SMTPUTF8":   {func(e *spool.Envelope) { e.SMTPUTF8 = true; e.From = "é@a.example" }, "Subject: x\r\n\r\n\r\n"},
		"DSN": {func(e *spool.Envelope) {
			e.Return, e.EnvelopeID = "HDRS", "x"
			e.Recipients[0].Notify = spool.NotifySuccess
		}, "Subject: x\r\n\r\n\r\n"},
		"REQUIRETLS":       {func(e *spool.Envelope) { e.RequireTLS = true }, "Subject: x\r\n\r\n\r\n"},
		"null path":        {func(e *spool.Envelope) { e.From = "" }, "Subject: x\r\n\r\n\r\n"},
		"a very long line": {func(*spool.Envelope) {}, long},
		"large":            {func(*spool.Envelope) {}, "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("y", 76)+"\r\n", 50_000)},
		"quoted":           {func(e *spool.Envelope) { e.From = `"a> NOTIFY=NEVER <b"@a.example` }, "Subject: x\r\n\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			server, dir := start(t, capture.Options{})
			env := envelope("from@a.example", "to@b.example")
			c.change(env)
			feed := upstreamtest.NewFeed()
			feed.Add(env, []byte(c.body))
			for _, s := range deliver(t, server, server.Upstream(&config.Upstream{Account: config.Account{Name: "x"}}), feed) {
				if o := s.Outcomes[0]; o.Stage != spool.StageDot || o.Code != 250 {
					t.Fatalf("%+v", o)
				}
			}
			for _, text := range kept(t, dir) {
				if !bytes.HasSuffix(text, []byte(c.body)) {
					t.Errorf("%d bytes do not end as what was sent", len(text))
				}
				if head, _, _ := bytes.Cut(text, []byte("Subject:")); bytes.Count(head, []byte("\r\n")) != 3 {
					t.Errorf("%q", head)
				}
			}
		})
	}
}

// A line that is too long is refused for good, and nothing of it is kept.
func TestCaptureRefusesEndlessLines(t *testing.T) {
	for range 3 {
		events := &failures{}
		server, dir := start(t, capture.Options{Events: events.tell})
		feed := upstreamtest.NewFeed()
		feed.Add(envelope("from@a.example", "to@b.example"), []byte("Subject: x\r\n\r\n"+strings.Repeat("x", 3<<20)+"\r\n"))
		_ = (&upstream.Dialer{Capture: server.Connect}).Deliver(t.Context(), server.Upstream(&config.Upstream{Account: config.Account{Name: "x"}}), feed)
		for _, s := range feed.Settled() {
			if v := verdict.Of(&s.Outcomes[0], false); v.Status != spool.Bounced {
				t.Errorf("%+v is taken for %v", s.Outcomes[0], v.Status)
			}
		}
		if len(kept(t, dir)) != 0 || events.count != 0 {
			t.Errorf("%d messages were kept, %d failures told", len(kept(t, dir)), events.count)
		}
	}
}

// Whoever has not signed in gets no message in.
func TestCaptureWantsASignIn(t *testing.T) {
	server, dir := start(t, capture.Options{})
	for name, change := range map[string]func(*config.Upstream){
		"no sign-in":     func(up *config.Upstream) { up.Auth = "none" },
		"wrong password": func(up *config.Upstream) { up.Password = config.NewSecret("guess") },
		"no TLS":         func(up *config.Upstream) { up.TLS, up.Auth = config.TLSOff, "none" },
	} {
		up := server.Upstream(&config.Upstream{Account: config.Account{Name: "x"}})
		change(up)
		feed := upstreamtest.NewFeed()
		feed.Add(envelope("from@a.example", "to@b.example"), []byte("Subject: x\r\n\r\n"))
		err := (&upstream.Dialer{Capture: server.Connect}).Deliver(t.Context(), up, feed)
		for _, s := range feed.Settled() {
			if o := s.Outcomes[0]; o.Code/100 == 2 {
				t.Errorf("%s: %+v, %v", name, o, err)
			}
		}
	}
	if n := len(kept(t, dir)); n != 0 {
		t.Errorf("%d messages were kept", n)
	}
}

type failures struct{ count int }

func (f *failures) tell(e capture.Event) {
	if _, ok := e.(*capture.Failed); ok {
		f.count++
	}
}

// A Maildir that takes nothing is a temporary failure, and says so.
func TestCaptureOnAFailingDisk(t *testing.T) {
	events := &failures{}
	server, dir := start(t, capture.Options{Events: events.tell})
	for _, sub := range []string{"tmp", "new"} {
		if err := os.Remove(filepath.Join(dir, sub)); err != nil {
			t.Fatal(err)
		}
	}
	feed := upstreamtest.NewFeed()
	feed.Add(envelope("from@a.example", "to@b.example"), []byte("Subject: x\r\n\r\n"))
	for _, s := range deliver(t, server, server.Upstream(&config.Upstream{Account: config.Account{Name: "x"}}), feed) {
		if o := s.Outcomes[0]; o.Code != 451 || strings.Contains(o.Text, dir) {
			t.Errorf("%+v", o)
		}
	}
	if events.count != 1 {
		t.Errorf("%d failures were told", events.count)
	}
}

// An idle connection does not keep the server from closing.
func TestCloseCutsOffTheIdle(t *testing.T) {
	server, err := capture.Start(capture.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := server.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := server.Close(ctx); err != nil {
		t.Error(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still served")
	}
	if err := server.Close(ctx); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := server.Connect(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("connected to a closed server: %v", err)
	}
}

func BenchmarkCapture(b *testing.B) {
	server, err := capture.Start(capture.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close(b.Context())
	feed := upstreamtest.NewFeed()
	env := envelope("from@a.example", "to@b.example")
	for range b.N {
		feed.Add(env, []byte("Subject: x\r\n\r\n"+strings.Repeat("y", 1000)+"\r\n"))
	}
	b.ReportAllocs()
	b.ResetTimer()
	if err := (&upstream.Dialer{Capture: server.Connect}).Deliver(b.Context(), server.Upstream(&config.Upstream{Account: config.Account{Name: "x"}}), feed); err != nil {
		b.Fatal(err)
	}
}
