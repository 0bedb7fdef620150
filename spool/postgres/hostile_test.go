//go:build unix

package postgres

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/spool"
)

// hostileRows: what somebody else has written into the database ends neither the
// relay nor the other mail of the lane, and is not read where it is too large.
func hostileRows(t *testing.T, url string) {
	var mu sync.Mutex
	var told []string
	s, err := Open(t.Context(), Options{URL: url, Relay: "one", Term: time.Minute, Grace: -1, Events: func(e Event) {
		if f, ok := e.(*Failed); ok {
			mu.Lock()
			told = append(told, f.Err.Error())
			mu.Unlock()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := s.pool.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	odd := map[string]string{
		"no recipient":           `UPDATE share SET recipients = '' WHERE id = $1`,
		"a recipient too far":    `UPDATE share SET recipients = '\x00000001' WHERE id = $1`,
		"the last number":        `UPDATE share SET recipients = '\xffffffff' WHERE id = $1`,
		"too many recipients":    `UPDATE share SET recipients = '\x0000000000000000' WHERE id = $1`,
		"a list too large":       `UPDATE share SET recipients = decode(repeat('00', 4194308), 'hex') WHERE id = $1`,
		"upstreams too large":    `UPDATE share SET upstreams = repeat('u', 1048577) WHERE id = $1`,
		"no upstreams":           `UPDATE share SET upstreams = '' WHERE id = $1`,
		"an upstream too far":    `UPDATE share SET failover = 7, upstreams = E'a\nb\nc' WHERE id = $1`,
		"no message":             `DELETE FROM message WHERE id = $1`,
		"an envelope of nothing": `UPDATE message SET envelope = '' WHERE id = $1`,
		"an envelope of noise":   `UPDATE message SET envelope = '\x01ffffffffffffffff7f' WHERE id = $1`,
	}
	for name, sql := range odd {
		id := put(t, s, envelope("a@example.com", "up"), strings.NewReader("x"))
		exec(sql, int64(id))
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s: %s", id, name)
			}
		})
	}
	negative := put(t, s, envelope("a@example.com", "up"), strings.NewReader("x"))
	exec(`UPDATE share SET failover = -7 WHERE id = $1`, int64(negative))
	good := put(t, s, envelope("a@example.com", "up"), strings.NewReader("x"))
	got := map[spool.ID]bool{}
	for _, d := range claimed(t, s, "up", 100) {
		got[d.ID] = true
	}
	if len(got) != 2 || !got[negative] || !got[good] {
		t.Errorf("claimed: %v", got)
	}
	if again := claimed(t, s, "up", 100); len(again) != 0 {
		t.Errorf("claimed once more: %d", len(again))
	}
	held := 0
	err = s.Find(t.Context(), spool.Query{Held: true}, func(sum spool.Summary) bool {
		held++
		_, err := s.Take(t.Context(), sum.ID, sum.Share)
		if !errors.Is(err, spool.ErrDamaged) {
			t.Errorf("%s taken: %v", sum.ID, err)
		}
		_, _ = s.Detail(t.Context(), sum.ID) // it may be read, or not
		if err := s.Discard(t.Context(), sum.ID, sum.Share); err != nil {
			t.Errorf("%s discarded: %v", sum.ID, err)
		}
		if err := s.Discard(t.Context(), sum.ID, sum.Share); !errors.Is(err, spool.ErrNotFound) {
			t.Errorf("%s discarded once more: %v", sum.ID, err)
		}
		return true
	})
	if err != nil || held != len(odd) {
		t.Errorf("%d held, %v", held, err)
	}
	var left int
	if err := s.pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM message) + (SELECT count(*) FROM share)`).Scan(&left); err != nil || left != 4 {
		t.Errorf("%d rows are left of two messages, %v", left, err)
	}
	mu.Lock()
	if len(told) != len(odd) {
		t.Errorf("told: %q", told)
	}
	mu.Unlock()

	// Of many large ones some are claimed, and the others by the next claim, at their
	// first attempt.
	s.envelopes = 1
	for range 3 {
		put(t, s, envelope("a@example.com", "up"), strings.NewReader("x"))
	}
	for range 3 {
		some := claimed(t, s, "up", 100)
		if len(some) != 1 || some[0].Attempt != 1 || got[some[0].ID] {
			t.Fatalf("claimed of large ones: %v", some)
		}
		got[some[0].ID] = true
	}
	if more := claimed(t, s, "up", 100); len(more) != 0 {
		t.Errorf("claimed: %v", more)
	}
	s.envelopes = maxEnvelopes

	// Shares whose message is gone don't stand in front of the others, and are told
	// to be damaged, neither gone nor claimed.
	for range 3 {
		id := put(t, s, envelope("a@example.com", "bare"), strings.NewReader("x"))
		exec(`DELETE FROM message WHERE id = $1`, int64(id))
		_, taken := s.Take(t.Context(), id, 0)
		_, detail := s.Detail(t.Context(), id)
		_, content := s.Content(t.Context(), id)
		for _, err := range []error{taken, detail, content} {
			if !errors.Is(err, spool.ErrDamaged) {
				t.Errorf("without its message: %v", err)
			}
		}
	}
	whole := put(t, s, envelope("a@example.com", "bare"), strings.NewReader("x"))
	var first []*spool.Delivery
	for range 4 {
		first = append(first, claimed(t, s, "bare", 1)...)
	}
	if len(first) != 1 || first[0].ID != whole {
		t.Errorf("behind shares without their message: %v", first)
	}

	spoken := put(t, s, envelope("a@example.com", "up"), strings.NewReader("x"))
	exec(`INSERT INTO outcome (id, recipient, at, outcome) VALUES ($1, 0, 0, '{"text":"' || repeat('x', 1048577) || '"}')`, int64(spoken))
	if _, err := s.Detail(t.Context(), spoken); !errors.Is(err, spool.ErrDamaged) {
		t.Errorf("an outcome too large: %v", err)
	}
	// Of a lane that another relay has, its name is told.
	exec(`INSERT INTO lane VALUES ('theirs', 1, 4711, repeat('r', 1000000), now(), now() + interval '1 hour')`)
	var leased *spool.Leased
	if _, err := s.Lease(t.Context(), "theirs"); !errors.As(err, &leased) || len(leased.Holder) > 1024 {
		t.Errorf("a lane of somebody else: %v", err)
	}

	large := put(t, s, envelope("a@example.com", "up"), strings.NewReader("x"))
	exec(`UPDATE message SET size = 16777216, body = decode(repeat('00', 16777216), 'hex') WHERE id = $1`, int64(large))
	if _, err := s.Content(t.Context(), large); !errors.Is(err, spool.ErrDamaged) {
		t.Errorf("a content too large: %v", err)
	}
	exec(`UPDATE message SET body = NULL WHERE id = $1`, int64(large))
	exec(`INSERT INTO body_part VALUES ($1, 0, decode(repeat('00', 16777216), 'hex'))`, int64(large))
	if _, err := s.Content(t.Context(), large); !errors.Is(err, spool.ErrDamaged) {
		t.Errorf("a piece too large: %v", err)
	}

	// What is listed of relays is bounded, too.
	exec(`INSERT INTO relay (name, node, version, until) VALUES (repeat('n', 2000), 900, '', now()), ('odd', 901, repeat('v', 1000000), now() + interval '1 hour')`)
	exec(`INSERT INTO lane SELECT repeat('l', 2000) || n, 1, incarnation, 'odd', now(), now() + interval '1 hour' FROM relay, generate_series(1, 50) n WHERE name = 'odd'`)
	relays, err := s.Relays(t.Context())
	if err != nil || len(relays) != 2 || relays[0].Name != "odd" || len(relays[0].Version) > 200 || len(relays[0].Lanes) != 0 {
		t.Errorf("%d relays, %v", len(relays), err)
	}
	// Whoever forgets it is told of some of its lanes, by the beginning of their names.
	heap := put(t, s, envelope("a@example.com", "up"), strings.NewReader("x"))
	exec(`INSERT INTO relay (name, node, version, until) VALUES ('heaped', 902, '', now() - interval '1 hour')`)
	exec(`INSERT INTO lane SELECT repeat('m', 2000) || n, 1, incarnation, 'heaped', now(), now() FROM relay, generate_series(1, 150) n WHERE name = 'heaped'`)
	exec(`INSERT INTO share SELECT (jsonb_populate_record(s, jsonb_build_object('share', 1000 + n, 'lane', repeat('m', 2000) || n, 'held', true))).*
		FROM share s, generate_series(1, 150) n WHERE s.id = $1`, int64(heap))
	var needed *Needed
	if err := Forget(t.Context(), url, "heaped"); !errors.As(err, &needed) || len(needed.Lanes) != 100 || len(needed.Lanes[0]) != 1024 {
		t.Errorf("forgotten: %d lanes, %T", len(needed.Lanes), err)
	}

	s.begins = time.Hour // else a slow machine does not begin in time
	asked := make(chan int, 1)
	s.OnAsk(func(_ context.Context, request []byte) []byte { asked <- len(request); return nil })
	exec(`INSERT INTO ask (relay, request) VALUES ('one', decode(repeat('00', $1), 'hex'))`, askMost+1)
	s.answerAsks()
	select {
	case n := <-asked:
		if n != 0 {
			t.Errorf("asked with %d bytes", n)
		}
	case <-time.After(time.Minute):
		t.Error("it does not answer")
	}
}
