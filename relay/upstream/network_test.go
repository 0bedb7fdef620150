package upstream_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

func envelopeTo(rcpts ...string) *spool.Envelope {
	env := &spool.Envelope{From: "from@a.example"}
	for _, rcpt := range rcpts {
		env.Recipients = append(env.Recipients, spool.Recipient{Address: rcpt})
	}
	return env
}

// oneMessage delivers a message through d and returns what the session told.
func oneMessage(t *testing.T, d *upstream.Dialer, up *config.Upstream) (*recorder, error) {
	t.Helper()
	rec := &recorder{}
	d.Events = rec.tell
	feed := upstreamtest.NewFeed()
	feed.Add(envelopeTo("to@b.example"), []byte("Subject: x\r\n\r\nx\r\n"))
	err := d.Deliver(t.Context(), up, feed)
	for _, breach := range feed.Breaches() {
		t.Error(breach)
	}
	return rec, err
}

// A message with more recipients than the upstream takes at a time goes in
// several transactions, as many as the feed lets begin; who is left out is not
// named in what is settled.
func TestRoundsAreAskedFor(t *testing.T) {
	for rounds, want := range map[int][]int{0: {0, 1, 2, 3, 4}, 1: {0, 1}, 2: {0, 1, 2, 3}, 3: {0, 1, 2, 3, 4}} {
		sink := &upstreamtest.Sink{Extensions: []string{"PIPELINING", "LIMITS RCPTMAX=2"}}
		up := &config.Upstream{TLS: config.TLSOff, Account: config.Account{Name: "test", Auth: "none"}}
		up.Host, up.Port = sink.Start(t)
		feed := upstreamtest.NewFeed()
		feed.Rounds = rounds
		feed.Add(envelopeTo("a@b.example", "b@b.example", "c@b.example", "d@b.example", "e@b.example"), []byte("Subject: x\r\n\r\nx\r\n"))
		if err := (&upstream.Dialer{}).Deliver(t.Context(), up, feed); err != nil {
			t.Fatal(err)
		}
		for _, breach := range feed.Breaches() {
			t.Error(breach)
		}
		s := feed.Settled()[0]
		if !slices.Equal(s.Delivery.Pending, want) || s.DotSent != (len(want)+1)/2 {
			t.Errorf("%d rounds: %v settled after %d dots", rounds, s.Delivery.Pending, s.DotSent)
		}
		for i := range s.Outcomes {
			if s.Outcomes[i].Code != 250 {
				t.Errorf("%d rounds: %+v", rounds, s.Outcomes[i])
			}
		}
	}
}

