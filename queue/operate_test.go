package queue

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/spool"
)

func TestOperations(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.fault = down(spool.StageConnect, 0) })
		var ids []spool.ID
		for range 6 {
			ids = append(ids, w.put("a@app.example", []string{"office"}, "b@example.com"))
		}
		after(time.Minute)
		ctx := t.Context()
		one := func(i int) Select { return Select{IDs: ids[i : i+1]} }
		for name, do := range map[string]func() (Result, error){
			"hold":   func() (Result, error) { return w.queue.Hold(ctx, one(0), "root") },
			"remove": func() (Result, error) { return w.queue.Remove(ctx, one(1), "root") },
			"bounce": func() (Result, error) { return w.queue.Bounce(ctx, one(2), "root", "wrong address") },
		} {
			if r, err := do(); err != nil || r.Done != 1 || len(r.Busy)+len(r.Missing) != 0 {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		}
		if ends := w.store.ends(ids[1], "b@example.com"); !slices.Equal(ends, []spool.Status{spool.Removed}) {
			t.Errorf("removed: %v", ends)
		}
		if ends := w.store.ends(ids[2], "b@example.com"); !slices.Equal(ends, []spool.Status{spool.Bounced}) {
			t.Errorf("bounced: %v", ends)
		}
		if r, err := w.queue.Retry(ctx, Select{IDs: []spool.ID{ids[1], 1 << 40}}, "root"); err != nil || r.Done != 0 || len(r.Missing) != 2 {
			t.Errorf("retry of what is gone: %+v, %v", r, err)
		}
		if r, err := w.queue.Remove(ctx, Select{}, "root"); err != nil || r.Done != 0 {
			t.Errorf("an empty selection: %+v, %v", r, err)
		}
		w.peers.set("office", func(p *peer) { p.fault = nil })
		if r, err := w.queue.Retry(ctx, one(0), "root"); err != nil || r.Done != 0 || !slices.Equal(r.Held, ids[:1]) {
			t.Errorf("retry of what is on hold: %+v, %v", r, err)
		}
		if r, err := w.queue.Retry(ctx, Select{All: true}, "root"); err != nil || r.Done != 4 || len(r.Held) != 0 {
			t.Errorf("retry: %+v, %v", r, err)
		}
		after(time.Second)
		if n := len(w.peers.mail("")); n != 4 { // three and the bounce
			t.Errorf("%d arrived", n)
		}
		after(24 * time.Hour)
		if n := w.store.count(); n != 1 {
			t.Fatalf("%d left, the held one is to be", n)
		}
		var held []spool.ID
		w.queue.store.Find(bg, spool.Query{}, func(s spool.Summary) bool {
			if s.Held {
				held = append(held, s.ID)
			}
			return true
		})
		if !slices.Equal(held, ids[:1]) {
			t.Errorf("held: %v, want %v", held, ids[:1])
		}
		if r, err := w.queue.Release(ctx, Select{All: true}, "root"); err != nil || r.Done != 1 {
			t.Errorf("release: %+v, %v", r, err)
		}
		after(time.Second)
		if n := len(w.peers.mail("")); n != 5 || w.store.count() != 0 {
			t.Errorf("%d arrived, %d left", n, w.store.count())
		}
		for verb, n := range map[string]int{"hold": 1, "release": 1, "remove": 1, "bounce": 1, "retry": 4} {
			if got := w.recorder.heard(verb + " by root"); got != n {
				t.Errorf("%s told %d times, want %d", verb, got, n)
			}
		}
	})
}

