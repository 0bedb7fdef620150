//go:build unix

package main

import (
	"encoding/json"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	smtp "github.com/emersion/go-smtp"

	"postern/cmd/control"
	"postern/queue"
	"postern/spool"
)

// A bounce that cannot be delivered is kept and shown, also after a kill and
// without a daemon, until somebody decides.
func TestUndeliverableBounceIsKept(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var refused atomic.Bool
	refused.Store(true)
	s, _ := serveSink(t, l, nil)
	s.refuse = func(to string) error {
		if to == "b@example.com" || refused.Load() {
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user " + to}
		}
		return nil
	}
	listen := freeAddr(t)
	h := newHarness(t, ordinary(listen, l.Addr().String()))
	h.start()
	send(t, listen, "gone@example.com", "lost")
	kept := func() []control.Entry { return h.queued("--held", "--from", "<>") }
	eventually(t, "the bounce is kept", func() bool { return len(kept()) == 1 })
	id := kept()[0].ID
	h.kill()
	if out := h.must("queue", "list"); !strings.Contains(out, id) || !strings.Contains(out, "`postern queue retry`") {
		t.Errorf("queue list without a daemon:\n%s", out)
	}
	h.start()
	if list := kept(); len(list) != 1 || list[0].KeptUntil == nil || list[0].Last.Code != 550 {
		t.Fatalf("after a kill: %+v", list)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"queue", "list"}, []string{id, "held", "no such user gone@example.com", "`postern queue retry`"}},
		{[]string{"queue", "show", id}, []string{"held", "kept      until 2", "no sender is told", "no such user gone@example.com"}},
		{[]string{"queue", "cat", id}, []string{"Undelivered mail returned to sender", "no such user b@example.com"}},
		{[]string{"status"}, []string{"degraded: 1 message from <>", "1 held", "of those held, 1 failed"}},
		{[]string{"status", "--health"}, []string{"degraded: 1 message from <>"}},
	} {
		out := h.must(c.args...)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%v does not say %q:\n%s", c.args, want, out)
			}
		}
	}
	var st control.Status
	if err := json.Unmarshal([]byte(h.must("status", "--json")), &st); err != nil || !st.Healthy || st.Queue.Kept != 1 {
		t.Errorf("status: %v, %+v", err, st.Queue)
	}
	if r := h.do("queue", "bounce", id); r.code != exitData || !strings.Contains(r.stderr, id+": there is no sender to return to") {
		t.Errorf("bounce: %+v", r)
	}
	if r := h.do("queue", "bounce", "--all", "--yes"); r.code != 0 || !strings.Contains(r.stderr, "1 message was left alone") {
		t.Errorf("bounce of all: %+v", r)
	}
	if out := h.must("queue", "retry", "--all"); out != "0 messages due at once\n" {
		t.Errorf("retry of all printed %q", out)
	}
	refused.Store(false)
	if out := h.must("queue", "retry", "--held"); out != "1 message due at once\n" {
		t.Errorf("retry printed %q", out)
	}
	eventually(t, "the bounce arrived", func() bool { return len(s.received()) == 1 && len(h.queued()) == 0 })
	if out := h.must("status", "--health"); out != "ok\n" {
		t.Errorf("health: %q", out)
	}
	h.stop()
	for _, event := range []string{"undeliverable-kept", `"result":"failed"`} {
		if !strings.Contains(h.log.String(), event) {
			t.Errorf("the log lacks %s", event)
		}
	}
}

// TestPostmasterOfABounceThatFails (F25): a bounce that cannot be delivered is
// kept, and the postmaster, who may have an alias, is told of it once, by mail that
// says how to see it. If that mail fails as well, it is kept, too.
func TestPostmasterOfABounceThatFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var refused atomic.Bool // everybody is
	s, _ := serveSink(t, l, nil)
	s.refuse = func(to string) error {
		if to == "ops@example.com" && !refused.Load() {
			return nil
		}
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user " + to}
	}
	listen := freeAddr(t)
	h := newHarness(t, ordinary(listen, l.Addr().String())+"[submission]\ndomain = \"example.com\"\nalias = { root = [\"ops@example.com\"] }\npostmaster = \"root@localhost\"\n")
	h.start()
	send(t, listen, "gone@example.com", "lost")
	kept := func() []control.Entry { return h.queued("--held", "--from", "<>") }
	eventually(t, "the postmaster was told", func() bool { return len(s.received()) == 1 && len(kept()) == 1 })
	id := kept()[0].ID
	text := s.received()[0]
	for _, want := range []string{"Subject: Undelivered bounce is kept\r\n", "To: <root@localhost>\r\n", "Auto-Submitted: auto-replied\r\n", "<gone@example.com>", "`postern queue show " + id + "`"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	refused.Store(true)
	send(t, listen, "also-gone@example.com", "lost too")
	eventually(t, "the bounce and its notice are kept", func() bool { return len(kept()) == 3 })
	h.stop()
	h.start() // and nobody is told again
	if n := len(s.received()); n != 1 || len(kept()) != 3 {
		t.Errorf("%d messages arrived, %d are kept", n, len(kept()))
	}
}

// What was not meant by a filter is counted, what was named is named.
func TestWhatIsLeftAlone(t *testing.T) {
	id := spool.ID(9).String()
	for _, c := range []struct {
		result queue.Result
		named  bool
		code   int
		want   string
	}{
		{queue.Result{Held: []spool.ID{9}}, true, 0, "postern: " + id + ": on hold; `postern queue release` lets it go\n"},
		{queue.Result{Held: []spool.ID{9, 9}}, false, 0, "postern: 2 messages were left alone: on hold; `postern queue release` lets them go\n"},
		{queue.Result{Senderless: []spool.ID{9}}, true, exitData, "postern: " + id + ": there is no sender to return to; `postern queue remove` ends it\n"},
		{queue.Result{Senderless: []spool.ID{9}}, false, 0, "postern: 1 message was left alone: there is no sender to return to; `postern queue remove` ends it\n"},
		{queue.Result{Unreadable: []spool.ID{9}}, true, exitData, "postern: " + id + ": cannot be read, and was set aside; where it is still queued, `postern queue remove` ends it\n"},
	} {
		var out, errs strings.Builder
		code := report(&errs, nilOr((&app{stdout: &out, stderr: &errs}).printActed(control.OpRetry, &c.result, "done", c.named)))
		if code != c.code || errs.String() != c.want {
			t.Errorf("%+v: exit code %d, %q", c.result, code, errs.String())
		}
	}
}

// nilOr is an error that ends a command well where err is nil.
func nilOr(err error) error {
	if err == nil {
		return errReported{exitOK}
	}
	return err
}
