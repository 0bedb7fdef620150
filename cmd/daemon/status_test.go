package daemon

import (
	"context"
	"fmt"
	"testing"
	"time"

	"postern/cmd/control"
	"postern/queue"
	"postern/spool"
	"postern/spool/journal"
)

// The status tells what a spool holds that was filled before the start, also
// of an upstream that is not configured.
func TestStatusCountsTheQueue(t *testing.T) {
	_, socket := start(t, fmt.Sprintf("host = \"127.0.0.1\"\nport = %d\ntls = \"off\"", closedPort(t)), func(s *journal.Store) {
		queueOne(t, s, "gone", false)
		lease, err := s.Lease(context.Background(), "gone")
		if err != nil {
			t.Fatal(err)
		}
		claimed, err := s.Claim(context.Background(), lease, time.Now(), 1, spool.Schedule{})
		if err != nil || len(claimed) != 1 {
			t.Fatal(len(claimed), err)
		}
		later := spool.Outcome{Stage: spool.StageRcpt, Code: 451, Text: "later"}
		if _, err := s.Settle(context.Background(), claimed[0], spool.Settlement{Due: time.Now().Add(time.Minute), Outcomes: []spool.Outcome{later}}); err != nil {
			t.Fatal(err)
		}
		queueOne(t, s, "gone", false)
		queueOne(t, s, "gone", false)
		queueOne(t, s, "sink", true)
	})
	st, err := control.Dial(socket).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q := st.Queue
	if q.OldestDue == nil || time.Since(*q.OldestDue) < 0 {
		t.Errorf("the oldest is due since %v", q.OldestDue)
	}
	q.OldestDue = nil
	if want := (control.Queue{Deliveries: 4, Due: 2, Deferred: 1, Held: 1}); q != want {
		t.Errorf("%+v, want %+v", q, want)
	}
	queued := map[string]int{}
	for _, l := range st.Lanes {
		queued[l.Upstream] = l.Queued
		if (l.OldestDue != nil) != (l.Upstream == "gone") || (l.State == queue.Missing) != (l.Upstream == "gone") {
			t.Errorf("%+v", l)
		}
	}
	if len(queued) != 2 || queued["gone"] != 3 || queued["sink"] != 1 {
		t.Errorf("queued: %v", queued)
	}
}