// Of a message that goes by several upstreams, an operation on one share
// leaves the others alone.
func TestOperationOnAShare(t *testing.T) {
	inBubble(t, []string{"office", "backup"}, func(t *testing.T, w *world) {
		for _, name := range []string{"office", "backup"} {
			w.peers.set(name, func(p *peer) { p.fault = down(spool.StageConnect, 0) })
		}
		id := w.putEnvelope(&spool.Envelope{From: "a@app.example", Accepted: time.Now(), Recipients: []spool.Recipient{
			{Address: "b@example.com", Upstreams: []string{"office"}},
			{Address: "c@example.org", Upstreams: []string{"backup"}},
		}})
		after(time.Minute)
		if r, err := w.queue.Remove(t.Context(), Select{Shares: []Share{{id, 1}}}, "root"); err != nil || r.Done != 1 {
			t.Errorf("remove: %+v, %v", r, err)
		}
		if ends := w.store.ends(id, "c@example.org"); !slices.Equal(ends, []spool.Status{spool.Removed}) {
			t.Errorf("the one that was selected: %v", ends)
		}
		if ends := w.store.ends(id, "b@example.com"); len(ends) > 0 {
			t.Errorf("the other one: %v", ends)
		}
	})
}

// A removal or a bounce of some recipients of a share leaves the others as
// they were: waiting, or on hold, and in doubt where they are.
func TestOperationOnRecipients(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.fault = down(spool.StageConnect, 0) })
		id := w.put("a@app.example", []string{"office"}, "b@example.com", "c@example.com", "d@example.com")
		held := w.put("a@app.example", []string{"office"}, "b@example.com", "c@example.com")
		after(time.Minute)
		if _, err := w.queue.Hold(t.Context(), Select{IDs: []spool.ID{held}}, "root"); err != nil {
			t.Fatal(err)
		}
		share, other := Share{ID: id}, Share{ID: held}
		only := func(of Share, recipients ...int) Select {
			return Select{Shares: []Share{of}, Only: map[Share][]int{of: recipients}}
		}
		w.queue.doubts.allow(&spool.Delivery{ID: id})
		for name, do := range map[string]func() (Result, error){
			"remove": func() (Result, error) { return w.queue.Remove(t.Context(), only(share, 1), "root") },
			"held":   func() (Result, error) { return w.queue.Remove(t.Context(), only(other, 0), "root") },
		} {
			if r, err := do(); err != nil || r.Done != 1 || r.Recipients != 1 {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		}
		if r, err := w.queue.Bounce(t.Context(), only(share, 2), "root", "gone"); err != nil || r.Done != 1 || r.Recipients != 1 {
			t.Errorf("bounce: %+v, %v", r, err)
		}
		if r, err := w.queue.Remove(t.Context(), only(share, 1), "root"); err != nil || r.Done != 0 || r.Recipients != 0 {
			t.Errorf("remove of one that has ended: %+v, %v", r, err)
		}
		for _, c := range []struct {
			id   spool.ID
			to   string
			want []spool.Status
		}{
			{id, "b@example.com", nil}, {id, "c@example.com", []spool.Status{spool.Removed}}, {id, "d@example.com", []spool.Status{spool.Bounced}},
			{held, "b@example.com", []spool.Status{spool.Removed}}, {held, "c@example.com", nil},
		} {
			if ends := w.store.ends(c.id, c.to); !slices.Equal(ends, c.want) {
				t.Errorf("%s: %v, want %v", c.to, ends, c.want)
			}
		}
		if w.queue.doubts.stays(id, 0, true) {
			t.Error("what was decided about the others was forgotten")
		}
		w.peers.set("office", func(p *peer) { p.fault = nil })
		after(24 * time.Hour)
		if ends := w.store.ends(id, "b@example.com"); !slices.Equal(ends, []spool.Status{spool.Delivered}) {
			t.Errorf("the one that was left: %v", ends)
		}
		if n := w.store.count(); n != 1 {
			t.Errorf("%d left, the held one is to be", n)
		}
	})
}

