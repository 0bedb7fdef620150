package submission_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/relay/intake"
	"postern/relay/origin"
	"postern/relay/route"
	"postern/relay/submission"
	"postern/spool"
)

// A case is a message, who hands it in, and what becomes of it.
type handedIn struct {
	name     string
	settings func(*config.Listener)
	user     string // signs in
	envelope submission.Envelope
	mail     string // the same as parameters of MAIL
	to       []submission.Recipient
	content  string
	routes   []config.Route // nil: those of routes
	fault    store          // what fails
	refused  []string
	message  string // what is kept behind our own trace field; empty: nothing
}

const plain = "From: a@example.com\r\nDate: Mon, 01 Jan 2001 07:40:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nhello\r\n"

// header is plain with fields in front.
func header(fields string) string { return fields + "\r\n" + plain }

func repairs(l *config.Listener) { l.RepairHeaders = true }

func sender(from string) submission.Envelope { return submission.Envelope{From: from} }

func to(addresses ...string) (list []submission.Recipient) {
	for _, a := range addresses {
		list = append(list, submission.Recipient{Address: a})
	}
	return list
}

var table = []handedIn{
	{name: "one message", envelope: sender("a@example.com"), to: to("b@example.net"), content: plain, message: plain},
	{name: "null reverse-path", to: to("b@example.net"), content: plain, message: plain},
	{name: "signed in", user: "app", settings: func(l *config.Listener) { l.RequireAuth = true },
		envelope: sender("a@example.com"), to: to("b@example.net"), content: plain, message: plain},
	{name: "not signed in", settings: func(l *config.Listener) { l.RequireAuth = true },
		envelope: sender("a@example.com"), to: to("b@example.net"), content: plain, refused: []string{"530 5.7.0 sign in first"}},
	{name: "no route for the sender", envelope: sender("a@nowhere.example"), to: to("b@example.net"), content: plain,
		refused: []string{"550 5.7.1 <a@nowhere.example> no route maps this sender"}},
	{name: "sender rejected by a route", envelope: sender("old@example.com"), to: to("b@example.net"), content: plain,
		refused: []string{"550 5.7.1 not any more"}},
	{name: "sender of somebody else", user: "app", envelope: sender("b@example.com"), to: to("b@example.net"), content: plain,
		refused: []string{"550 5.7.1 <b@example.com> is not an address that you may send as"}},
	{name: "author of somebody else", user: "app", envelope: sender("a@example.com"), to: to("b@example.net"), content: "From: ceo@example.com\r\n\r\nx\r\n",
		refused: []string{"550 5.7.1 the message has an author (From, Sender) that you may not send as"}},
	{name: "one recipient refused", envelope: sender("a@example.com"), to: to("b@nowhere.example", "c@example.net"), content: plain,
		refused: []string{"550 5.7.1 <b@nowhere.example> no route maps this recipient"}, message: plain},
	{name: "all recipients refused", envelope: sender("a@example.com"), to: to("b@nowhere.example"), content: plain,
		refused: []string{"550 5.7.1 <b@nowhere.example> no route maps this recipient"}},
	{name: "recipient twice", envelope: sender("a@example.com"), to: to("b@example.net", "b@EXAMPLE.net"), content: plain, message: plain},
	{name: "too many recipients", settings: func(l *config.Listener) { l.MaxRecipients = 1 },
		envelope: sender("a@example.com"), to: to("b@example.net", "c@example.net"), content: plain,
		refused: []string{"452 4.5.3 too many recipients"}, message: plain},
	{name: "more recipients than the rate", settings: func(l *config.Listener) {
		l.Rate = []config.Rate{{Count: 1, Recipients: true, Per: time.Hour}}
	}, envelope: sender("a@example.com"), to: to("b@example.net", "c@example.net"), content: plain,
		refused: []string{"450 4.7.1 more mail than this server takes from you (1 recipients/1h), try again later"}, message: plain},
	{name: "priority bounded", settings: func(l *config.Listener) { l.MaxPriority = 3 },
		envelope: submission.Envelope{From: "a@example.com", Priority: 9}, mail: " MT-PRIORITY=9", to: to("b@example.net"), content: plain, message: plain},
	{name: "what an envelope says", envelope: submission.Envelope{From: "jürgen@example.com", Body: spool.Body8BitMIME, SMTPUTF8: true, Return: "HDRS", EnvelopeID: "a+2Bb"},
		mail:    " BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb",
		to:      []submission.Recipient{{Address: "b@example.net", Notify: spool.NotifySuccess | spool.NotifyDelay, ORcpt: "rfc822;c@example.net"}},
		content: header("Subject: ü"), message: header("Subject: ü")},
	{name: "header route", envelope: sender("late@example.org"), to: to("b@example.net"), content: header("X-Kind: urgent"), message: header("X-Kind: urgent")},
	{name: "no header route", envelope: sender("late@example.org"), to: to("b@example.net"), content: plain,
		refused: []string{"550 5.7.1 no route maps this message"}},
	{name: "fields that lack", envelope: sender("a@example.com"), to: to("b@example.net"), content: "Subject: x\r\n\r\nhello\r\n",
		message: "Subject: x\r\nDate: NOW\r\nMessage-ID: <UNIQUE@mx.example.com>\r\n\r\nhello\r\n"},
	{name: "From that lacks", settings: repairs, user: "app", envelope: sender("a@example.com"), to: to("b@example.net"), content: "Subject: x\r\n\r\nhello\r\n",
		message: "Subject: x\r\nFrom: \"app\" <a@example.com>\r\nDate: NOW\r\nMessage-ID: <UNIQUE@mx.example.com>\r\n\r\nhello\r\n"},
	{name: "repairs", settings: repairs, envelope: sender("a@example.com"), to: to("b@example.net"),
		content: "From a@b Sat Nov 28 07:40:00 2026\r\nReturn-Path: <x>\r\nSubject: x\r\nSubject: x\r\nFrom: a@example.com\r\nDate: soon\r\nMessage-ID: 1\r\n\r\nhello\r\n",
		message: "Subject: x\r\nX-Original-Subject: x\r\nFrom: a@example.com\r\nX-Original-Date: soon\r\nX-Original-Message-ID: 1\r\nDate: NOW\r\nMessage-ID: <UNIQUE@mx.example.com>\r\n\r\nhello\r\n"},
	{name: "Bcc", envelope: sender("a@example.com"), to: to("b@example.net"), content: header("Bcc: secret@example.net"), message: plain},
	{name: "key", envelope: sender("a@example.com"), to: to("b@example.net"), content: header("Postern-Idempotency-Key: x"), message: plain},
	{name: "key and repairs", settings: repairs, envelope: sender("a@example.com"), to: to("b@example.net"),
		content: header("Bcc: x\r\nPostern-Idempotency-Key: x\r\nSubject: x\r\nSubject: x"), message: header("Subject: x\r\nX-Original-Subject: x")},
	{name: "two keys", envelope: sender("a@example.com"), to: to("b@example.net"), content: header("Postern-Idempotency-Key: x\r\nPostern-Idempotency-Key: x"),
		refused: []string{"554 5.6.0 message has more than one Postern-Idempotency-Key"}},
	{name: "text alone", envelope: sender("a@example.com"), to: to("b@example.net"), content: "hello\r\n",
		message: "Date: NOW\r\nMessage-ID: <UNIQUE@mx.example.com>\r\n\r\nhello\r\n"},
	{name: "loop", envelope: sender("a@example.com"), to: to("b@example.net"), content: header(strings.Repeat("Received: x\r\n", 50) + "Subject: x"),
		refused: []string{"554 5.4.6 too many hops"}},
	{name: "NUL in the header", envelope: sender("a@example.com"), to: to("b@example.net"), content: header("Subject: \x00"), refused: []string{"554 5.6.0 message has a NUL"}},
	{name: "NUL in the body", envelope: sender("a@example.com"), to: to("b@example.net"), content: plain + "\x00\r\n", refused: []string{"554 5.6.0 message has a NUL"}},
	{name: "header too large", envelope: sender("a@example.com"), to: to("b@example.net"), content: header(strings.Repeat("X: y\r\n", 50_000) + "Subject: x"),
		refused: []string{"552 5.3.4 message header is larger than the limit of 256 KiB"}},
	{name: "message too large", settings: func(l *config.Listener) { l.MaxMessageSize = 1000 },
		envelope: sender("a@example.com"), to: to("b@example.net"), content: plain + strings.Repeat("0123456789\r\n", 1000), refused: []string{"552 5.3.4 "}},
	{name: "store is full", fault: store{create: spool.ErrFull}, envelope: sender("a@example.com"), to: to("b@example.net"), content: plain,
		refused: []string{"452 4.3.1 insufficient storage, try again later"}},
	{name: "write fails", fault: store{write: errors.New("/secret: I/O error")}, envelope: sender("a@example.com"), to: to("b@example.net"), content: plain,
		refused: []string{"451 4.3.0 cannot take mail now, try again later"}},
	{name: "commit fails", fault: store{commit: errors.New("/secret: I/O error")}, envelope: sender("a@example.com"), to: to("b@example.net"), content: plain,
		refused: []string{"451 4.3.0 cannot take mail now, try again later"}},
}

