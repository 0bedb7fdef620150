package console

import (
	"strings"
	"testing"
	"time"

	"postern/cmd/control"
	"postern/spool"
)

// Storms stand on the first page, with what is held of each; their subjects are for
// those who may see contents.
func TestStorms(t *testing.T) {
	f, s := newRelay(t)
	var held []string
	for i := range 3 {
		env := envelope("cron@example.com", "ops@example.org")
		env.Hold = true
		if i > 0 {
			env.Storm = 0x18c5
		}
		held = append(held, f.put(t, env, "x").String())
	}
	began, ended := time.Now().Add(-5*time.Minute), time.Now().Add(-time.Minute)
	b := open(t, s, "look")
	if _, _, body := b.get("/"); strings.Contains(body, "Storms") {
		t.Error("there is one without a storm")
	}
	f.mu.Lock()
	f.storms = []control.Storm{
		{ID: "18c5", From: "cron@example.com", To: "ops@example.org", Subject: hostile + " the salaries", Recipients: 3, Began: began, Held: 40, Waiting: 38},
		{ID: "18c6", From: "", To: hostile, Recipients: 1, Began: began, Ended: &ended, Held: 7},
	}
	f.mu.Unlock()
	_, _, body := b.get("/")
	for _, want := range []string{"&lt;cron@example.com&gt;", "&lt;ops@example.org&gt; and others, 3 in all", `href="/queue?state=held&amp;storm=18c5">38<`, "goes on", "ended 1 min ago", "5 min ago"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
	if strings.Contains(body, "the salaries") || strings.Contains(body, "<script>alert") {
		t.Error("what is not to be shown")
	}
	if _, _, body := open(t, serverOf(s, f), "operate").get("/"); !strings.Contains(body, "the salaries") || strings.Contains(body, "<script>alert") {
		t.Error("no subject for whoever may see contents")
	}
	_, _, body = b.get("/queue?state=held&storm=" + spool.ID(0x18c5).String())
	for i, id := range held {
		if got := strings.Contains(body, "/messages/"+id); got != (i > 0) {
			t.Errorf("message %d is listed: %v", i, got)
		}
	}
}