// A TLS session is resumed, but not over a change of what vouched for it.
func TestResumption(t *testing.T) {
	ca := upstreamtest.NewAuthority(t)
	sink := &upstreamtest.Sink{Extensions: []string{"PIPELINING"},
		TLS: &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1")}}}
	dir := t.TempDir()
	up := &config.Upstream{TLS: config.TLSVerify, Account: config.Account{Name: "test", Auth: "none"}, CAFile: ca.File(t, dir)}
	up.Host, up.Port = sink.Start(t)
	d := &upstream.Dialer{}
	for i, want := range []bool{false, true} {
		rec, err := oneMessage(t, d, up)
		if err != nil || len(rec.opened) != 1 {
			t.Fatal(err)
		}
		if e := rec.opened[0]; e.Resumed != want || !e.Verified || e.TLSVersion != "TLS 1.3" || e.TLSCipher == "" {
			t.Errorf("connection %d: %+v", i, e)
		}
	}
	// The authority is replaced by another under the same name: no reload needed.
	other := upstreamtest.NewAuthority(t)
	other.File(t, dir)
	if err := os.Chtimes(up.CAFile, time.Now(), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	var fault *spool.Fault
	if _, err := oneMessage(t, d, up); !errors.As(err, &fault) || fault.Outcome.Stage != spool.StageTLS {
		t.Errorf("after the authority was replaced: %v", err)
	}
	// A pin is checked when a session is resumed, too.
	up.CAFile, up.Fingerprints = "", []string{upstreamtest.Fingerprint(sink.TLS.Certificates[0])}
	if _, err := oneMessage(t, d, up); err != nil {
		t.Error(err)
	}
	if rec, err := oneMessage(t, d, up); err != nil || !rec.opened[0].Resumed {
		t.Error(rec, err)
	}
	// One that is withdrawn counts from the next connection on, although there
	// is a session to resume.
	up.Fingerprints = []string{upstreamtest.Fingerprint(ca.Issue(t, "127.0.0.1"))}
	if _, err := oneMessage(t, d, up); !errors.As(err, &fault) || fault.Outcome.Stage != spool.StageTLS {
		t.Errorf("after the pin was withdrawn: %v", err)
	}
}

func TestClientCertificate(t *testing.T) {
	ca := upstreamtest.NewAuthority(t)
	sink := &upstreamtest.Sink{Extensions: []string{"PIPELINING"}, TLS: &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1")},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
	}}
	dir := t.TempDir()
	up := &config.Upstream{TLS: config.TLSVerify, Account: config.Account{Name: "test", Auth: "none"}, CAFile: ca.File(t, dir)}
	up.Host, up.Port = sink.Start(t)
	d := &upstream.Dialer{}
	var fault *spool.Fault
	if _, err := oneMessage(t, d, up); !errors.As(err, &fault) || fault.Outcome.Stage != spool.StageTLS {
		t.Errorf("without a certificate: %v", err)
	}
	up.CertFile, up.KeyFile = upstreamtest.WritePair(t, dir, "client", ca.Issue(t, "relay.example"))
	if _, err := oneMessage(t, d, up); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(up.KeyFile, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := oneMessage(t, d, up); !errors.As(err, &fault) || fault.Outcome.Stage != spool.StageTLS {
		t.Errorf("with a broken key: %v", err)
	}
}

func TestConnectFaults(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, c := range map[string]struct {
		dial  func(context.Context, string, string) (net.Conn, error)
		stage spool.Stage
	}{
		"nobody listens": {nil, spool.StageConnect},
		"no such host": {func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "mx.example", IsNotFound: true}}
		}, spool.StageResolve},
	} {
		t.Run(name, func(t *testing.T) {
			up := &config.Upstream{Account: config.Account{Name: "test"}, Host: "127.0.0.1", Port: closed.Addr().(*net.TCPAddr).Port, TLS: config.TLSOff}
			var fault *spool.Fault
			_, err := oneMessage(t, &upstream.Dialer{Dial: c.dial}, up)
			if !errors.As(err, &fault) || fault.Outcome.Stage != c.stage || fault.Outcome.Cause == "" ||
				fault.Outcome.Remote != closed.Addr().String() {
				t.Errorf("%+v", err)
			}
		})
	}
}

// A shutdown does not wait for an upstream that is still to greet.
func TestCancelWhileOpening(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			defer conn.Close()
			cancel()
			<-t.Context().Done()
		}
	}()
	up := &config.Upstream{Account: config.Account{Name: "test"}, Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, TLS: config.TLSOff}
	feed := upstreamtest.NewFeed()
	feed.Add(envelopeTo("to@b.example"), []byte("x\r\n"))
	began := time.Now()
	if err := new(upstream.Dialer).Deliver(ctx, up, feed); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("it took %v", d)
	}
	if len(feed.Settled()) != 0 {
		t.Error("a message was taken")
	}
}

// The upstream closes an idle connection: what comes next is not taken, and
// goes over another one.
func TestClosedIdleConnection(t *testing.T) {
	sink := &upstreamtest.Sink{Extensions: []string{"PIPELINING"}}
	up := &config.Upstream{TLS: config.TLSOff, Account: config.Account{Name: "test", Auth: "none"}}
	up.Host, up.Port = sink.Start(t)
	feed := upstreamtest.NewFeed()
	feed.Keep = time.Minute
	feed.Add(envelopeTo("to@b.example"), []byte("x\r\n"))
	rec := &recorder{}
	d := &upstream.Dialer{Events: rec.tell}
	ended := make(chan error, 1)
	go func() { ended <- d.Deliver(t.Context(), up, feed) }()
	for sink.Messages.Load() == 0 {
		time.Sleep(time.Millisecond) // until the sink has it
	}
	sink.CloseConnections()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	feed.Add(envelopeTo("to@b.example"), []byte("x\r\n"))
	feed.Keep = 0
	if err := d.Deliver(t.Context(), up, feed); err != nil {
		t.Error(err)
	}
	if n := sink.Messages.Load(); n != 2 || len(feed.Settled()) != 2 {
		t.Errorf("%d messages, %+v", n, feed.Settled())
	}
}

