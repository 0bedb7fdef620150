package intake

import (
	"strings"
	"testing"
	"testing/synctest"

	"postern/config"
)

// Who may be named as an author, where that is checked.
func TestAuthorsAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		want   string
	}{
		"own":              {"From: A <a@example.com>", "250 2.0.0"},
		"own in capitals":  {"from: A@EXAMPLE.com", "250 2.0.0"},
		"name of another":  {"From: \"ceo@example.com\" <a@example.com>", "250 2.0.0"},
		"encoded name":     {"From: =?utf-8?q?=C3=A4?= <a@example.com>", "250 2.0.0"},
		"none":             {"Subject: x", "250 2.0.0"},
		"another":          {"From: ceo@example.com", "550 5.7.1"},
		"blank and colon":  {"From : ceo@example.com", "550 5.7.1"},
		"folded":           {"From:\r\n ceo@example.com", "550 5.7.1"},
		"second address":   {"From: a@example.com, ceo@example.com", "550 5.7.1"},
		"second field":     {"From: a@example.com\r\nFROM: ceo@example.com", "550 5.7.1"},
		"group":            {"From: us: ceo@example.com;", "550 5.7.1"},
		"empty group":      {"From: \"ceo@example.com\":;", "550 5.7.1"},
		"comment":          {"From: a@example.com (x) <ceo@example.com>", "550 5.7.1"},
		"sender":           {"From: a@example.com\r\nSender: ceo@example.com", "550 5.7.1"},
		"resent":           {"From: a@example.com\r\nResent-From: ceo@example.com", "550 5.7.1"},
		"not to be read":   {"From: a@example.com <", "550 5.7.1"},
		"invisible":        {"From: a\u200b@example.com", "550 5.7.1"},
		"quoted":           {"From: \"ceo\"@example.com", "550 5.7.1"},
		"bare name":        {"From: a", "550 5.7.1"},
		"endless":          {"From: " + strings.Repeat("a@example.com,\r\n ", 16<<10/17) + "a@example.com", "550 5.7.1"},
		"empty":            {"From: ", "550 5.7.1"},
		"another, twisted": {"From: a@example.com@evil.example", "550 5.7.1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				use(t, r.server, testRoutes(t), config.Sender{Listener: []string{"test"}, From: []string{"a@example.com"}, CheckFrom: true})
				nc := r.dial("")
				nc.Write([]byte("EHLO x\r\nMAIL FROM:<ceo@example.com>\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n" +
					c.header + "\r\n\r\nbody\r\n.\r\nQUIT\r\n"))
				synctest.Wait()
				var b strings.Builder
				collect(&b, nc)
				got := b.String()
				if !strings.Contains(got, "550 5.7.1 <ceo@example.com> is not an address that you may send as") {
					t.Errorf("the envelope is not checked: %s", got)
				}
				_, after, _ := strings.Cut(got, "S: 354 ")
				_, after, _ = strings.Cut(after, "S: ")
				if !strings.HasPrefix(after, c.want) {
					t.Errorf("want %s: %s", c.want, got)
				}
				if n := len(r.store.all()); (n == 1) != (c.want[0] == '2') {
					t.Errorf("%d messages", n)
				}
				nc.Close()
			})
		})
	}
}

// The text of a route stands in the reply, at the stage where it is decided.
func TestRejectIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil,
			config.Route{From: []string{"boss@example.com"}, Reject: "not your address"},
			config.Route{To: []string{"*@competitor.example"}, Reject: "not there"},
			config.Route{Header: map[string][]string{"X-Class": {"secret"}}, Reject: "not this"})
		nc := r.dial("")
		nc.Write([]byte("EHLO x\r\nMAIL FROM:<boss@example.com>\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<x@competitor.example>\r\n" +
			"RCPT TO:<b@example.net>\r\nDATA\r\nX-Class: secret\r\n\r\n.\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n"))
		synctest.Wait()
		var b strings.Builder
		collect(&b, nc)
		for _, want := range []string{"550 5.7.1 not your address", "550 5.7.1 not there", "550 5.7.1 not this", "250 2.0.0 queued"} {
			if !strings.Contains(b.String(), "S: "+want) {
				t.Errorf("no %q in %s", want, b.String())
			}
		}
		if len(r.store.all()) != 1 || len(r.events.refusals) != 3 {
			t.Errorf("%d messages, refusals %+v", len(r.store.all()), r.events.refusals)
		}
		nc.Close()
	})
}
