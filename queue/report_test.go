package queue

import (
	"bytes"
	"flag"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"postern/spool"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var (
	accepted = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	attempt  = time.Date(2026, 11, 20, 9, 5, 0, 0, time.UTC)
	now      = time.Date(2026, 11, 20, 13, 0, 0, 0, time.UTC)
)

const returnedHeader = "From: Billing <billing@example.com>\r\nTo: someone@example.net\r\nSubject: Invoice 4711\r\nMessage-ID: <4711@app1.example.com>\r\n"

func reports() map[string]*report {
	env := func(from string) *spool.Envelope {
		return &spool.Envelope{From: from, Accepted: accepted, MessageID: "<4711@app1.example.com>", EnvelopeID: "QQ314159+2B1"}
	}
	rcpt := func(addr, orcpt string) *spool.Recipient { return &spool.Recipient{Address: addr, ORcpt: orcpt} }
	base := func(kind Action, env *spool.Envelope, about ...subject) *report {
		return &report{kind: kind, host: "app1.example.com", now: now, env: env, about: about,
			returned: []byte(returnedHeader), messageID: "<0000000000002.dsn@app1.example.com>", boundary: "=_0123456789abcdef"}
	}
	hostile := replyAt(spool.StageDot, 554, "5.7.1", "no\r\n--=_0123456789abcdef\r\nSubject: injected \x1b[31mred\u202e "+strings.Repeat("long ", 80)+"grün")
	full := base(Failed, env("billing@example.com"), subject{recipient: rcpt("someone@example.net", ""), last: attempt,
		outcome: replyAt(spool.StageDot, 552, "5.3.4", "message exceeds the size limit")})
	full.returned, full.full = []byte(returnedHeader+"\r\nThe invoice is enclosed.\r\n"), true
	eight := base(Failed, env("billing@example.com"), subject{recipient: rcpt("someone@example.net", ""), last: attempt,
		outcome: replyAt(spool.StageRcpt, 550, "", "unbekannter Empfänger")})
	eight.returned = []byte("From: billing@example.com\r\nSubject: Rechnung für November\r\n")
	return map[string]*report{
		"failed": base(Failed, env("billing@example.com"), subject{recipient: rcpt("someone@example.net", "rfc822;some+2Bone@example.net"),
			last: attempt, outcome: replyAt(spool.StageRcpt, 550, "5.1.1", "User unknown")}),
		"failed-several": base(Failed, env("billing@example.com"),
			subject{recipient: rcpt("a@example.net", ""), last: attempt, outcome: replyAt(spool.StageRcpt, 550, "5.1.1", "User unknown")},
			subject{recipient: rcpt("b@example.net", ""), last: attempt, outcome: replyAt(spool.StageRcpt, 552, "5.2.2", "Mailbox full")},
			subject{recipient: rcpt("c@example.net", ""), last: attempt, outcome: spool.Outcome{Stage: spool.StageMail, Unsupported: true,
				Code: 550, Enhanced: "5.6.7", Text: "the upstream does not offer SMTPUTF8", Remote: "up.example:587"}}),
		"failed-full": full,
		"failed-8bit": eight,
		"failed-hostile": base(Failed, env("billing@example.com"), subject{recipient: rcpt("someone@example.net", "evil;x+0D+0AInjected:+20y"),
			last: attempt, outcome: hostile}),
		"failed-utf8": base(Failed, env("rechnung@bücher.example"), subject{recipient: rcpt("jürgen@example.net", "utf-8;j\\x{FC}rgen@example.net"),
			last: attempt, outcome: replyAt(spool.StageRcpt, 550, "5.1.1", "User unknown")}),
		"expired": base(Failed, env("billing@example.com"), subject{recipient: rcpt("someone@example.net", ""), last: attempt,
			reason: "the message could not be delivered within its lifetime", status: "4.4.7",
			outcome: spool.Outcome{Stage: spool.StageConnect, Cause: "connection refused", Remote: "up.example:587"}}),
		"expired-in-doubt": base(Failed, env("billing@example.com"), subject{recipient: rcpt("someone@example.net", ""), last: attempt,
			reason: "the message could not be delivered within its lifetime", status: "4.4.7",
			outcome: spool.Outcome{Stage: spool.StageDot, Cause: "connection reset by peer", Remote: "[2001:db8::1]:587"}}),
		"returned-by-operator": base(Failed, env("billing@example.com"), subject{recipient: rcpt("someone@example.net", ""),
			reason: "the administrator of this relay has returned it: wrong address", status: "5.0.0"}),
		"delayed": base(Delayed, env("billing@example.com"), subject{recipient: rcpt("someone@example.net", ""), last: attempt,
			until: accepted.Add(120 * time.Hour), outcome: replyAt(spool.StageRcpt, 450, "4.2.0", "Greylisted, try again")}),
		"delayed-never-tried": base(Delayed, env("billing@example.com"), subject{recipient: rcpt("someone@example.net", ""), until: accepted.Add(120 * time.Hour)}),
		"relayed": base(Relayed, env("billing@example.com"), subject{recipient: rcpt("someone@example.net", ""), last: now,
			outcome: replyAt(spool.StageDot, 250, "2.0.0", "queued as 4F2")}),
	}
}

func TestReportGolden(t *testing.T) {
	for name, r := range reports() {
		t.Run(name, func(t *testing.T) {
			got, has8Bit := r.bytes()
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
			parseReport(t, got)
		})
	}
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// parseReport reads a notification as a stranger does. It returns the fields
// of its recipients.
func parseReport(t fataler, text []byte) []textproto.MIMEHeader {
	t.Helper()
	for i, line := range bytes.SplitAfter(text, []byte("\r\n")) {
		if len(line) > 1000 || bytes.IndexByte(line, '\n') != len(line)-1 && len(line) > 0 || bytes.IndexByte(line, 0) >= 0 {
			t.Fatalf("line %d is too long or broken: %q", i, line)
		}
	}
	m, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("not a message: %v", err)
	}
	if m.Header.Get("Auto-Submitted") != "auto-replied" {
		t.Fatalf("Auto-Submitted: %q", m.Header.Get("Auto-Submitted"))
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("content type %q: %v", m.Header.Get("Content-Type"), err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	var kinds []string
	var recipients []textproto.MIMEHeader
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("part %d: %v", len(kinds)+1, err)
		}
		kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		kinds = append(kinds, kind)
		if kind != "message/delivery-status" {
			continue
		}
		body, _ := io.ReadAll(p)
		groups := strings.Split(strings.TrimSuffix(string(body), "\r\n"), "\r\n\r\n")
		for i, g := range groups {
			h, err := readFields(g)
			if err != nil {
				t.Fatalf("group %d: %v\n%s", i, err, g)
			}
			if i > 0 {
				recipients = append(recipients, h)
			} else if h.Get("Reporting-MTA") == "" || h.Get("Arrival-Date") == "" {
				t.Fatalf("fields of the message: %v", h)
			}
		}
	}
	if len(kinds) < 2 || len(kinds) > 3 || kinds[0] != "text/plain" || kinds[1] != "message/delivery-status" {
		t.Fatalf("parts: %v", kinds)
	}
	for _, h := range recipients {
		for _, field := range []string{"Final-Recipient", "Action", "Status"} {
			if len(h[field]) != 1 {
				t.Fatalf("%s: %q in %v", field, h[field], h)
			}
		}
	}
	return recipients
}

func readFields(s string) (textproto.MIMEHeader, error) {
	m, err := mail.ReadMessage(strings.NewReader(s + "\r\n\r\n"))
	if err != nil {
		return nil, err
	}
	return textproto.MIMEHeader(m.Header), nil
}

// Whatever is in the addresses, the replies and the header of the message: the
// notification keeps its form, and nobody gets a field of his own into it.
func TestReportHoldsItsForm(t *testing.T) {
	wild := rapid.OneOf(rapid.String(), rapid.StringMatching(`(\r\n|[a-z:]|--=_b|\x00|\x1b|é| ){0,60}`),
		rapid.Map(rapid.IntRange(0, 3000), func(n int) string { return strings.Repeat("x", n) }))
	rapid.Check(t, func(t *rapid.T) {
		var about []subject
		n := rapid.IntRange(1, 4).Draw(t, "recipients")
		for range n {
			about = append(about, subject{last: attempt,
				recipient: &spool.Recipient{Address: wild.Draw(t, "address"), ORcpt: wild.Draw(t, "orcpt")},
				outcome: spool.Outcome{Stage: spool.Stage(rapid.IntRange(0, int(spool.StageDot)).Draw(t, "stage")), Code: rapid.IntRange(0, 999).Draw(t, "code"),
					Enhanced: wild.Draw(t, "enhanced"), Text: wild.Draw(t, "text"), Cause: wild.Draw(t, "cause"), Remote: wild.Draw(t, "remote")}})
		}
		r := &report{kind: rapid.SampledFrom([]Action{Failed, Delayed, Relayed}).Draw(t, "kind"), host: "relay.example", now: now, about: about,
			env:       &spool.Envelope{From: "a@example.com", Accepted: accepted, EnvelopeID: wild.Draw(t, "envid"), MessageID: wild.Draw(t, "messageID")},
			returned:  header([]byte(wild.Draw(t, "header") + "\r\n")),
			messageID: "<1.dsn@relay.example>", boundary: "=_0123456789abcdef0123456789"}
		r.holdsItsForm(t)
	})
}

func (r *report) holdsItsForm(t fataler) {
	t.Helper()
	text, has8Bit := r.bytes()
	if has8Bit {
		t.Fatalf("8-bit:\n%s", text)
	}
	got := parseReport(t, text)
	if len(got) != len(r.about) {
		t.Fatalf("%d recipients, want %d\n%s", len(got), len(r.about), text)
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

// FuzzReport is the same for whatever an upstream, a client and the content
// may hold.
func FuzzReport(f *testing.F) {
	f.Add("b@example.net", "rfc822;b@example.net", "a+2Bb", "<a@b.example>", "User unknown", "5.1.1", "up.example:25", []byte("Subject: x\r\n\r\ntext\r\n"), 550)
	f.Add("jürgen@example.net", `utf-8;j\x{FC}rgen@example.net`, "+C3+BC", "<>", "a\r\nStatus: 2.0.0", "9.9.9", "[::1]:25", []byte("no header"), 0)
	f.Add("\r\nAction: delivered", ";", "+0D+0A", "x", "\x1b[2J", "", "", []byte("--=_0123456789abcdef0123456789--\r\n"), 999)
	f.Fuzz(func(t *testing.T, to, orcpt, envid, id, text, enhanced, remote string, content []byte, code int) {
		head := header(content)
		r := &report{kind: Failed, host: "relay.example", now: now, returned: head,
			messageID: "<1.dsn@relay.example>", boundary: boundary(head),
			env: &spool.Envelope{From: "a@example.com", Accepted: accepted, EnvelopeID: envid, MessageID: id},
			about: []subject{{last: attempt, recipient: &spool.Recipient{Address: to, ORcpt: orcpt},
				outcome: spool.Outcome{Stage: spool.StageDot, Code: code, Enhanced: enhanced, Text: text, Remote: remote}}}}
		r.holdsItsForm(t)
	})
}

func TestXtext(t *testing.T) {
	for in, want := range map[string]string{"": "", "a+2Bb": "a+b", "a+3Db+": "a=b+", "+zz": "+zz", "plain": "plain", "+C3+BC": "ü"} {
		if got := xtext(in); got != want {
			t.Errorf("xtext(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestHeader(t *testing.T) {
	for in, want := range map[string]string{"": "", "A: b\r\n\r\nbody": "A: b\r\n", "A: b\r\ncut off": "A: b\r\n", "no line": "", "\r\n\r\nbody": "\r\n"} {
		if got := string(header([]byte(in))); got != want {
			t.Errorf("header(%q) = %q, want %q", in, got, want)
		}
	}
}
