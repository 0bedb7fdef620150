package notice

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"postern/queue/notice/noticetest"
	"postern/spool"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var (
	accepted = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	attempt  = time.Date(2026, 11, 20, 9, 5, 0, 0, time.UTC)
	now      = time.Date(2026, 11, 20, 13, 0, 0, 0, time.UTC)
)

// at is an outcome at a stage.
func at(stage spool.Stage, code int, enhanced, text string) spool.Outcome {
	return spool.Outcome{Stage: stage, Code: code, Enhanced: enhanced, Text: text, Remote: "up.example:587"}
}

const returnedHeader = "From: Billing <billing@example.com>\r\nTo: someone@example.net\r\nSubject: Invoice 4711\r\nMessage-ID: <4711@app1.example.com>\r\n"

func notices() map[string]*Notice {
	env := func(from string) *spool.Envelope {
		return &spool.Envelope{From: from, Accepted: accepted, MessageID: "<4711@app1.example.com>", EnvelopeID: "QQ314159+2B1"}
	}
	rcpt := func(addr, orcpt string) *spool.Recipient { return &spool.Recipient{Address: addr, ORcpt: orcpt} }
	base := func(kind Action, env *spool.Envelope, about ...Recipient) *Notice {
		return &Notice{Action: kind, Host: "app1.example.com", Now: now, Envelope: env, About: about,
			Returned: []byte(returnedHeader), MessageID: "<0000000000002.dsn@app1.example.com>", Boundary: "=_0123456789abcdef"}
	}
	hostile := at(spool.StageDot, 554, "5.7.1", "no\r\n--=_0123456789abcdef\r\nSubject: injected \x1b[31mred\u202e "+strings.Repeat("long ", 80)+"grün")
	full := base(Failed, env("billing@example.com"), Recipient{Recipient: rcpt("someone@example.net", ""), Last: attempt,
		Outcome: at(spool.StageDot, 552, "5.3.4", "message exceeds the size limit")})
	full.Returned, full.Full = []byte(returnedHeader+"\r\nThe invoice is enclosed.\r\n"), true
	eight := base(Failed, env("billing@example.com"), Recipient{Recipient: rcpt("someone@example.net", ""), Last: attempt,
		Outcome: at(spool.StageRcpt, 550, "", "unbekannter Empfänger")})
	eight.Returned = []byte("From: billing@example.com\r\nSubject: Rechnung für November\r\n")
	return map[string]*Notice{
		"failed": base(Failed, env("billing@example.com"), Recipient{Recipient: rcpt("someone@example.net", "rfc822;some+2Bone@example.net"),
			Last: attempt, Outcome: at(spool.StageRcpt, 550, "5.1.1", "User unknown")}),
		"failed-several": base(Failed, env("billing@example.com"),
			Recipient{Recipient: rcpt("a@example.net", ""), Last: attempt, Outcome: at(spool.StageRcpt, 550, "5.1.1", "User unknown")},
			Recipient{Recipient: rcpt("b@example.net", ""), Last: attempt, Outcome: at(spool.StageRcpt, 552, "5.2.2", "Mailbox full")},
			Recipient{Recipient: rcpt("c@example.net", ""), Last: attempt, Outcome: spool.Outcome{Stage: spool.StageMail, Unsupported: true,
				Code: 550, Enhanced: "5.6.7", Text: "the upstream does not offer SMTPUTF8", Remote: "up.example:587"}}),
		"failed-full": full,
		"failed-8bit": eight,
		"failed-hostile": base(Failed, env("billing@example.com"), Recipient{Recipient: rcpt("someone@example.net", "evil;x+0D+0AInjected:+20y"),
			Last: attempt, Outcome: hostile}),
		"failed-utf8": base(Failed, env("rechnung@bücher.example"), Recipient{Recipient: rcpt("jürgen@example.net", "utf-8;j\\x{FC}rgen@example.net"),
			Last: attempt, Outcome: at(spool.StageRcpt, 550, "5.1.1", "User unknown")}),
		"expired": base(Failed, env("billing@example.com"), Recipient{Recipient: rcpt("someone@example.net", ""), Last: attempt,
			Reason: "the message could not be delivered within its lifetime", Status: "4.4.7",
			Outcome: spool.Outcome{Stage: spool.StageConnect, Cause: "connection refused", Remote: "up.example:587"}}),
		"expired-in-doubt": base(Failed, env("billing@example.com"), Recipient{Recipient: rcpt("someone@example.net", ""), Last: attempt,
			Reason: "the message could not be delivered within its lifetime", Status: "4.4.7",
			Outcome: spool.Outcome{Stage: spool.StageDot, Cause: "connection reset by peer", Remote: "[2001:db8::1]:587"}}),
		"returned-by-operator": base(Failed, env("billing@example.com"), Recipient{Recipient: rcpt("someone@example.net", ""),
			Reason: "the administrator of this relay has returned it: wrong address", Status: "5.0.0"}),
		"failed-deadline": base(Failed, env("billing@example.com"), Recipient{Recipient: rcpt("someone@example.net", ""), Last: now,
			Outcome: spool.Outcome{Stage: spool.StageMail, Enhanced: "5.4.7", Unsupported: true, Remote: "up.example:587",
				Text: "the deadline of the message is nearer than the upstream can keep"}}),
		"delayed": base(Delayed, env("billing@example.com"), Recipient{Recipient: rcpt("someone@example.net", ""), Last: attempt,
			Until: accepted.Add(120 * time.Hour), Outcome: at(spool.StageRcpt, 450, "4.2.0", "Greylisted, try again")}),
		"delayed-never-tried": base(Delayed, env("billing@example.com"), Recipient{Recipient: rcpt("someone@example.net", ""), Until: accepted.Add(120 * time.Hour)}),
		"relayed": base(Relayed, env("billing@example.com"), Recipient{Recipient: rcpt("someone@example.net", ""), Last: now,
			Outcome: at(spool.StageDot, 250, "2.0.0", "queued as 4F2")}),
		"relayed-traced": base(Relayed, env("billing@example.com"), Recipient{Recipient: rcpt("someone@example.net", ""), Last: now,
			Outcome: spool.Outcome{Stage: spool.StageDot, Code: 250, Enhanced: "2.0.0", Text: "queued as 4F2", Remote: "up.example:587", DSNRelayed: true}}),
	}
}

