package standin

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"postern/spool"
	"postern/spool/storetest"
)

// TestReader: people see both spools as one, in the order of IDs, and what is in the
// local one also while the database is away.
func TestReader(t *testing.T) {
	shared, local := storetest.NewMemory(), storetest.NewMemory()
	answers := true
	s := &Store{Store: shared, opts: Options{Shared: shared, Local: local, Answers: func(context.Context) bool { return answers }}}
	put := func(m *storetest.Memory) spool.ID {
		d, err := m.Create(t.Context())
		if err == nil {
			_, err = io.WriteString(d, "Subject: x\r\n\r\nx\r\n")
		}
		if err == nil {
			err = d.Commit(t.Context(), &spool.Envelope{From: "a@example.com", Accepted: time.Now(), Recipients: []spool.Recipient{{Address: "b@example.net", Upstreams: []string{"up"}}}})
		}
		if err != nil {
			t.Fatal(err)
		}
		return d.ID()
	}
	var all, own []spool.ID
	for range 3 { // each counts its own IDs
		own = append(own, put(local))
		put(shared)
	}
	_ = shared.Find(t.Context(), spool.Query{}, func(m spool.Summary) bool { all = append(all, m.ID); return true })
	all = append(all, own...)
	slices.Sort(all)
	see := func(most int) (seen []spool.ID, err error) {
		err = s.Reader().Find(t.Context(), spool.Query{}, func(m spool.Summary) bool {
			seen = append(seen, m.ID)
			return len(seen) < most
		})
		return seen, err
	}
	if seen, err := see(100); err != nil || !slices.Equal(seen, all) {
		t.Errorf("%v, %v; want %v", seen, err, all)
	}
	for most := 1; most <= len(all); most++ {
		if seen, err := see(most); err != nil || !slices.Equal(seen, all[:most]) {
			t.Errorf("the first %d: %v, %v", most, seen, err)
		}
	}
	answers = false
	if seen, err := see(100); !errors.Is(err, spool.ErrAway) || !slices.Equal(seen, own) {
		t.Errorf("away: %v, %v", seen, err)
	}
	if d, err := s.Reader().Detail(t.Context(), own[1]); err != nil || d.ID != own[1] || !s.Waits(t.Context(), own[1]) {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := s.Reader().Shares(t.Context(), 99); !errors.Is(err, spool.ErrNotFound) {
		t.Error(err)
	}
}
