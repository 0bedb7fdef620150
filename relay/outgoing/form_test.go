package outgoing_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"

	"postern/config"
	"postern/relay/outgoing"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// server is an upstream that keeps what it gets. It announces 8BITMIME, SIZE
// and SMTPUTF8.
type server struct {
	mu  sync.Mutex
	got []received
}

type received struct {
	from string
	opts smtp.MailOptions
	data string
}

type session struct {
	s    *server
	mail received
}

func (s *server) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{s: s}, nil }
func (s *session) Reset()                                     {}
func (s *session) Logout() error                              { return nil }
func (s *session) Rcpt(string, *smtp.RcptOptions) error       { return nil }
func (s *session) Mail(from string, o *smtp.MailOptions) error {
	s.mail = received{from: from, opts: *o}
	return nil
}
func (s *session) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	s.mail.data = string(data)
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	s.s.got = append(s.s.got, s.mail)
	return err
}

// startServer runs one at a free port.
func startServer(t testing.TB) (*server, int) {
	t.Helper()
	s := &server{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := smtp.NewServer(s)
	srv.EnableSMTPUTF8, srv.MaxMessageBytes = true, 100<<20
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); l.Close(); <-done }) // l too: Serve may not know it yet
	return s, l.Addr().(*net.TCPAddr).Port
}

// relayed is a way through a Dialer with forms.
type relayed struct {
	cfg    *config.Config
	forms  *outgoing.Forms
	events []outgoing.Event
	server *server
}

