package api

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"postern/relay/submission"
	"postern/spool"
)

// TestScheduledAt: each dialect that has a time for a mail has it kept, and
// tells of it; until then the mail can be taken back.
func TestScheduledAt(t *testing.T) {
	r := newRig(t, "")
	at := time.Now().Add(48 * time.Hour).Truncate(time.Second)
	iso := at.In(time.FixedZone("", 3600)).Format(time.RFC3339)
	mailgun, fields := asForm(t, "from=a@example.com\nto=b@example.org\ntext=hi\no:deliverytime="+at.Format(time.RFC1123Z)+"\n")
	own, form := asForm(t, "from=a@example.com\nto=b@example.org\ntext=hi\nscheduled_at="+iso+"\n")
	sendgrid := `{"personalizations":[{"to":[{"email":"b@example.org"}]%s}],"from":{"email":"a@example.com"},"subject":"x","content":[{"type":"text/plain","value":"x"}],"send_at":%d}`
	for name, c := range map[string]call{
		"resend":        {path: "/emails", body: with(`"scheduled_at":"` + iso + `"`)},
		"batch":         {path: "/emails/batch", body: "[" + with(`"scheduled_at":"`+iso+`"`) + "]"},
		"form":          {path: "/v1/messages", kind: own, body: form},
		"raw":           {path: "/v1/messages?scheduled_at=" + url.QueryEscape(iso), kind: mediaMail, body: "From: a@example.com\nTo: b@example.org\n\nhi"},
		"mailgun":       {path: "/v3/x/messages", kind: mailgun, body: fields},
		"sendgrid":      {path: "/v3/mail/send", body: fmt.Sprintf(sendgrid, "", at.Unix())},
		"sendgrid, own": {path: "/v3/mail/send", body: fmt.Sprintf(sendgrid, fmt.Sprintf(`,"send_at":%d`, at.Unix()), at.Unix()-3600)},
	} {
		a := r.do(c)
		if a.status/100 != 2 {
			t.Fatalf("%s: %d %s", name, a.status, a.body)
		}
		id := a.header.Get("X-Message-Id")
		if id == "" {
			_, id, _ = strings.Cut(a.body, `"id":"`)
			id = strings.TrimPrefix(id, "<")[:13]
		}
		if _, env := r.message(id); !env.NotBefore.Equal(at) {
			t.Errorf("%s: to be sent at %v, want %v", name, env.NotBefore, at)
		}
		s := r.do(call{method: "GET", path: "/emails/" + id}).json(t)
		if told, err := time.Parse(time.RFC3339, fmt.Sprint(s["scheduled_at"])); err != nil || !told.Equal(at) || s["last_event"] != "scheduled" {
			t.Errorf("%s: %v", name, s)
		}
		if a := r.do(call{path: "/emails/" + id + "/cancel"}); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if n := r.count(); n != 0 {
		t.Errorf("%d are left", n)
	}
	for _, past := range []string{"2020-01-01T00:00:00Z", time.Now().Format(time.RFC3339)} {
		a := r.do(call{path: "/emails", body: with(`"scheduled_at":"` + past + `"`)})
		if s := r.do(call{method: "GET", path: "/emails/" + fmt.Sprint(a.json(t)["id"])}).json(t); s["last_event"] != "queued" || s["scheduled_at"] != nil {
			t.Errorf("%s: %v", past, s)
		}
	}
	for _, wrong := range []string{"31", "2999-01-01T00:00:00Z", "-1", "2026-13-01T00:00:00Z", "2026-11-28 08:00:00Z", "99999-01-01T00:00:00Z", "2026-11-28T08:00:00Z\nx"} {
		if a := r.do(call{path: "/emails", body: with(fmt.Sprintf(`"scheduled_at":%q`, wrong))}); a.status != 422 {
			t.Errorf("%q: %d %s", wrong, a.status, a.body)
		}
	}
	for _, at := range []int64{time.Now().Add(31 * 24 * time.Hour).Unix(), 1 << 62} {
		if a := r.do(call{path: "/v3/mail/send", body: fmt.Sprintf(sendgrid, "", at)}); a.status != 400 && a.status != 422 {
			t.Errorf("%d: %d %s", at, a.status, a.body)
		}
	}
}

// TestNotify: what a sender wants to be told of goes with each recipient.
func TestNotify(t *testing.T) {
	r := newRig(t, "")
	kind, form := asForm(t, "from=a@example.com\nto=b@example.org\ntext=hi\nnotify=success\nnotify=delay\n")
	for _, c := range []struct {
		call
		want spool.Notify
	}{
		{call{path: "/emails", body: good}, 0},
		{call{path: "/emails", body: with(`"notify":"never"`)}, spool.NotifyNever},
		{call{path: "/emails", body: with(`"notify":["success","failure"]`)}, spool.NotifySuccess | spool.NotifyFailure},
		{call{path: "/emails", body: with(`"notify":"Success, delay"`)}, 0},
		{call{path: "/v1/messages", kind: kind, body: form}, spool.NotifySuccess | spool.NotifyDelay},
		{call{path: "/v1/messages?notify=failure,delay", kind: mediaMail, body: "From: a@example.com\nTo: b@example.org\n\nhi"}, spool.NotifyFailure | spool.NotifyDelay},
	} {
		a := r.do(c.call)
		if strings.Contains(c.body, "Success, ") {
			if a.status != 422 {
				t.Errorf("%s: %d %s", c.body, a.status, a.body)
			}
			continue
		}
		if a.status != http.StatusOK {
			t.Errorf("%s: %d %s", c.body, a.status, a.body)
			continue
		}
		if _, env := r.message(fmt.Sprint(a.json(t)["id"])); env.Recipients[0].Notify != c.want {
			t.Errorf("%s: %v, want %v", c.body, env.Recipients[0].Notify, c.want)
		}
	}
}

// TestKeysOfKinds: a key is that of a token, and of nobody else who is called
// so; and what was handed in with it in one way is not what comes in another.
func TestKeysOfKinds(t *testing.T) {
	r := newRig(t, "")
	key := []string{"Idempotency-Key: k"}
	raw := call{path: "/v1/messages", kind: mediaMail, body: "From: a@example.com\nTo: b@example.org\n\nhi", header: key}
	first := r.do(call{path: "/emails", body: good, header: key})
	if first.status != http.StatusOK {
		t.Fatalf("%d %s", first.status, first.body)
	}
	if a := r.do(raw); a.status != 409 || a.json(t)["name"] != nameKeyReused {
		t.Errorf("raw behind JSON: %d %s", a.status, a.body)
	}
	raw.header = []string{"Idempotency-Key: other"}
	for range 2 {
		if a := r.do(raw); a.status != http.StatusOK {
			t.Errorf("raw: %d %s", a.status, a.body)
		}
		raw.body += " with another date"
	}
	if a := r.do(call{path: "/emails", body: good, header: raw.header}); a.status != 409 {
		t.Errorf("JSON behind raw: %d %s", a.status, a.body)
	}
	// An SMTP user of the same name.
	c := &submission.Client{Listener: "smtp", Peer: "192.0.2.1:1", User: "shop", Settings: &submission.Settings{MaxSize: 1 << 20, MaxRecipients: 10}}
	m, err := r.agent.Begin(t.Context(), c, submission.Envelope{From: "a@example.com", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Add(submission.Recipient{Address: "b@example.org"}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(m, "Subject: x\r\n\r\nhi\r\n")
	if _, err := m.Commit(t.Context()); err != nil || m.Repeated() {
		t.Errorf("the key of a token is that of a user: %v, %v", m.Repeated(), err)
	}
	if n := r.count(); n != 3 {
		t.Errorf("%d messages", n)
	}
}