// TestWaysIn hands each message in without SMTP and over a socket. What is
// refused, what is kept and what is told of it are the same.
func TestWaysIn(t *testing.T) {
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			var kept [2]string
			for i, way := range []func(*testing.T, *handedIn, *config.Config, submission.Options) []string{directly, bySMTP} {
				st, told := c.fault, []string(nil)
				cfg := &config.Config{Hostname: "mx.example.com", Listeners: []config.Listener{listener()},
					Senders: []config.Sender{{User: []string{"app"}, From: []string{"a@example.com"}, CheckFrom: true}}}
				if c.settings != nil {
					c.settings(&cfg.Listeners[0])
				}
				if c.user != "" {
					cfg.Listeners[0].Users = map[string]string{c.user: geheim}
				}
				memory := origin.NewBudget(16 << 20)
				refused := way(t, &c, cfg, submission.Options{Accept: &st, Memory: memory, Events: func(e submission.Event) {
					if r, ok := e.(*submission.Refused); ok {
						told = append(told, r.Refusal.Error())
						if strings.Contains(r.Refusal.Error(), "secret") {
							t.Error("a client would be told the cause")
						}
					}
				}})
				if !matches(refused, c.refused) || !matches(told, c.refused) {
					t.Errorf("way %d: refused %q, told %q, want %q", i, refused, told, c.refused)
				}
				_, content, _ := strings.Cut(st.kept, ";\r\n\tNOW\r\n")
				if content != c.message {
					t.Errorf("way %d: kept %q, want %q", i, st.kept, c.message)
				}
				if st.open != 0 || memory.Used() != 0 {
					t.Errorf("way %d: %d drafts and %d bytes are left", i, st.open, memory.Used())
				}
				kept[i] = st.kept
			}
			if kept[0] != kept[1] {
				t.Errorf("directly:\n%s\nby SMTP:\n%s", kept[0], kept[1])
			}
		})
	}
}