func newRelay(t testing.TB, change func(cfg *config.Config, up *config.Upstream)) *relayed {
	t.Helper()
	r := &relayed{cfg: config.Default()}
	s, port := startServer(t)
	up := config.DefaultUpstream("office")
	up.Host, up.Port, up.TLS = "127.0.0.1", port, config.TLSOff
	r.cfg.Upstreams["office"] = up
	change(r.cfg, up)
	r.server = s
	r.forms = outgoing.New(func(e outgoing.Event) { r.events = append(r.events, e) })
	policy, err := outgoing.NewPolicy(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.forms.Use(policy)
	return r
}

// send hands the messages to the upstream, over one session.
func (r *relayed) send(t testing.TB, env *spool.Envelope, bodies ...string) []upstreamtest.Settled {
	t.Helper()
	feed := upstreamtest.NewFeed()
	for _, body := range bodies {
		e := *env
		e.Recipients = []spool.Recipient{{Address: "to@example.net"}}
		for i := range len(body) {
			e.Has8Bit = e.Has8Bit || body[i] >= 0x80
		}
		feed.Add(&e, []byte(body))
	}
	if err := (&upstream.Dialer{Form: r.forms.Form}).Deliver(t.Context(), r.cfg.Upstreams["office"], feed); err != nil {
		t.Fatal(err)
	}
	if breaches := feed.Breaches(); len(breaches) > 0 {
		t.Fatal(breaches)
	}
	return feed.Settled()
}

func crlfs(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func TestSenderOfAnUpstream(t *testing.T) {
	r := newRelay(t, func(_ *config.Config, up *config.Upstream) { up.Sender = "us@example.com" })
	body := strings.Repeat("x\r\n.dot\r\n", 30_000)
	in := crlfs("Received: from x\nFrom: R\u00f6\u00f6t <root@host>\nSubject: s\n\n") + body
	r.send(t, &spool.Envelope{From: "root@host"}, in, in)
	r.send(t, &spool.Envelope{}, in)
	want := crlfs("Received: from x\nFrom: R\u00f6\u00f6t <us@example.com>\nReply-To: R\u00f6\u00f6t <root@host>\nSubject: s\n\n") + body
	if len(r.server.got) != 3 {
		t.Fatalf("%d messages", len(r.server.got))
	}
	for i, got := range r.server.got {
		from := "us@example.com"
		if i == 2 {
			from = "" // a bounce stays one
		}
		if got.data != want || got.from != from || got.opts.Size != int64(len(want)) || got.opts.Body != smtp.Body8BitMIME {
			t.Errorf("from %q, %d bytes of %d, size %d, body %q: %.200q", got.from, len(got.data), len(want), got.opts.Size, got.opts.Body, got.data)
		}
	}
}

// An edit counts for the next message, and without rules all goes as it is.
func TestEditedPolicy(t *testing.T) {
	r := newRelay(t, func(cfg *config.Config, _ *config.Upstream) {
		cfg.Rewrites = []config.Rewrite{{From: []string{"root@*"}, EnvelopeFrom: "us@example.com", ReplyTo: config.ReplyToOriginal}}
	})
	env, in := &spool.Envelope{From: "root@host"}, crlfs("From: root@host\n\nx\n")
	r.send(t, env, in)
	policy, err := outgoing.NewPolicy(config.Default())
	if err != nil {
		t.Fatal(err)
	}
	r.forms.Use(policy)
	r.send(t, env, in)
	for i, from := range []string{"us@example.com", "root@host"} {
		if got := r.server.got[i]; got.from != from || got.data != in {
			t.Errorf("%q: %q", got.from, got.data)
		}
	}
}

// What an upstream has to be able to do is asked of what is sent.
func TestSMTPUTF8IsOfTheForm(t *testing.T) {
	r := newRelay(t, func(cfg *config.Config, up *config.Upstream) {
		up.Sender, up.Without = "us@example.com", []string{"SMTPUTF8"}
		cfg.Rewrites = []config.Rewrite{{From: []string{"*"}, RemoveHeader: []string{"X-Name"}, ReplyTo: config.ReplyToNone}}
	})
	r.send(t, &spool.Envelope{From: "r\u00f6\u00f6t@host", SMTPUTF8: true}, crlfs("From: r\u00f6\u00f6t@host\nX-Name: \u00e4\n\nx\n"))
	if len(r.server.got) != 1 || r.server.got[0].data != crlfs("From: us@example.com\n\nx\n") {
		t.Errorf("%+v", r.server.got)
	}
}

func TestBrokenSignaturesAreToldOnce(t *testing.T) {
	r := newRelay(t, func(_ *config.Config, up *config.Upstream) { up.Sender = "us@example.com" })
	in := crlfs("DKIM-Signature: d=host.example; h=to:from\nFrom: root@host\n\nx\n")
	r.send(t, &spool.Envelope{From: "root@host"}, in, in)
	r.send(t, &spool.Envelope{From: "root@host"}, in)
	want := outgoing.SignatureBroken{ID: 1, Upstream: "office", Rule: "sender of office", Domain: "host.example", Field: "from"}
	if len(r.events) != 1 || r.events[0] != want {
		t.Errorf("%+v", r.events)
	}
}

// A header that is larger than can be changed is no reason to send it as it is.
func TestEndlessHeader(t *testing.T) {
	r := newRelay(t, func(_ *config.Config, up *config.Upstream) { up.Sender = "us@example.com" })
	long := strings.Repeat("X: y\r\n", 100_000) + "\r\n"
	got := r.send(t, &spool.Envelope{From: "root@host"}, long)
	if len(r.server.got) > 0 || len(got) != 1 || !got[0].Outcomes[0].Unsupported || got[0].Outcomes[0].Code != 554 {
		t.Errorf("%+v", got)
	}
}

// Odd contents go through a rule as they would without.
func TestOddContents(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "From: us@example.com\n\n",
		"\n":                           "From: us@example.com\n\n",
		"\nbody\n":                     "From: us@example.com\n\nbody\n",
		"From: a@b\n":                  "From: us@example.com\nReply-To: a@b\n\n",
		"From: a@b\n\n":                "From: us@example.com\nReply-To: a@b\n\n",
		"X: y\n\nFrom: not a header\n": "X: y\nFrom: us@example.com\n\nFrom: not a header\n",
	} {
		r := newRelay(t, func(_ *config.Config, up *config.Upstream) { up.Sender = "us@example.com" })
		r.send(t, &spool.Envelope{From: "root@host"}, crlfs(in))
		if len(r.server.got) != 1 || r.server.got[0].data != crlfs(want) {
			t.Errorf("%q: %+v", in, r.server.got)
		}
	}
}

// Whatever pieces a changed content is read in, it is the same.
func TestReadInPieces(t *testing.T) {
	r := newRelay(t, func(_ *config.Config, up *config.Upstream) { up.Sender = "us@example.com" })
	in := crlfs("From: root@host\n\n") + strings.Repeat("0123456789\r\n", 2000)
	form := upstream.Form{
		Upstream: r.cfg.Upstreams["office"], Delivery: &spool.Delivery{Envelope: &spool.Envelope{From: "root@host"}},
		From: "root@host", Content: memory{bytes.NewReader([]byte(in))},
	}
	if o := r.forms.Form(&form); o != nil {
		t.Fatal(o)
	}
	size := form.Content.Size()
	whole := make([]byte, size)
	if n, err := form.Content.ReadAt(whole, 0); n != len(whole) || err != nil && err != io.EOF {
		t.Fatal(n, err)
	}
	for range 200 {
		off := rand.Int64N(size + 10)
		p := make([]byte, rand.IntN(300))
		n, err := form.Content.ReadAt(p, off)
		want := whole[min(off, size):min(off+int64(len(p)), size)]
		if !bytes.Equal(p[:n], want) || n < len(p) && err != io.EOF {
			t.Fatalf("%d at %d: %d, %v", len(p), off, n, err)
		}
	}
}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// Where nothing is to change, looking for that costs no memory.
func TestNoAllocations(t *testing.T) {
	up := config.DefaultUpstream("office")
	cfg := config.Default()
	cfg.Upstreams["office"] = up
	policy, err := outgoing.NewPolicy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f := outgoing.New(nil)
	f.Use(policy)
	form := &upstream.Form{Upstream: up, Delivery: &spool.Delivery{Envelope: &spool.Envelope{From: "a@b", Has8Bit: true}}, EightBit: true}
	if n := testing.AllocsPerRun(100, func() {
		if f.Form(form) != nil {
			t.Fatal("no form")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func ExampleForms() {
	up := config.DefaultUpstream("office")
	up.Sender = "alerts@example.com"
	cfg := config.Default()
	cfg.Upstreams["office"] = up
	policy, _ := outgoing.NewPolicy(cfg)
	forms := outgoing.New(nil)
	forms.Use(policy)
	m := &upstream.Form{
		Upstream: up, Delivery: &spool.Delivery{Envelope: &spool.Envelope{From: "root@app1"}}, From: "root@app1",
		Content: memory{bytes.NewReader([]byte("From: Cron <root@app1>\r\nReply-To: ops@example.com\r\n\r\n"))},
	}
	forms.Form(m)
	b := make([]byte, m.Content.Size())
	_, _ = m.Content.ReadAt(b, 0)
	fmt.Printf("%s\n%s", m.From, strings.ReplaceAll(string(b), "\r", ""))
	// Output:
	// alerts@example.com
	// From: Cron <alerts@example.com>
	// Reply-To: ops@example.com
}
