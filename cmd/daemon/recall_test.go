package daemon

import (
	"errors"
	"testing"

	"postern/config"
	"postern/queue"
	"postern/relay/submission"
	"postern/spool"
)

// What came by HTTP is remembered whether it was delivered before or after its
// acceptance was told, and shown to nobody before it is known whose it is.
func TestRecallInAnyOrder(t *testing.T) {
	accepted := &submission.Accepted{ID: 7, From: "a@example.com", Client: &submission.Client{Listener: config.SubmitListener, UnixUser: "ann"}}
	attempted := &queue.Attempted{ID: 7, To: "b@example.org", Listener: config.SubmitListener, Number: 1, Outcome: spool.Outcome{Verdict: spool.Delivered}}
	for name, first := range map[string]bool{"accepted first": true, "delivered first": false} {
		m := newRecall()
		in, out := m.submission(func(submission.Event) {}), m.queue(func(queue.Event) {})
		if first {
			in(accepted)
		}
		out(attempted)
		out(&queue.Finished{ID: 7})
		if !first {
			if _, err := m.detail(t.Context(), 7); !errors.Is(err, spool.ErrNotFound) {
				t.Errorf("%s: shown before it is known whose it is: %v", name, err)
			}
			in(accepted)
		}
		d, err := m.detail(t.Context(), 7)
		if err != nil || d.Envelope.UnixUser != "ann" || len(d.Recipients) != 1 || d.Recipients[0].Status != spool.Delivered {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	m := newRecall()
	m.queue(func(queue.Event) {})(&queue.Attempted{ID: 8, Listener: "mail"})
	if m.find(8) != nil {
		t.Error("a message that came by SMTP is remembered")
	}
}
