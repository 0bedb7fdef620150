package control

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"postern/spool"
)

// TestAdoptionTravelsWhole: what another relay's spool tells of a message
// arrives as it was, whatever bytes it holds, and a second time it is known.
func TestAdoptionTravelsWhole(t *testing.T) {
	f := newFake()
	c, _ := serve(t, f)
	m := &spool.Detail{ID: 7, Envelope: &spool.Envelope{
		From: "a\xff@example.com", Accepted: time.Unix(1, 2), DeliverBy: &spool.DeliverBy{Deadline: time.Unix(3, 4), Trace: true},
		Key: &spool.Key{Name: spool.NameKey("a", "b"), Until: time.Unix(5, 6)}, Prefix: []byte("A: b\r\n"),
		Recipients: []spool.Recipient{{Address: "b@example.net", Upstreams: []string{"x", "y"}, Notify: spool.NotifyDelay, ORcpt: "rfc822;b"}},
	}, Recipients: []spool.RecipientState{{Upstream: "y", Attempts: 3, Due: time.Unix(7, 8), InDoubt: true, Last: &spool.Outcome{Code: 450}}}}
	content := strings.Repeat("x\x00\xff\r\n", 400_000)
	for i, before := range []bool{false, true} {
		done, err := c.Adopt(t.Context(), m, strings.NewReader(content))
		if err != nil || done.Before != before || done.ID != spool.ID(8).String() {
			t.Errorf("time %d: %+v, %v", i, done, err)
		}
	}
	if f.taken == nil || f.taken.Envelope.From != m.Envelope.From || f.taken.Envelope.DeliverBy.Deadline.UnixNano() != 3e9+4 ||
		f.taken.Envelope.Recipients[0].Notify != spool.NotifyDelay || !f.taken.Recipients[0].InDoubt || f.taken.Recipients[0].Last.Code != 450 ||
		!bytes.Equal(f.takenContent, []byte(content)) {
		t.Errorf("arrived: %+v, %d bytes", f.taken, len(f.takenContent))
	}
}

// TestAdoptionOfHalfAMessage: a content that breaks off is no content.
func TestAdoptionOfHalfAMessage(t *testing.T) {
	f := newFake()
	c, _ := serve(t, f)
	broken := errors.New("broken")
	m := &spool.Detail{ID: 7, Envelope: &spool.Envelope{From: "a@example.com"}}
	_, err := c.Adopt(t.Context(), m, io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)))
	if err == nil || f.taken != nil {
		t.Errorf("error %v, took %+v", err, f.taken)
	}
	var refused *Refused
	if err := c.fetch(t.Context(), http.MethodPost, "/v1/adopt", "x", nil); !errors.As(err, &refused) || refused.Status != http.StatusBadRequest {
		t.Errorf("no message: %v", err)
	}
}