func TestGolden(t *testing.T) {
	for name, r := range notices() {
		t.Run(name, func(t *testing.T) {
			got, has8Bit := r.Bytes()
			if has8Bit != (name == "failed-utf8") {
				t.Errorf("8-bit: %v", has8Bit)
			}
			file := filepath.Join("testdata", "dsn-"+name+".eml")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("differs from %s:\n%s", file, got)
			}
			noticetest.Parse(t, got)
		})
	}
}

// Whatever is in the addresses, the replies and the header of the message: the
// notification keeps its form, and nobody gets a field of his own into it.
func TestHoldsItsForm(t *testing.T) {
	wild := rapid.OneOf(rapid.String(), rapid.StringMatching(`(\r\n|[a-z:]|--=_b|\x00|\x1b|é| ){0,60}`),
		rapid.Map(rapid.IntRange(0, 3000), func(n int) string { return strings.Repeat("x", n) }))
	rapid.Check(t, func(t *rapid.T) {
		var about []Recipient
		n := rapid.IntRange(1, 4).Draw(t, "recipients")
		for range n {
			about = append(about, Recipient{Last: attempt,
				Recipient: &spool.Recipient{Address: wild.Draw(t, "address"), ORcpt: wild.Draw(t, "orcpt")},
				Outcome: spool.Outcome{Stage: spool.Stage(rapid.IntRange(0, int(spool.StageDot)).Draw(t, "stage")), Code: rapid.IntRange(0, 999).Draw(t, "code"),
					Enhanced: wild.Draw(t, "enhanced"), Text: wild.Draw(t, "text"), Cause: wild.Draw(t, "cause"), Remote: wild.Draw(t, "remote")}})
		}
		r := &Notice{Action: rapid.SampledFrom([]Action{Failed, Delayed, Relayed}).Draw(t, "kind"), Host: "relay.example", Now: now, About: about,
			Envelope:  &spool.Envelope{From: "a@example.com", Accepted: accepted, EnvelopeID: wild.Draw(t, "envid"), MessageID: wild.Draw(t, "messageID")},
			Returned:  header([]byte(wild.Draw(t, "header") + "\r\n")),
			MessageID: "<1.dsn@relay.example>", Boundary: "=_0123456789abcdef0123456789"}
		r.holdsItsForm(t)
	})
}

func (n *Notice) holdsItsForm(t noticetest.T) {
	t.Helper()
	text, has8Bit := n.Bytes()
	if has8Bit {
		t.Fatalf("8-bit:\n%s", text)
	}
	got := noticetest.Parse(t, text)
	if len(got) != len(n.About) {
		t.Fatalf("%d recipients, want %d\n%s", len(got), len(n.About), text)
	}
	for _, h := range got {
		for name := range h {
			switch name {
			case "Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-Mta", "Diagnostic-Code", "Last-Attempt-Date", "Will-Retry-Until":
			default:
				t.Fatalf("a field of a stranger: %s", name)
			}
		}
	}
}