// Hundreds of recipients for an upstream that reads one command at a time,
// answers each at length, and has next to no buffers: nobody waits for ever.
func TestPipeliningWithFullBuffers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	const rcpts = 400
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { chatty(t, listener) })
	up := &config.Upstream{Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port,
		TLS: config.TLSOff, Account: config.Account{Name: "test", Auth: "none"}, CommandTimeout: time.Minute, DataTimeout: time.Minute}
	env := envelopeTo()
	for i := range rcpts {
		env.Recipients = append(env.Recipients, spool.Recipient{Address: fmt.Sprintf("r%d@b.example", i)})
	}
	feed := upstreamtest.NewFeed()
	feed.Add(env, []byte("x\r\n"))
	d := &upstream.Dialer{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			_ = conn.(*net.TCPConn).SetReadBuffer(1)
			_ = conn.(*net.TCPConn).SetWriteBuffer(1)
		}
		return conn, err
	}}
	if err := d.Deliver(t.Context(), up, feed); err != nil {
		t.Fatal(err)
	}
	for i, o := range feed.Settled()[0].Outcomes {
		if want := i%7 != 3; (o.Code == 250) != want {
			t.Fatalf("recipient %d: %+v", i, o)
		}
	}
}

func chatty(t *testing.T, listener net.Listener) {
	conn, err := listener.Accept()
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(1)
	_ = conn.(*net.TCPConn).SetWriteBuffer(1)
	in := bufio.NewReader(conn)
	long := strings.Repeat("x", 400) + "\r\n"
	say := func(text string) { _, _ = conn.Write([]byte(text)) }
	say("220 ready\r\n")
	n, content := 0, false
	for {
		line, err := in.ReadString('\n')
		switch {
		case err != nil:
			return
		case content:
			if content = line != ".\r\n"; !content {
				say("250 kept\r\n")
			}
		case strings.HasPrefix(line, "EHLO"):
			say("250-mx\r\n250 PIPELINING\r\n")
		case strings.HasPrefix(line, "RCPT"):
			if n%7 == 3 {
				say("550 5.1.1 " + long)
			} else {
				say("250 " + long)
			}
			n++
		case strings.HasPrefix(line, "DATA"):
			content = true
			say("354 go\r\n")
		default:
			say("250 " + long)
		}
	}
}

// One Dialer serves every lane at once.
func TestConcurrentSessions(t *testing.T) {
	ca := upstreamtest.NewAuthority(t)
	sink := &upstreamtest.Sink{Extensions: []string{"PIPELINING"},
		TLS: &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1")}}}
	host, port := sink.Start(t)
	file := ca.File(t, t.TempDir())
	d := &upstream.Dialer{}
	var work sync.WaitGroup
	for i := range 12 {
		work.Go(func() {
			up := &config.Upstream{Host: host, Port: port, TLS: config.TLSVerify, Account: config.Account{Name: fmt.Sprint("lane ", i%3), Auth: "none"}, CAFile: file}
			feed := upstreamtest.NewFeed()
			for range 20 {
				feed.Add(envelopeTo("to@b.example"), []byte("Subject: x\r\n\r\nx\r\n"))
			}
			if err := d.Deliver(t.Context(), up, feed); err != nil {
				t.Error(err)
			}
			for _, breach := range feed.Breaches() {
				t.Error(breach)
			}
		})
	}
	work.Wait()
	if n := sink.Messages.Load(); n != 12*20 {
		t.Errorf("%d messages", n)
	}
}

// brokenContent ends before its size.
type brokenContent struct{ spool.Content }

func (b brokenContent) Size() int64 { return b.Content.Size() + 1 }

// brokenFeed has contents that can't be read, or not to their end.
type brokenFeed struct {
	*upstreamtest.Feed
	failOpen bool
}

func (f brokenFeed) Content(d *spool.Delivery) (spool.Content, error) {
	if f.failOpen {
		return nil, errors.New("record 7: checksum differs")
	}
	c, err := f.Feed.Content(d)
	return brokenContent{c}, err
}

// Trouble with our own disk is said, is nobody else's fault, and never lets a
// part of a message pass for the whole.
func TestUnreadableContent(t *testing.T) {
	for _, failOpen := range []bool{true, false} {
		sink := &upstreamtest.Sink{Extensions: []string{"PIPELINING"}}
		up := &config.Upstream{TLS: config.TLSOff, Account: config.Account{Name: "test", Auth: "none"}}
		up.Host, up.Port = sink.Start(t)
		feed := brokenFeed{upstreamtest.NewFeed(), failOpen}
		feed.Add(envelopeTo("to@b.example"), []byte("Subject: x\r\n\r\nx\r\n"))
		if err := new(upstream.Dialer).Deliver(t.Context(), up, feed); err != nil {
			t.Errorf("%v", err)
		}
		want := spool.StageBody
		if failOpen {
			want = spool.StageLocal
		}
		if o := feed.Settled()[0].Outcomes[0]; o.Stage != want || o.Code != 0 || o.Cause == "" || o.Unsupported {
			t.Errorf("%+v", o)
		}
		if n := sink.Messages.Load(); n != 0 {
			t.Errorf("%d messages arrived", n)
		}
	}
}