// What is held when it is accepted waits, and goes at once when released.
func TestAcceptedOnHold(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.putEnvelope(&spool.Envelope{From: "a@app.example", Accepted: time.Now(), Hold: true,
			Recipients: []spool.Recipient{{Address: "b@example.com", Upstreams: []string{"office"}}}})
		after(6 * 24 * time.Hour)
		if len(w.peers.mail("")) != 0 || w.store.count() != 1 {
			t.Fatal("it did not wait")
		}
		if _, err := w.queue.Release(t.Context(), Select{All: true}, "root"); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		if got := w.peers.mail(""); len(got) != 1 || got[0].to != "b@example.com" {
			t.Errorf("arrived: %+v", got)
		}
	})
}

// Between an attempt and an operator, the attempt goes first.
func TestOperatorFindsAttempt(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) {
			p.takes = func(*spool.Delivery) (time.Duration, bool) { return time.Second, true }
		})
		var ids []spool.ID
		for range 30 {
			ids = append(ids, w.put("a@app.example", []string{"office"}, "b@example.com"))
		}
		after(1500 * time.Millisecond) // four are under way, the next are claimed
		r, err := w.queue.Remove(t.Context(), Select{IDs: ids}, "root")
		if err != nil || len(r.Busy) == 0 || len(r.Busy) > 4 || r.Done < 20 {
			t.Errorf("%+v, %v", r, err)
		}
		after(10 * time.Second)
		if n := len(w.peers.mail("")); n+r.Done != 30 {
			t.Errorf("%d arrived, %d removed", n, r.Done)
		}
	})
}

func TestStatus(t *testing.T) {
	inBubble(t, []string{"office", "backup"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.fault = down(spool.StageSignIn, 535) })
		w.put("a@app.example", []string{"office"}, "b@example.com")
		held := w.put("a@app.example", []string{"office"}, "b@example.com")
		w.put("a@app.example", []string{"gone"}, "b@example.com")
		w.put("a@app.example", []string{"backup"}, "b@example.com")
		after(time.Second)
		if _, err := w.queue.Hold(t.Context(), Select{IDs: []spool.ID{held}}, "root"); err != nil {
			t.Fatal(err)
		}
		by := map[string]LaneStatus{}
		for _, l := range w.lanes() {
			by[l.Upstream] = l
		}
		if l := by["office"]; l.State != Parked || l.Pending != 2 || l.Faults != 1 || l.Cause.Code != 535 || l.Probe.IsZero() {
			t.Errorf("office: %+v", l)
		}
		if l := by["gone"]; l.State != Missing || l.Pending != 1 {
			t.Errorf("gone: %+v", l)
		}
		if l := by["backup"]; l.State != Up || l.Pending != 0 || l.LastSuccess.IsZero() || l.Sessions != 1 || l.Idle != 1 {
			t.Errorf("backup: %+v", l)
		}
	})
}

// Returning everything doesn't return the notifications of it.
func TestBounceAll(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.fault = down(spool.StageConnect, 0) })
		for range 5 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(time.Minute)
		r, err := w.queue.Bounce(t.Context(), Select{All: true}, "root", "")
		if err != nil || r.Done != 5 {
			t.Errorf("%+v, %v", r, err)
		}
		w.peers.set("office", func(p *peer) { p.fault = nil })
		after(2 * time.Minute)
		if n := len(w.peers.mail("")); n != 5 || w.store.count() != 0 {
			t.Errorf("%d notifications arrived, %d left", n, w.store.count())
		}
	})
}

// What the disk cannot read keeps no operation from the rest, and is told.
func TestOperationPassesOverWhatCannotBeRead(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		if err := w.queue.Pause("office", "root"); err != nil {
			t.Fatal(err)
		}
		first := w.put("", []string{"office"}, "a@example.com")
		w.put("", []string{"office"}, "b@example.com")
		once := true
		w.store.failWith(func(op string) error {
			if op != "take" || !once {
				return nil
			}
			once = false
			return syscall.EIO
		})
		r, err := w.queue.Remove(t.Context(), Select{All: true}, "root")
		if r.Done != 1 || !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), first.String()) || w.store.count() != 1 {
			t.Errorf("%+v, %v, %d are left", r, err, w.store.count())
		}
	})
}