// FuzzBytes is the same for whatever an upstream, a client and the content
// may hold.
func FuzzBytes(f *testing.F) {
	f.Add("b@example.net", "rfc822;b@example.net", "a+2Bb", "<a@b.example>", "User unknown", "5.1.1", "up.example:25", []byte("Subject: x\r\n\r\ntext\r\n"), 550)
	f.Add("jürgen@example.net", `utf-8;j\x{FC}rgen@example.net`, "+C3+BC", "<>", "a\r\nStatus: 2.0.0", "9.9.9", "[::1]:25", []byte("no header"), 0)
	f.Add("\r\nAction: delivered", ";", "+0D+0A", "x", "\x1b[2J", "", "", []byte("--=_0123456789abcdef0123456789--\r\n"), 999)
	f.Fuzz(func(t *testing.T, to, orcpt, envid, id, text, enhanced, remote string, content []byte, code int) {
		head := header(content)
		r := &Notice{Action: Failed, Host: "relay.example", Now: now, Returned: head,
			MessageID: "<1.dsn@relay.example>", Boundary: Boundary(head),
			Envelope: &spool.Envelope{From: "a@example.com", Accepted: accepted, EnvelopeID: envid, MessageID: id},
			About: []Recipient{{Last: attempt, Recipient: &spool.Recipient{Address: to, ORcpt: orcpt},
				Outcome: spool.Outcome{Stage: spool.StageDot, Code: code, Enhanced: enhanced, Text: text, Remote: remote}}}}
		r.holdsItsForm(t)
	})
}

func TestHeader(t *testing.T) {
	for in, want := range map[string]string{"": "", "A: b\r\n\r\nbody": "A: b\r\n", "A: b\r\ncut off": "A: b\r\n", "no line": "", "\r\n\r\nbody": "\r\n"} {
		if got := string(header([]byte(in))); got != want {
			t.Errorf("header(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestWanted(t *testing.T) {
	by := func(back, trace bool) func(*spool.Envelope) {
		return func(e *spool.Envelope) {
			e.DeliverBy = &spool.DeliverBy{Deadline: e.Accepted.Add(100 * time.Hour), Return: back, Trace: trace}
		}
	}
	none := func(*spool.Envelope) {}
	notify := func(n spool.Notify) func(*spool.Envelope) {
		return func(e *spool.Envelope) { e.Recipients[0].Notify = n }
	}
	auto := func(e *spool.Envelope) { e.Auto = true }
	null := func(e *spool.Envelope) { e.From = "" }
	handed := spool.Outcome{DSNRelayed: true, ByRelayed: true}
	for name, c := range map[string]struct {
		kind  Action
		env   func(*spool.Envelope)
		out   spool.Outcome
		wants bool
	}{
		"failure":                         {Failed, none, spool.Outcome{}, true},
		"failure of a notification":       {Failed, null, spool.Outcome{}, false},
		"failure, never":                  {Failed, notify(spool.NotifyNever), spool.Outcome{}, false},
		"failure, asked":                  {Failed, notify(spool.NotifyFailure), spool.Outcome{}, true},
		"failure, only success asked":     {Failed, notify(spool.NotifySuccess), spool.Outcome{}, false},
		"failure of an automatic message": {Failed, auto, spool.Outcome{}, true},
		"delay":                           {Delayed, none, spool.Outcome{}, true},
		"delay of a notification":         {Delayed, null, spool.Outcome{}, false},
		"delay, only failure asked":       {Delayed, notify(spool.NotifyFailure), spool.Outcome{}, false},
		"delay, asked":                    {Delayed, notify(spool.NotifyDelay | spool.NotifyFailure), spool.Outcome{}, true},
		"delay of an automatic message":   {Delayed, auto, spool.Outcome{}, false},
		"delay past a deadline N":         {Delayed, by(false, false), spool.Outcome{}, true},
		"success":                         {Relayed, none, spool.Outcome{}, false},
		"success, asked":                  {Relayed, notify(spool.NotifySuccess), spool.Outcome{}, true},
		"success, asked, handed on":       {Relayed, notify(spool.NotifySuccess), handed, false},
		"success of a notification":       {Relayed, null, spool.Outcome{}, false},
		"deadline N dropped on the way":   {Relayed, by(false, false), spool.Outcome{}, true},
		"deadline N handed on":            {Relayed, by(false, false), handed, false},
		"deadline R":                      {Relayed, by(true, false), handed, false},
		"deadline traced":                 {Relayed, by(true, true), handed, true},
	} {
		env := &spool.Envelope{From: "a@app.example", Accepted: now, Recipients: []spool.Recipient{{Address: "b@example.com"}}}
		c.env(env)
		if got := Wanted(c.kind, env, &env.Recipients[0], &c.out); got != c.wants {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// BenchmarkBytes is the text of one notification.
func BenchmarkBytes(b *testing.B) {
	r := notices()["failed-several"]
	b.ReportAllocs()
	for b.Loop() {
		text, _ := r.Bytes()
		io.Discard.Write(text)
	}
}