// matches reports whether each line of got begins as that of want.
func matches(got, want []string) bool {
	for i := range got {
		if i >= len(want) || !strings.HasPrefix(got[i], want[i]) {
			return false
		}
	}
	return len(got) == len(want)
}

// directly submits without any protocol.
func directly(t *testing.T, c *handedIn, cfg *config.Config, o submission.Options) (refused []string) {
	agent := submission.New(o)
	policy, err := submission.NewPolicy(cfg, c.table(t))
	if err != nil {
		t.Fatal(err)
	}
	agent.Use(policy)
	client := &submission.Client{
		Listener: "test", Peer: "127.0.0.1:1", Addr: netip.MustParseAddr("127.0.0.1"), Helo: "client.example", User: c.user,
		Settings: submission.SettingsOf(&cfg.Listeners[0]),
	}
	e := c.envelope
	e.Protocol = "ESMTP"
	if e.SMTPUTF8 {
		e.Protocol = "UTF8SMTP"
	}
	if c.user != "" {
		e.Protocol += "A"
	}
	// note notes a refusal, and whether there is one.
	note := func(err error) bool {
		var r *submission.Refusal
		if err != nil && !errors.As(err, &r) {
			t.Errorf("%T is no refusal", err)
		}
		if r != nil {
			refused = append(refused, r.Error())
			if r.Temporary() != (r.Code < 500) {
				t.Errorf("%v: temporary %t", r, r.Temporary())
			}
		}
		return err != nil
	}
	m, err := agent.Begin(t.Context(), client, e)
	if note(err) {
		return refused
	}
	defer m.Discard()
	added := 0
	for _, r := range c.to {
		if err := m.Add(r); !note(err) {
			added++
		} else if err.(*submission.Refusal).Recipient != r.Address {
			t.Errorf("%v is not about %s", err, r.Address)
		}
	}
	if added == 0 {
		return refused
	}
	if _, err := io.Copy(m, inPieces(c.content)); note(err) {
		if _, again := m.Commit(t.Context()); again == nil {
			t.Error("a refused message was committed")
		}
		return refused
	}
	_, err = m.Commit(t.Context())
	note(err)
	if _, err := m.Commit(t.Context()); err == nil {
		t.Error("committed twice")
	}
	return refused
}

// TestOutOfOrder: what a way in may do wrong is refused, and nothing is kept.
func TestOutOfOrder(t *testing.T) {
	st := &store{}
	agent := submission.New(submission.Options{Accept: st})
	l := listener()
	client := &submission.Client{Settings: submission.SettingsOf(&l)}
	if _, err := agent.Begin(t.Context(), client, sender("a@example.com")); submission.AsRefusal(err).Code != 451 {
		t.Errorf("without a policy: %v", err)
	}
	policy, err := submission.NewPolicy(&config.Config{}, routes(t))
	if err != nil {
		t.Fatal(err)
	}
	agent.Use(policy)
	for name, c := range map[string]struct {
		does func(*submission.Message) error
		want int
	}{
		"no recipient": {func(m *submission.Message) error { _, err := m.Commit(t.Context()); return err }, 554},
		"recipient behind content": {func(m *submission.Message) error {
			if err := m.Add(to("b@example.net")...); err != nil {
				return err
			}
			m.Write([]byte("a: b\r\n"))
			return m.Add(to("c@example.net")...)
		}, 503},
		"content behind the end": {func(m *submission.Message) error { m.Discard(); _, err := m.Write([]byte("x")); return err }, 503},
		"commit behind the end":  {func(m *submission.Message) error { m.Discard(); _, err := m.Commit(t.Context()); return err }, 503},
	} {
		m, err := agent.Begin(t.Context(), client, sender("a@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.does(m); err == nil || submission.AsRefusal(err).Code != c.want {
			t.Errorf("%s: %v, want %d", name, err, c.want)
		}
		m.Discard()
		if st.open != 0 || st.kept != "" {
			t.Errorf("%s: %d drafts, kept %q", name, st.open, st.kept)
		}
	}
}

// inPieces reads s in pieces that end anywhere.
func inPieces(s string) io.Reader {
	return io.MultiReader(strings.NewReader(s[:len(s)/3]), strings.NewReader(s[len(s)/3:]))
}

// bySMTP submits over a socket.
func bySMTP(t *testing.T, c *handedIn, cfg *config.Config, o submission.Options) (refused []string) {
	s := intake.New(intake.Options{Submission: submission.New(o)})
	defer s.Close()
	if err := s.Apply(cfg, c.table(t)); err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("tcp", s.Addrs()["test"].String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	conn := textproto.NewConn(nc)
	// reply reads one, and tells whether it was a refusal.
	reply := func() bool {
		code, text, err := conn.ReadResponse(0)
		if err != nil {
			t.Fatal(err)
		}
		if code >= 400 {
			refused = append(refused, fmt.Sprintf("%d %s", code, text))
		}
		return code >= 400
	}
	say := func(line string) bool {
		if err := conn.PrintfLine("%s", line); err != nil {
			t.Fatal(err)
		}
		return reply()
	}
	reply()
	say("EHLO client.example")
	if c.user != "" && say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+c.user+"\x00geheim"))) {
		t.Fatal(refused)
	}
	if say("MAIL FROM:<" + c.envelope.From + ">" + c.mail) {
		return refused
	}
	added := 0
	for _, r := range c.to {
		line := "RCPT TO:<" + r.Address + ">"
		if r.ORcpt != "" {
			line += " NOTIFY=SUCCESS,DELAY ORCPT=" + r.ORcpt
		}
		if !say(line) {
			added++
		}
	}
	if added == 0 {
		say("RSET")
		return refused
	}
	if say("DATA") {
		t.Fatal(refused)
	}
	w := conn.DotWriter()
	io.WriteString(w, c.content)
	w.Close()
	reply()
	return refused
}

// geheim is the stored form of the password "geheim".
const geheim = "$2a$04$J1JTzIecEhqwpj1OrMR6eOk4q0rLv16./SbJ/if6OcoGsrtajWsfK"

func listener() config.Listener {
	return config.Listener{
		Name: "test", Address: "127.0.0.1:0", Network: "tcp", Target: "127.0.0.1:0", TLS: config.ListenerTLSOff,
		MaxMessageSize: 1 << 20, MaxRecipients: 100, MaxConnections: 10, IdleTimeout: time.Minute, DataTimeout: time.Minute, Newlines: "refuse",
	}
}

func (c *handedIn) table(t testing.TB) *route.Table {
	if c.routes == nil {
		return routes(t)
	}
	table, err := route.New(c.routes)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func routes(t testing.TB) *route.Table {
	table, err := route.New([]config.Route{
		{From: []string{"old@example.com"}, Reject: "not any more"},
		{From: []string{"late@example.org"}, Header: map[string][]string{"X-Kind": {"urgent"}}, Upstream: []string{"fast"}},
		{From: []string{"late@example.org"}, To: []string{"nobody@example.net"}, Upstream: []string{"up"}},
		{From: []string{"*@example.com", "<>"}, To: []string{"*@example.net"}, Upstream: []string{"up"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// store is an Acceptor that keeps a description of one message.
type store struct {
	create, write, commit error

	open int // drafts that have not ended
	kept string
	env  *spool.Envelope // of what is kept
}

type draft struct {
	store *store
	buf   bytes.Buffer
}

func (s *store) Create(context.Context) (spool.Draft, error) {
	if s.create != nil {
		return nil, s.create
	}
	s.open++
	return &draft{store: s}, nil
}

func (s *store) Known(context.Context, *spool.Key) error { return nil }

func (d *draft) ID() spool.ID { return 7 }

func (d *draft) Write(p []byte) (int, error) {
	if d.store.write != nil {
		return 0, d.store.write
	}
	return d.buf.Write(p)
}

// What differs from run to run.
var (
	ids   = regexp.MustCompile(`<[0-9a-z]+\.[0-9A-Za-z-]+\.[A-Z2-7]{10}@`)
	ports = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	dates = regexp.MustCompile(time.Now().Format(`Mon, 02 Jan 2006 `) + `\d\d:\d\d:\d\d [+-]\d{4}`)
)

func (d *draft) Commit(_ context.Context, e *spool.Envelope) error {
	d.store.open--
	if d.store.commit != nil {
		return d.store.commit
	}
	one := *e
	d.store.env = &one
	one.Accepted = time.Time{}
	text := fmt.Sprintf("%+v\n%s", one, d.buf.String())
	d.store.kept = dates.ReplaceAllString(ports.ReplaceAllString(ids.ReplaceAllString(text, "<UNIQUE@"), "127.0.0.1:1"), "NOW")
	return nil
}

func (d *draft) Discard() { d.store.open-- }
